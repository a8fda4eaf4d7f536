"""Make a rendered image look as a cheap camera would give it: exposure, blur, noise, JPEG.

Outside of the renderer, so that one rendered frame gives many images; labels stay valid.
"""

from __future__ import annotations

import cv2
import numpy as np


def photograph(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image of the same size with random faults of a camera.

    Args:
        rgb: (H, W, 3) uint8.
        rng: every choice comes from it.
    """
    image = rgb.astype(np.float32) / 255.0
    image = _expose(image, rng)
    if rng.random() < 0.6:
        blurred = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 1.3)))
        image = np.asarray(blurred, dtype=np.float32)
    if rng.random() < 0.15:
        image = _move(image, rng)
    grain = rng.uniform(0.0, 0.04)
    noise = rng.standard_normal(image.shape[:2], dtype=np.float32)[:, :, None]
    noise = noise + 0.5 * rng.standard_normal(image.shape, dtype=np.float32)
    image += grain * noise * (0.4 + 0.6 * np.sqrt(np.clip(image, 0.0, 1.0)))
    pixels = (np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    if rng.random() < 0.7:
        pixels = _compress(pixels, int(rng.integers(35, 95)))
    return pixels


def _expose(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change gain, gamma, contrast, saturation, white balance and the light of the corners."""
    balance = np.exp(rng.normal(0.0, 0.06, 3)).astype(np.float32)
    image = image * balance * np.float32(np.exp(rng.normal(0.05, 0.18)))
    image = np.clip(image, 0.0, 1.0) ** np.float32(np.exp(rng.normal(-0.1, 0.2)))
    image = 0.5 + (image - 0.5) * np.float32(rng.uniform(0.8, 1.25))
    grey = image.mean(axis=2, keepdims=True)
    image = grey + (image - grey) * np.float32(rng.uniform(0.6, 1.25))
    height, width = image.shape[:2]
    rows = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None]
    corner = 1.0 - np.float32(rng.uniform(0.0, 0.25)) * 0.5 * (rows**2 + columns**2)
    return np.asarray(image * corner[:, :, None], dtype=np.float32)


def _move(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur along a short line, as a moving camera does."""
    length = int(rng.integers(3, 8))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0.0, np.pi)
    steps = np.linspace(-0.5, 0.5, 4 * length) * (length - 1)
    middle = 0.5 * (length - 1)
    rows = np.round(middle + steps * np.sin(angle)).astype(int)
    columns = np.round(middle + steps * np.cos(angle)).astype(int)
    kernel[rows, columns] = 1.0
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), dtype=np.float32)


def _compress(pixels: np.ndarray, quality: int) -> np.ndarray:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)

"""Paint floors, walls, ground and sky as textures, with the shade that furniture leaves on a floor.

Textures are (H, W, 3) uint8. Knows no model.
"""

from __future__ import annotations

import cv2
import numpy as np

from vl2_ros.sim.colors import CLUTTER_RANGES, ColorRange

SIDE = 256
_WOOD = ColorRange((18, 36), (0.25, 0.65), (0.3, 0.8))
_TILE = ColorRange((0, 360), (0.0, 0.18), (0.45, 0.95))
_CARPET = ColorRange((0, 360), (0.0, 0.45), (0.2, 0.75))
_PAINT = ColorRange((0, 360), (0.0, 0.1), (0.7, 1.0))
_CREAM = ColorRange((20, 55), (0.03, 0.3), (0.7, 1.0))
_STRONG_PAINT = ColorRange((0, 360), (0.15, 0.5), (0.4, 0.9))
_GRASS = ColorRange((75, 120), (0.3, 0.65), (0.25, 0.55))
_ASPHALT = ColorRange((0, 360), (0.0, 0.1), (0.25, 0.6))
_SAND = ColorRange((30, 45), (0.2, 0.45), (0.5, 0.8))
_SKY = ColorRange((200, 220), (0.05, 0.55), (0.75, 1.0))
_FOLIAGE = ColorRange((70, 130), (0.25, 0.6), (0.15, 0.45))
_BUILDING = ColorRange((0, 50), (0.0, 0.4), (0.35, 0.85))


def smooth_noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Return (SIDE, SIDE) noise in -1..1 of about `cells` bumps across."""
    small = rng.uniform(-1.0, 1.0, (cells, cells)).astype(np.float32)
    large = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, dtype=np.float32)


def _flat(rng: np.random.Generator, colors: ColorRange, grain: float) -> np.ndarray:
    noise = 0.5 * smooth_noise(rng, 6) + 0.5 * smooth_noise(rng, 40)
    noise += 0.6 * rng.standard_normal((SIDE, SIDE), dtype=np.float32)
    gain = 1.0 + np.float32(grain) * noise
    return gain[:, :, None] * colors.sample(rng).astype(np.float32)


def _planks(rng: np.random.Generator) -> np.ndarray:
    image = np.repeat(np.repeat(_WOOD.sample(rng)[None, None], SIDE, 0), SIDE, 1)
    count = int(rng.integers(6, 20))
    edges = np.linspace(0, SIDE, count + 1).astype(int)
    grain = cv2.resize(rng.uniform(-1, 1, (128, 6)).astype(np.float32), (SIDE, SIDE))
    contrast = rng.uniform(0.03, 0.14)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        image[low:high] *= 1.0 + rng.normal(0.0, contrast)
        image[low : low + 1] *= 0.6
        image[low:high, int(rng.integers(SIDE))] *= 0.7
    image *= 1.0 + 0.1 * grain[:, :, None]
    return image if rng.random() < 0.5 else image.transpose(1, 0, 2)


def _tiles(rng: np.random.Generator) -> np.ndarray:
    first, count = _TILE.sample(rng), int(rng.integers(4, 14))
    second = first * rng.uniform(0.3, 0.8) if rng.random() < 0.3 else first
    cells = np.add.outer(np.arange(count), np.arange(count)) % 2
    small = np.where(cells[:, :, None] == 0, first, second)
    small = small * (1.0 + rng.normal(0.0, 0.03, (count, count, 1)))
    image = np.asarray(cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST), np.float64)
    lines = np.linspace(0, SIDE - 1, count + 1).astype(int)
    joint = rng.uniform(0.5, 1.1)
    image[lines] *= joint
    image[:, lines] *= joint
    return image * (1.0 + 0.05 * smooth_noise(rng, 20)[:, :, None])


def paint_floor(rng: np.random.Generator) -> np.ndarray:
    """Paint wood, tiles or carpet."""
    choice = rng.random()
    if choice < 0.45:
        return _to_pixels(_planks(rng))
    if choice < 0.75:
        return _to_pixels(_tiles(rng))
    return _to_pixels(_flat(rng, _CARPET, rng.uniform(0.05, 0.2)))


def paint_ground(rng: np.random.Generator) -> np.ndarray:
    """Paint grass, asphalt, paving or sand; the result is repeated over a yard."""
    kind = int(rng.integers(4))
    if kind == 3:
        return _to_pixels(_tiles(rng))
    return _to_pixels(_flat(rng, (_GRASS, _ASPHALT, _SAND)[kind], rng.uniform(0.1, 0.3)))


def paint_wall(rng: np.random.Generator) -> np.ndarray:
    """Paint a wall of a room: colour or wallpaper, sometimes a window, a door or images."""
    ranges = (_PAINT, _CREAM, _STRONG_PAINT)[int(rng.choice(3, p=(0.5, 0.32, 0.18)))]
    image = _flat(rng, ranges, rng.uniform(0.0, 0.05))
    if rng.random() < 0.15:
        stripes = np.sign(np.sin(np.arange(SIDE) * rng.uniform(0.1, 0.6)))
        image *= 1.0 + 0.06 * stripes[None, :, None]
    image *= np.linspace(rng.uniform(0.85, 1.05), rng.uniform(0.85, 1.0), SIDE)[:, None, None]
    for _ in range(int(rng.integers(0, 4))):
        _hang_rectangle(rng, image)
    if rng.random() < 0.6:
        board = int(rng.integers(4, 9))
        image[-board:] = _TILE.sample(rng)
    return _to_pixels(image)


def _hang_rectangle(rng: np.random.Generator, image: np.ndarray) -> None:
    """Paint a window, an image in a frame or a dark opening on a wall."""
    width, height = (int(side) for side in rng.integers(18, 80, 2))
    left, top = int(rng.integers(0, SIDE - width)), int(rng.integers(15, SIDE // 2))
    height = min(height, SIDE - top - 1)
    frame = image[top : top + height, left : left + width]
    frame[:] = CLUTTER_RANGES[int(rng.integers(2))].sample(rng) * rng.uniform(0.3, 1.4)
    edge = int(rng.integers(2, 5))
    inside = frame[edge:-edge, edge:-edge]
    if rng.random() < 0.4:
        inside[:] = _SKY.sample(rng) * np.linspace(1.1, 0.8, inside.shape[0])[:, None, None]
        inside[:, inside.shape[1] // 2] = 0.5
    else:
        cells = (int(rng.integers(2, 8)), int(rng.integers(2, 8)))
        grey = rng.uniform(0.1, 0.95, (*cells, 1))
        small = np.clip(grey * (1.0 + rng.normal(0.0, 0.25, (*cells, 3))), 0.0, 1.0)
        inside[:] = cv2.resize(
            small, (inside.shape[1], inside.shape[0]), interpolation=cv2.INTER_LINEAR
        )


def paint_backdrop(rng: np.random.Generator) -> np.ndarray:
    """Paint what stands around a yard: sky above hedges, trees or buildings."""
    fade = np.linspace(rng.uniform(0.85, 1.0), 1.1, SIDE)[:, None, None]
    image = np.repeat(_SKY.sample(rng)[None, None] * fade, SIDE, axis=1).astype(np.float32)
    image += 0.08 * np.maximum(smooth_noise(rng, 5), 0.0)[:, :, None]
    horizon = SIDE * rng.uniform(0.75, 0.93)
    skyline = horizon + 0.06 * SIDE * smooth_noise(rng, int(rng.integers(4, 20)))[0]
    below = np.arange(SIDE)[:, None] > skyline[None]
    image[below] = _flat(rng, _FOLIAGE, 0.35)[below]
    for _ in range(int(rng.integers(0, 5))):
        left, top = int(rng.integers(0, SIDE - 30)), int(rng.uniform(0.6, 0.85) * SIDE)
        right = left + int(rng.integers(20, 90))
        image[top:, left:right] = _BUILDING.sample(rng)
        shade = _BUILDING.sample(rng) * 0.4
        for row in range(top + 5, SIDE - 12, 14):
            for column in range(left + 4, min(right, SIDE) - 7, 11):
                image[row : row + 7, column : column + 5] = shade
    return _to_pixels(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0)))


def shade_floor(
    floor: np.ndarray, corners: list[np.ndarray], half: np.ndarray, strength: float
) -> np.ndarray:
    """Darken a floor under things that stand on it and towards the walls.

    Args:
        floor: (SIDE, SIDE, 3) uint8, y upwards.
        corners: (4, 2) metres for each footprint.
        half: (2,) half sizes of the room in metres.
        strength: of the shade, in 0..1.
    """
    shade = np.zeros((SIDE, SIDE), np.float32)
    for points in corners:
        columns = (points[:, 0] / half[0] + 1.0) * 0.5 * SIDE
        rows = (1.0 - points[:, 1] / half[1]) * 0.5 * SIDE
        polygon = np.stack([columns, rows], axis=1).round().astype(np.int32)
        cv2.fillConvexPoly(shade, polygon, 1.0)
    near = cv2.GaussianBlur(shade, (0, 0), 5.0)
    border = np.zeros((SIDE, SIDE), np.float32)
    border[:3] = border[-3:] = border[:, :3] = border[:, -3:] = 1.0
    near = np.minimum(near + 0.8 * cv2.GaussianBlur(border, (0, 0), 8.0), 1.0)
    return (floor * (1.0 - strength * near)[:, :, None]).astype(np.uint8)


def _to_pixels(image: np.ndarray) -> np.ndarray:
    return (np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)

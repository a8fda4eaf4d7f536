"""Pre- and post-processing of the image generators: an editor's input, an image of its pixels.

Sizes, filter and rounding are those of diffusers' pipelines, which the released models were used
with. Knows no latents.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from vl2_ros.processing.images.preprocess import resize_bicubic
from vl2_ros.structures import Frame

#: Longest side at which a frame is edited by default; editors were trained on less.
EDIT_LONG = 768
#: Smallest side that the network's levels still divide.
EDIT_SHORT = 64


def fit_edit(frame_hw: tuple[int, int], multiple: int = 8) -> tuple[int, int]:
    """Return the height and width at which a frame is edited.

    The frame's own, scaled down to `EDIT_LONG` where it is longer, each side cut to a multiple.
    Sides stay at least `EDIT_SHORT`, so that thin frames are stretched.

    Example:
        >>> fit_edit((300, 451)), fit_edit((1080, 1920))
        ((296, 448), (432, 768))
    """
    factor = min(1.0, EDIT_LONG / max(frame_hw))
    # The small surplus keeps 768 from becoming 767.99.
    height, width = (
        max(EDIT_SHORT, int(side * factor + 1e-6) // multiple * multiple) for side in frame_hw
    )
    return height, width


def preprocess_source(frame: Frame, size_hw: tuple[int, int]) -> np.ndarray:
    """Make an editor's image.

    Args:
        frame: the image to edit.
        size_hw: height and width to work at.

    Returns:
        (3, H, W) float32 in -1..1.
    """
    rgb = frame.rgb
    if frame.frame_hw != size_hw:
        image = Image.fromarray(np.ascontiguousarray(rgb))
        rgb = np.array(image.resize(size_hw[::-1], Image.Resampling.LANCZOS))
    scaled = rgb.astype(np.float32) / np.float32(255)
    return np.ascontiguousarray((scaled * 2 - 1).transpose(2, 0, 1))


def postprocess_image(pixels: np.ndarray, frame_hw: tuple[int, int] | None = None) -> np.ndarray:
    """Turn a decoder's pixels into an image.

    Args:
        pixels: (3, H, W) float32, about -1..1; what lies outside is clipped.
        frame_hw: height and width of the result; None keeps its own.

    Returns:
        (H, W, 3) uint8.
    """
    shares = np.clip(pixels.transpose(1, 2, 0) / np.float32(2) + np.float32(0.5), 0, 1)
    rgb = (shares * 255).round().astype(np.uint8)
    return rgb if frame_hw is None else resize_bicubic(rgb, frame_hw)

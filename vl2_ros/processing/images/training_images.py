"""Make the training targets of image generation and editing from images of a data set.

Sizes are those of the released training (docs/spec/core.md, section 8). Nothing is mirrored: a
sentence may name left and right.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from vl2_ros.errors import InputError
from vl2_ros.structures import MAX_FRAME_PIXELS, Frame

#: Sides of trained images, in pixels.
DRAWN_SIDE = 512
EDITED_SIDE = 256
_WHITE = 255


def preprocess_drawn(frame: Frame, side: int = DRAWN_SIDE) -> np.ndarray:
    """Make the target of image generation: the whole image on a white square, scaled.

    Args:
        frame: an image of the data set.
        side: of the result, in pixels.

    Returns:
        (3, side, side) float32 in -1..1.

    Raises:
        InputError: if the white square would be over the pixel limit.
    """
    height, width = frame.frame_hw
    longest = max(height, width)
    if longest**2 > MAX_FRAME_PIXELS:
        raise InputError(
            f"a white square around {width}x{height} pixels is over the limit of "
            f"{MAX_FRAME_PIXELS}; expected an image that is less long and thin, crop it first"
        )
    square = np.full((longest, longest, 3), _WHITE, dtype=np.uint8)
    top, left = (longest - height) // 2, (longest - width) // 2
    square[top : top + height, left : left + width] = frame.rgb
    return _scale(crop_shortest_edge(square, side))


def preprocess_edited(
    source: Frame, target: Frame, side: int = EDITED_SIDE
) -> tuple[np.ndarray, np.ndarray]:
    """Make the source and the target of an edit, cropped alike.

    Args:
        source: before the edit.
        target: after it, of the same height and width.
        side: of the results, in pixels.

    Returns:
        Two arrays (3, side, side) float32 in -1..1.

    Raises:
        InputError: if the images are of different sizes, so that their crops would not agree.
    """
    if source.frame_hw != target.frame_hw:
        raise InputError(
            f"an edit keeps the size of its image; got a source of {source.frame_hw} and a "
            f"target of {target.frame_hw} (height, width)"
        )
    first, second = (_scale(crop_shortest_edge(frame.rgb, side)) for frame in (source, target))
    return first, second


def crop_shortest_edge(rgb: np.ndarray, side: int) -> np.ndarray:
    """Scale (H, W, 3) uint8 until its short side is `side`, then cut out the middle.

    PIL's antialiased bilinear filter; the long side is cut to whole pixels.
    """
    height, width = rgb.shape[:2]
    short = min(height, width)
    scaled_hw = int(side * height / short), int(side * width / short)
    image = Image.fromarray(np.ascontiguousarray(rgb))
    resized = np.array(image.resize(scaled_hw[::-1], Image.Resampling.BILINEAR))
    # The middle goes to the even neighbour, as in round().
    top, left = (round((length - side) / 2) for length in scaled_hw)
    return resized[top : top + side, left : left + side]


def _scale(rgb: np.ndarray) -> np.ndarray:
    scaled = rgb.astype(np.float32) / np.float32(127.5) - 1
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))

"""Prepare a `Frame` for the networks: CLIP tiles, decoder pixels.

The decoder's inverse step is `Letterbox`, made here and used by `processing.detection`.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from vl2_ros.errors import InputError
from vl2_ros.geometry import CanvasRange, Letterbox
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.image_file import read_image as read_image
from vl2_ros.processing.images.image_file import read_stored_pixels as read_stored_pixels
from vl2_ros.structures import MAX_FRAME_PIXELS, Frame

CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
#: In 0..255 units.
IMAGENET_MEAN = np.array([123.675, 116.28, 103.53], dtype=np.float32)
IMAGENET_STD = np.array([58.395, 57.12, 57.375], dtype=np.float32)
PAD_COLOUR = (122, 116, 104)
_LEVELS = np.arange(256, dtype=np.float32)[:, None]
#: (3, 256) float32: what each grey level of a channel becomes.
_CLIP_VALUES = np.ascontiguousarray(((_LEVELS / np.float32(255) - CLIP_MEAN) / CLIP_STD).T)
_IMAGENET_VALUES = np.ascontiguousarray(((_LEVELS - IMAGENET_MEAN) / IMAGENET_STD).T)


def choose_grid(frame_hw: tuple[int, int], side: int, max_tiles: int) -> tuple[int, int]:
    """Choose the anyres grid whose shape is nearest to the image's (docs/spec/core.md, 9.1).

    Args:
        frame_hw: height and width of the image, in pixels.
        side: side of one tile, in pixels.
        max_tiles: most tiles.

    Returns:
        (columns, rows).
    """
    height, width = frame_hw
    grids = [
        (columns, rows)
        for columns in range(1, max_tiles + 1)
        for rows in range(1, max_tiles + 1)
        if columns * rows <= max_tiles
    ]
    grids.sort(key=lambda grid: grid[0] * grid[1])
    best, best_difference = (1, 1), float("inf")
    for columns, rows in grids:
        difference = abs(width / height - columns / rows)
        # The larger grid of the same shape is chosen only when the image has pixels for it.
        enough = width * height > 0.5 * side * side * columns * rows
        if difference < best_difference or (difference == best_difference and enough):
            best, best_difference = (columns, rows), difference
    return best


def count_tiles(frame_hw: tuple[int, int], config: ProcessingConfig) -> int:
    """Return how many tiles `preprocess_vision` makes of an image of this size."""
    if config.aspect != "anyres":
        return 1
    columns, rows = choose_grid(frame_hw, config.vision_side, config.max_tiles)
    return 1 if columns * rows == 1 else columns * rows + 1


def preprocess_vision(frame: Frame, config: ProcessingConfig) -> np.ndarray:
    """Make the CLIP tiles of an image.

    Returns:
        (n, 3, S, S) float32, normalised; the tiles row by row, then the thumbnail.

    Raises:
        InputError: if padding or resizing would need an image over the pixel limit.
    """
    if config.aspect == "anyres":
        tiles = cut_tiles(frame.rgb, config.vision_side, config.max_tiles)
    elif config.aspect == "pad":
        tiles = _shortest_edge_crop(pad_to_square(frame.rgb), config.vision_side)[None]
    else:
        tiles = _shortest_edge_crop(frame.rgb, config.vision_side)[None]
    return normalise_clip(tiles)


def cut_tiles(rgb: np.ndarray, side: int, max_tiles: int) -> np.ndarray:
    """Resize an image to its grid, without keeping its aspect, and cut it.

    Args:
        rgb: (H, W, 3) uint8.
        side: side of one tile, in pixels.
        max_tiles: most tiles of the grid.

    Returns:
        (n, S, S, 3) uint8; a grid of several tiles is followed by the squashed whole image.
    """
    columns, rows = choose_grid(rgb.shape[:2], side, max_tiles)
    resized = resize_bicubic(rgb, (rows * side, columns * side))
    tiles = resized.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    if columns * rows == 1:
        return tiles
    return np.concatenate([tiles, resize_bicubic(rgb, (side, side))[None]])


def pad_to_square(rgb: np.ndarray) -> np.ndarray:
    """Centre an image on a square of the mean colour; odd differences go right and bottom.

    Raises:
        InputError: if the square is over the pixel limit.
    """
    height, width = rgb.shape[:2]
    side = max(height, width)
    _check_size((side, side), "padding to a square")
    square = np.empty((side, side, 3), dtype=np.uint8)
    square[:] = PAD_COLOUR
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = rgb
    return square


def normalise_clip(tiles: np.ndarray) -> np.ndarray:
    """Turn (n, H, W, 3) uint8 into (n, 3, H, W) float32 with CLIP's mean and deviation."""
    scaled = np.empty((len(tiles), 3, *tiles.shape[1:3]), dtype=np.float32)
    for tile, planes in zip(tiles, scaled, strict=True):
        _look_up(tile, _CLIP_VALUES, planes)
    return scaled


def _look_up(image: np.ndarray, values: np.ndarray, planes: np.ndarray) -> None:
    """Fill (3, H, W) float32 by what stands for each grey level of (H, W, 3) uint8.

    A channel has 256 levels, and a table of them is ten times as fast as arithmetic.

    Args:
        image: the image.
        values: (3, 256) float32.
        planes: is written to; each plane contiguous in its rows.
    """
    for channel, levels, plane in zip(cv2.split(image), values, planes, strict=True):
        cv2.LUT(channel, levels, plane)


def resize_bicubic(rgb: np.ndarray, target_hw: tuple[int, int]) -> np.ndarray:
    """Resize (H, W, 3) uint8 with PIL's antialiased bicubic filter."""
    _check_size(target_hw, "resizing")
    if rgb.shape[:2] == target_hw:
        return np.array(rgb)
    image = Image.fromarray(np.ascontiguousarray(rgb))
    return np.array(image.resize(target_hw[::-1], Image.Resampling.BICUBIC))


def _check_size(target_hw: tuple[int, int], purpose: str) -> None:
    if target_hw[0] * target_hw[1] > MAX_FRAME_PIXELS:
        raise InputError(
            f"{purpose} needs an image of {target_hw[1]}x{target_hw[0]} pixels, the limit is "
            f"{MAX_FRAME_PIXELS}; expected an image that is less long and thin, crop it first"
        )


def resize_shortest_edge(rgb: np.ndarray, side: int) -> np.ndarray:
    """Resize (H, W, 3) uint8 so that its short side has `side` pixels, keeping the aspect."""
    height, width = rgb.shape[:2]
    if height <= width:
        return resize_bicubic(rgb, (side, int(side * width / height)))
    return resize_bicubic(rgb, (int(side * height / width), side))


def _shortest_edge_crop(rgb: np.ndarray, side: int) -> np.ndarray:
    resized = resize_shortest_edge(rgb, side)
    top, left = (resized.shape[0] - side) // 2, (resized.shape[1] - side) // 2
    return resized[top : top + side, left : left + side]


def fit_letterbox(
    frame_hw: tuple[int, int], config: ProcessingConfig, canvases: Sequence[CanvasRange] = ()
) -> Letterbox:
    """Compute the decoder size of an image (docs/spec/core.md, 9.3) and its padded canvas.

    Args:
        frame_hw: height and width of the image, in pixels.
        config: sides and multiple.
        canvases: those that an engine accepts; none stands for any.
    """
    height, width = frame_hw
    factor = min(config.decoder_long / max(frame_hw), config.decoder_short / min(frame_hw))
    # A side of a very thin image must not vanish.
    model_hw = max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))
    return _choose_canvas(frame_hw, model_hw, config.decoder_multiple, canvases)


def _choose_canvas(
    frame_hw: tuple[int, int],
    model_hw: tuple[int, int],
    multiple: int,
    canvases: Sequence[CanvasRange],
) -> Letterbox:
    """Return the letterbox that keeps most of the size, then pads least."""
    if not canvases:
        return Letterbox(frame_hw, model_hw, _round_up(model_hw, multiple))
    letterboxes = [_fit_canvas(frame_hw, model_hw, multiple, canvas) for canvas in canvases]
    return max(letterboxes, key=lambda one: (np.prod(one.model_hw), -np.prod(one.padded_hw)))


def _fit_canvas(
    frame_hw: tuple[int, int], model_hw: tuple[int, int], multiple: int, canvas: CanvasRange
) -> Letterbox:
    """Pad an image up to a canvas; one that is too large for it is made smaller."""
    least, most = canvas.least_hw, canvas.most_hw
    if model_hw[0] > most[0] or model_hw[1] > most[1]:
        factor = min(most[0] / frame_hw[0], most[1] / frame_hw[1])
        model_hw = (
            min(most[0], max(1, int(frame_hw[0] * factor + 0.5))),
            min(most[1], max(1, int(frame_hw[1] * factor + 0.5))),
        )
    height, width = _round_up(model_hw, multiple)
    padded_hw = (min(max(height, least[0]), most[0]), min(max(width, least[1]), most[1]))
    return Letterbox(frame_hw, model_hw, padded_hw)


def _round_up(hw: tuple[int, int], multiple: int) -> tuple[int, int]:
    return -(-hw[0] // multiple) * multiple, -(-hw[1] // multiple) * multiple


def resize_decoder(rgb: np.ndarray, letterbox: Letterbox) -> np.ndarray:
    """Resize (H, W, 3) uint8 to the decoder's size with OpenCV's plain bilinear filter."""
    if rgb.shape[:2] == letterbox.model_hw:
        return rgb
    resized = cv2.resize(
        np.ascontiguousarray(rgb), letterbox.model_hw[::-1], interpolation=cv2.INTER_LINEAR
    )
    return np.asarray(resized, dtype=np.uint8)


def preprocess_decoder(
    frame: Frame, config: ProcessingConfig, canvases: Sequence[CanvasRange] = ()
) -> tuple[np.ndarray, np.ndarray, Letterbox]:
    """Make the detection decoder's image.

    Args:
        frame: the camera image.
        config: sides and multiple.
        canvases: those that an engine accepts; none stands for any.

    Returns:
        pixels (3, H, W) float32, ImageNet-normalised, zeros in the padding;
        pixel_mask (H, W) bool, True = image, False = padding;
        the letterbox that leads back to camera pixels.
    """
    letterbox = fit_letterbox(frame.frame_hw, config, canvases)
    pixels, pixel_mask = _pad_decoder(resize_decoder(frame.rgb, letterbox), letterbox)
    return pixels, pixel_mask, letterbox


def fit_pose_letterbox(
    frame_hw: tuple[int, int], config: ProcessingConfig, canvases: Sequence[CanvasRange] = ()
) -> Letterbox:
    """Compute the pose decoder's size of an image (docs/spec/core.md, 9.3) and its padded canvas.

    The short side decides, the other one is cut to whole pixels (the rule of DETR). Arguments are
    those of `fit_letterbox`.
    """
    short, long = min(frame_hw), max(frame_hw)
    target = config.decoder_short
    if long / short * target > config.decoder_long:
        target = max(1, round(config.decoder_long * short / long))
    other = max(1, int(target * long / short))
    model_hw = (other, target) if frame_hw[0] > frame_hw[1] else (target, other)
    return _choose_canvas(frame_hw, model_hw, config.decoder_multiple, canvases)


def resize_pose(rgb: np.ndarray, letterbox: Letterbox) -> np.ndarray:
    """Resize (H, W, 3) uint8 to the pose decoder's size with PIL's antialiased bilinear filter."""
    if rgb.shape[:2] == letterbox.model_hw:
        return rgb
    image = Image.fromarray(np.ascontiguousarray(rgb))
    return np.array(image.resize(letterbox.model_hw[::-1], Image.Resampling.BILINEAR))


def preprocess_pose(
    frame: Frame, config: ProcessingConfig, canvases: Sequence[CanvasRange] = ()
) -> tuple[np.ndarray, np.ndarray, Letterbox]:
    """Make the pose decoder's image; arguments and results are those of `preprocess_decoder`.

    Size and filter differ from the detection decoder's, as they did in training.
    """
    letterbox = fit_pose_letterbox(frame.frame_hw, config, canvases)
    pixels, pixel_mask = _pad_decoder(resize_pose(frame.rgb, letterbox), letterbox)
    return pixels, pixel_mask, letterbox


def _pad_decoder(resized: np.ndarray, letterbox: Letterbox) -> tuple[np.ndarray, np.ndarray]:
    """Normalise (h, w, 3) uint8 and lay it on the canvas: pixels (3, H, W), mask (H, W)."""
    height, width = letterbox.model_hw
    pixels = np.zeros((3, *letterbox.padded_hw), dtype=np.float32)
    _look_up(resized, _IMAGENET_VALUES, pixels[:, :height, :width])
    pixel_mask = np.zeros(letterbox.padded_hw, dtype=np.bool_)
    pixel_mask[:height, :width] = True
    return pixels, pixel_mask

"""Pre- and post-processing of image generators: sources, images of pixels, checked images.

Sizes, filter and rounding are those of diffusers' pipelines, which the released models were used
with. Knows no latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vl2_ros.documents import check_int, check_list, check_number, shorten
from vl2_ros.errors import CheckpointError
from vl2_ros.processing.images.preprocess import resize_bicubic, resize_shortest_edge
from vl2_ros.structures import Frame

#: Longest side at which a frame is edited by default; editors were trained on less.
EDIT_LONG = 768
#: Smallest side that the network's levels still divide.
EDIT_SHORT = 64
#: Largest side of a safety checker's image.
_MOST_CHECKED = 4096
#: Steps of CLIP's preparation of images that are taken; 3 is bicubic.
_CLIP_STEPS: Mapping[str, Any] = {
    "do_resize": True,
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "resample": 3,
}


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


@dataclass(frozen=True, slots=True)
class CheckedImages:
    """How a safety checker's images are made, from a preprocessor_config.json of CLIP.

    Attributes:
        resize_hw: height and width that images get; None: the short side gets `resize_short`.
        resize_short: that side in pixels; 0 where `resize_hw` is given.
        crop_hw: height and width of the middle that is kept.
        mean: of each channel in 0..1.
        std: of each channel in 0..1.
    """

    resize_hw: tuple[int, int] | None
    resize_short: int
    crop_hw: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> CheckedImages:
        """Read the content of the file, of old or new libraries.

        Raises:
            CheckpointError: naming what is missing, of the wrong kind or not supported.
        """
        for name, supported in _CLIP_STEPS.items():
            if values.get(name, supported) != supported:
                raise CheckpointError(
                    f"the safety checker's images have {name} {shorten(values[name])}; supported: "
                    f"{supported}"
                )
        size, crop = (values.get(name) for name in ("size", "crop_size"))
        short = size.get("shortest_edge") if isinstance(size, Mapping) else size
        mean, std = (_read_channels(name, values.get(name)) for name in ("image_mean", "image_std"))
        return cls(
            None if short is not None else _read_sides("size", size),
            0 if short is None else _read_side("size", short),
            _read_sides("crop_size", crop),
            mean,
            std,
        )


def preprocess_checked(pixels: np.ndarray, images: CheckedImages) -> np.ndarray:
    """Make a safety checker's image.

    Args:
        pixels: (3, H, W) float32 of a decoder, about -1..1; what lies outside is clipped.
        images: sizes and normalisation.

    Returns:
        (3, h, w) float32.
    """
    rgb = postprocess_image(pixels, images.resize_hw)
    if images.resize_hw is None:
        rgb = resize_shortest_edge(rgb, images.resize_short)
    height, width = images.crop_hw
    top, left = (rgb.shape[0] - height) // 2, (rgb.shape[1] - width) // 2
    shares = rgb[top : top + height, left : left + width].astype(np.float32) / np.float32(255)
    mean, std = (np.array(one, np.float32) for one in (images.mean, images.std))
    return np.ascontiguousarray(((shares - mean) / std).transpose(2, 0, 1))


def _read_channels(name: str, value: Any) -> tuple[float, ...]:
    listed = check_list(name, value, most=3, error=CheckpointError)
    numbers = tuple(check_number(name, one, error=CheckpointError) for one in listed)
    if len(numbers) != 3 or (name == "image_std" and not all(numbers)):
        raise CheckpointError(f"{name} must be three numbers, got {shorten(value)}")
    return numbers


def _read_sides(name: str, value: Any) -> tuple[int, int]:
    if isinstance(value, Mapping):
        height, width = (_read_side(name, value.get(side)) for side in ("height", "width"))
        return height, width
    side = _read_side(name, value)
    return side, side


def _read_side(name: str, value: Any) -> int:
    return check_int(name, value, least=1, most=_MOST_CHECKED, error=CheckpointError)

"""Read images from a file of numpy, without reading all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vl2_ros.errors import InputError, VL2Error
from vl2_ros.sources.source import SourceImage
from vl2_ros.structures import Frame


def read_arrays(path: Path) -> Iterator[SourceImage]:
    """Read an array, (H, W, 3) or (N, H, W, 3) uint8 in the order red, green, blue, or (H, W) grey.

    Yields:
        Each image, or one with the error.
    """
    try:
        images = _open(path)
    except VL2Error as error:
        yield SourceImage(str(path), None, error)
        return
    if len(images) == 0:
        yield SourceImage(str(path), None, InputError(f"{path} holds no image: {images.shape}"))
    for index, image in enumerate(images):
        name = f"{path}[{index}]" if len(images) > 1 else str(path)
        try:
            yield SourceImage(name, Frame(np.ascontiguousarray(image)))
        except VL2Error as error:
            yield SourceImage(name, None, error)


def _open(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise InputError(f"cannot read {path}: {error}; expected an array of numpy") from error
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        raise InputError(
            f"{path} holds {getattr(array, 'dtype', type(array).__name__)}; expected uint8 pixels"
        )
    if array.ndim == 2:
        return np.repeat(array[..., None], 3, axis=2)[None]
    if array.ndim not in (3, 4) or array.shape[-1] != 3:
        raise InputError(
            f"{path} holds an array of {array.shape}; expected (H, W, 3), (N, H, W, 3) or (H, W)"
        )
    return array if array.ndim == 4 else array[None]

"""Read images of class numbers and the names of classes, and list the image files of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.documents import read_text
from vl2_ros.errors import InputError, VL2Error
from vl2_ros.processing.images.image_file import read_label_image
from vl2_ros.processing.language.tokenizer import neutralise

#: Endings of image files.
IMAGE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm"}
)


def list_image_files(folder: Path) -> list[Path]:
    """Return the image files of a folder by name; [] of one that is not there."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)


def read_label_file(path: Path, frame_hw: Sequence[int]) -> np.ndarray:
    """Return the values of a label image, (H, W) int64.

    Args:
        path: of the file.
        frame_hw: height and width of the image that it labels.

    Raises:
        BadRecordError: if it is damaged, has colours in place of numbers, or another size.
    """
    try:
        values = read_label_image(path).astype(np.int64)
    except InputError as error:
        raise BadRecordError("images", "label image cannot be read", str(error)) from error
    if values.shape != tuple(frame_hw):
        raise BadRecordError(
            "images",
            "label image of another size than its image",
            f"{values.shape[1]}x{values.shape[0]}, image {frame_hw[1]}x{frame_hw[0]}",
        )
    return values


def read_class_file(path: Path, error: type[VL2Error], *, advice: str = "") -> tuple[str, ...]:
    """Read names of classes, a name a line, without special tokens.

    Args:
        path: of the file.
        error: what is raised.
        advice: what to do where the file cannot be read.

    Raises:
        VL2Error: `error`, if it cannot be read, or a line between two names is blank: the classes
            after it would have other values than their author thought.
    """
    lines = read_text(path, error, advice=advice).rstrip().splitlines()
    names = tuple(" ".join(neutralise(line).split()) for line in lines)
    if not names or not all(names):
        raise error(f"{path} must have a name a line without blank lines, got {len(names)} lines")
    return names

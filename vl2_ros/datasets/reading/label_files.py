"""Read images of class numbers, and list the image files of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.structures import MAX_FRAME_PIXELS

#: Endings of image files.
IMAGE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm"}
)
#: Modes of Pillow whose values are class numbers: grey, colour numbers, 16 and 32 bit.
_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")


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
        with Image.open(path) as image:
            if image.width * image.height > MAX_FRAME_PIXELS or image.mode not in _MODES:
                raise BadRecordError(
                    "images",
                    "label image is no image of class numbers",
                    f"{image.mode}, {image.width}x{image.height}",
                )
            values = np.asarray(image).astype(np.int64)
    # What Pillow's readers raise on damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, UnidentifiedImageError) as error:
        if isinstance(error, BadRecordError):
            raise
        raise BadRecordError("images", "label image damaged", str(error)) from error
    if values.shape != tuple(frame_hw):
        raise BadRecordError(
            "images",
            "label image of another size than its image",
            f"{values.shape[1]}x{values.shape[0]}, image {frame_hw[1]}x{frame_hw[0]}",
        )
    return values

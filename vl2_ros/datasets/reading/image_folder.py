"""Read the images of a set, and say of each what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.documents import is_file, shorten
from vl2_ros.errors import InputError
from vl2_ros.processing.images.image_file import read_image, read_stored_pixels
from vl2_ros.structures import Frame


def find_images(index: Path, images: Path | None) -> Path:
    """Return the folder of the images of an index file: a given one, `images` beside, or its own.

    Args:
        index: the file that lists the images.
        images: given folder, or None.
    """
    beside = index.parent / "images"
    return images or (beside if beside.is_dir() else index.parent)


def strip_folders(name: str) -> str:
    """Return the name of a file by which other sets know it, whatever folders they start from."""
    return name.replace("\\", "/").rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """A folder that a set's file names are relative to.

    Attributes:
        folder: of the images.
    """

    folder: Path

    def check(self, name: Any) -> str:
        """Return a file name that is one and exists.

        Raises:
            BadRecordError: if it is no text, or no file has it.
        """
        if not isinstance(name, str) or not name.strip():
            raise BadRecordError("images", "image without a file name", f"got {shorten(name)}")
        if not is_file(self.folder / name):
            raise self._miss(name)
        return name

    def read(self, name: str, frame_hw: Sequence[int] | None = None) -> Frame:
        """Read an image.

        Args:
            name: file name.
            frame_hw: height and width that the labels are for; None does not compare.

        Raises:
            BadRecordError: if it is missing, truncated, no image, or of another size.
        """
        if not is_file(self.folder / name):
            raise self._miss(name)
        try:
            frame = read_image(self.folder / name)
        except InputError as error:
            raise BadRecordError("images", "image damaged or truncated", str(error)) from error
        if frame_hw is not None and frame.frame_hw == (frame_hw[1], frame_hw[0]):
            # Some tools label the pixels as they are stored, before EXIF turns them.
            stored = read_stored_pixels((self.folder / name).read_bytes())
            frame = Frame(np.broadcast_to(stored, (*stored.shape[:2], 3)).copy())
        if frame_hw is not None and frame.frame_hw != tuple(frame_hw):
            raise BadRecordError(
                "images",
                "image of another size than its labels",
                f"{frame.frame_hw[1]}x{frame.frame_hw[0]}, labels for {frame_hw[1]}x{frame_hw[0]}",
            )
        return frame

    def _miss(self, name: str) -> BadRecordError:
        where = f"cannot read {self.folder / name}; check the folder of the images"
        return BadRecordError("images", "image missing", where)

"""An index of a COCO file: boxes and categories in arrays, the rest by its position in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vl2_ros.datasets.reading.coco_scan import CocoScan, IndexOptions
from vl2_ros.datasets.reading.data_report import BadRecordError, DataReport
from vl2_ros.datasets.reading.image_folder import ImageFolder
from vl2_ros.datasets.reading.json_records import JsonRecords
from vl2_ros.datasets.reading.segmentations import decode_segmentation
from vl2_ros.errors import InputError
from vl2_ros.structures import Frame


class CocoIndex:
    """Images with their annotations, those that can be used.

    An annotation takes some 60 bytes. Masks, keypoints and texts are read again when they are
    needed.

    Args:
        path: of the file.
        images: folder of its images.
        report: counts what is read and what is bad.
        options: what is checked.

    Raises:
        InputError: if the file cannot be read; of a bad record if the report is strict.
    """

    def __init__(
        self, path: Path, images: ImageFolder, report: DataReport, options: IndexOptions
    ) -> None:
        """Read the file once."""
        self._records = JsonRecords(path, max_bytes=options.max_bytes)
        self._images, self._report = images, report
        found = CocoScan(images, report, options, self._records.read)
        for record in self._records.scan():
            found.take(record)
        kept = found.finish()
        self.categories = tuple(found.categories.values())
        self._names = [found.names[number] for number in kept.images]
        self._sizes = [found.sizes[number] for number in kept.images]
        self._spans = [found.image_spans[number] for number in kept.images]
        self._kept = kept

    def __len__(self) -> int:
        """Return the number of images that can be used."""
        return len(self._names)

    def image_name(self, image: int) -> str:
        """Return the file name of an image."""
        return self._names[image]

    def frame_hw(self, image: int) -> tuple[int, int]:
        """Return height and width of an image."""
        return self._sizes[image]

    def read_image(self, image: int) -> Frame:
        """Read an image.

        Raises:
            BadRecordError: if it cannot be used.
        """
        return self._images.read(self._names[image], self._sizes[image])

    def image_row(self, image: int) -> dict[str, Any]:
        """Read what the file says of an image."""
        row: dict[str, Any] = self._records.read(self._spans[image])
        return row

    def annotations(self, image: int) -> range:
        """Return the numbers of the annotations of an image."""
        return range(int(self._kept.starts[image]), int(self._kept.starts[image + 1]))

    def image_of(self, annotation: int) -> int:
        """Return the image that an annotation belongs to."""
        return int(np.searchsorted(self._kept.starts, annotation, side="right")) - 1

    @property
    def boxes_xyxy(self) -> np.ndarray:
        """Return (A, 4) float32 corners of all annotations, clipped to their images."""
        return self._kept.boxes

    @property
    def category_index(self) -> np.ndarray:
        """Return (A,) int64 positions in `categories`; -1 where there is none."""
        return self._kept.categories

    @property
    def has_mask(self) -> np.ndarray:
        """Return (A,) bool, whether an annotation has a mask."""
        return self._kept.has_mask

    @property
    def is_marked(self) -> np.ndarray:
        """Return (A,) bool, what `check_row` of the options returned for an annotation."""
        return self._kept.is_marked

    def row(self, annotation: int) -> dict[str, Any]:
        """Read an annotation again."""
        start, end = self._kept.spans[annotation]
        row: dict[str, Any] = self._records.read((int(start), int(end)))
        return row

    def mask(self, annotation: int, image: int) -> np.ndarray:
        """Return the mask of an annotation, (H, W) bool.

        Raises:
            BadRecordError: if it has no pixel in its image.
        """
        return decode_segmentation(self.row(annotation)["segmentation"], self._sizes[image])


def open_coco(
    path: Path, images: ImageFolder, report: DataReport, options: IndexOptions
) -> CocoIndex | None:
    """Open an index; None, and a file counted as bad, where it cannot be read at all.

    Raises:
        InputError: if the report is strict.
    """
    report.totals["files"] += 1
    try:
        return CocoIndex(path, images, report, options)
    except InputError as error:
        if report.strict:
            raise
        report.skip(BadRecordError("files", "index cannot be read", str(error)), path.name)
        return None

"""Check the rows of a COCO file, whose lists come in any order, and gather what can be used."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vl2_ros.datasets.reading.data_report import BadRecordError, DataReport
from vl2_ros.datasets.reading.image_folder import ImageFolder
from vl2_ros.datasets.reading.json_records import Record, Span
from vl2_ros.datasets.reading.segmentations import (
    UNIT,
    check_segmentation,
    measure_segmentation,
    read_box,
)
from vl2_ros.documents import shorten
from vl2_ros.processing.language.tokenizer import neutralise

#: Raises a BadRecordError for an annotation that a source cannot use; returns whether to mark it.
CheckRow = Callable[[Mapping[str, Any]], bool]
_NO_SIZE = (0, 0)
#: Most pixels of a side.
_MAX_SIDE = 1 << 16
#: Bad annotations of a kind that are read again to be named.
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Category:
    """A category of the file.

    Attributes:
        name: without special tokens.
        keypoints: names of its keypoints; () where it has none.
        sigmas: falloff of each keypoint where the file has them, else ().
    """

    name: str
    keypoints: tuple[str, ...] = ()
    sigmas: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """What of a file is checked.

    Attributes:
        max_bytes: a larger file is refused.
        with_categories: whether an annotation needs a category.
        with_masks: whether an annotation needs a mask.
        with_keypoints: whether keypoints are read.
        check_row: of the source, for what else it reads; None without.
    """

    max_bytes: int
    with_categories: bool = True
    with_masks: bool = False
    with_keypoints: bool = False
    check_row: CheckRow | None = None


@dataclass(frozen=True, slots=True, eq=False)
class KeptRows:
    """What of a file can be used.

    Attributes:
        images: numbers of the images.
        starts: (I + 1,) first annotation of each image, and the number of all.
        boxes: (A, 4) float32 corners, of annotations sorted by image.
        categories: (A,) int64 positions of their categories, -1 without one.
        has_mask: (A,) bool.
        is_marked: (A,) bool, what `check_row` returned.
        spans: (A, 2) int64 positions in the file.
    """

    images: list[int]
    starts: np.ndarray
    boxes: np.ndarray
    categories: np.ndarray
    has_mask: np.ndarray
    is_marked: np.ndarray
    spans: np.ndarray


class CocoScan:
    """Gathers the rows of a file.

    Args:
        images: folder of the images.
        report: counts what is read and what is bad.
        options: what is checked.
        read: reads a record again, to name it.
    """

    def __init__(
        self,
        images: ImageFolder,
        report: DataReport,
        options: IndexOptions,
        read: Callable[[Span], Any],
    ) -> None:
        """Begin empty."""
        self._folder, self._report, self._options, self._read = images, report, options, read
        self.categories: dict[int | str, Category] = {}
        self._numbers: dict[int | str, int] = {}
        self.names: dict[int, str] = {}
        self.sizes: dict[int, tuple[int, int]] = {}
        self.image_spans: dict[int, Span] = {}
        self._bad_images: set[int] = set()
        #: Images of which some label is skipped.
        self._incomplete: set[int] = set()
        self._ids: set[int | str] = set()
        self._category_numbers: dict[int | str, int] = {}
        self._image, self._category, self._points = array("q"), array("q"), array("q")
        self._boxes, self._sides, self._spans = array("d"), array("q"), array("q")

    def take(self, record: Record) -> None:
        """Check a row; a bad one is counted.

        Raises:
            InputError: of a bad row, if the report is strict.
        """
        take = {
            "images": self._take_image,
            "annotations": self._take_annotation,
            "categories": self._take_category,
        }.get(record.section)
        if take is None:
            return
        self._report.totals[record.section] += 1
        try:
            if not isinstance(record.value, dict):
                raise BadRecordError(record.section, "entry is no object", shorten(record.value))
            take(record.value, record.span)
        except BadRecordError as bad:
            self._report.skip(bad, _name_row(record.value))

    def _take_category(self, row: dict[str, Any], span: Span) -> None:
        category_id = _read_id(row, "id", "categories")
        name = row.get("name")
        if not isinstance(name, str) or not name.strip():
            raise BadRecordError("categories", "category without a name", f"got {shorten(name)}")
        if category_id in self.categories:
            raise BadRecordError("categories", "id repeats")
        keypoints, sigmas = row.get("keypoints") or [], row.get("sigmas") or []
        if not isinstance(keypoints, list) or not all(isinstance(one, str) for one in keypoints):
            raise BadRecordError("categories", "keypoints are no names", shorten(keypoints))
        if sigmas and not _are_sigmas(sigmas, len(keypoints)):
            raise BadRecordError("categories", "sigmas do not fit the keypoints", shorten(sigmas))
        self.categories[category_id] = Category(
            " ".join(neutralise(name).split()), tuple(keypoints), tuple(map(float, sigmas))
        )

    def _take_image(self, row: dict[str, Any], span: Span) -> None:
        number = self._number(_read_id(row, "id", "images"))
        if number in self.names or number in self._bad_images:
            raise BadRecordError("images", "id repeats")
        try:
            name = self._folder.check(row.get("file_name"))
            sides = row.get("height"), row.get("width")
            if None in sides:
                sides = self._folder.read(name).frame_hw
            if not all(type(side) is int and 0 < side <= _MAX_SIDE for side in sides):
                raise BadRecordError("images", "image without a size", f"got {shorten(sides)}")
        except BadRecordError:
            self._bad_images.add(number)
            raise
        self.names[number], self.image_spans[number] = name, span
        self.sizes[number] = (int(sides[0] or 0), int(sides[1] or 0))

    def _take_annotation(self, row: dict[str, Any], span: Span) -> None:
        number = self._number(_read_id(row, "image_id", UNIT))
        count = len(self._image)
        try:
            self._check_annotation(number, row, span)
        finally:
            if len(self._image) == count:
                self._incomplete.add(number)

    def _check_annotation(self, number: int, row: dict[str, Any], span: Span) -> None:
        category = self._read_category(row)
        if "id" in row:
            own = _read_id(row, "id", UNIT)
            if own in self._ids:
                raise BadRecordError(UNIT, "id repeats")
            self._ids.add(own)
        if row.get("iscrowd") in (1, True):
            self._report.notes["groups (iscrowd) that are skipped"] += 1
            return
        segmentation = row.get("segmentation") or None
        sides = _NO_SIZE
        if segmentation is not None:
            check_segmentation(segmentation, None)
            if isinstance(segmentation, dict):
                sides = (segmentation["size"][0], segmentation["size"][1])
        elif self._options.with_masks:
            self._report.notes["annotations without a mask that are skipped"] += 1
            return
        if row.get("bbox") is None and segmentation is not None:
            corners = measure_segmentation(segmentation)
        else:
            corners = read_box(row.get("bbox"), None)
        points = -1
        if self._options.with_keypoints and row.get("keypoints") is not None:
            points = _count_keypoints(row["keypoints"])
        check_row = self._options.check_row
        is_marked = check_row is not None and check_row(row)
        self._image.append(number)
        self._category.append(category)
        self._points.append(points)
        self._boxes.extend(corners)
        self._sides.extend((*sides, segmentation is not None, is_marked))
        self._spans.extend(span)

    def _read_category(self, row: dict[str, Any]) -> int:
        if not self._options.with_categories:
            return -1
        value = _read_id(row, "category_id", UNIT)
        return self._category_numbers.setdefault(value, len(self._category_numbers))

    def _number(self, image_id: int | str) -> int:
        return self._numbers.setdefault(image_id, len(self._numbers))

    def finish(self) -> KeptRows:
        """Check annotations against images and categories, and sort them by image."""
        count = len(self._image)
        image, category = np.array(self._image, np.int64), self._find_categories()
        boxes = np.array(self._boxes, np.float64).reshape(count, 4)
        sides = np.array(self._sides, np.int64).reshape(count, 4)
        spans = np.array(self._spans, np.int64).reshape(count, 2)
        heights, widths = np.zeros((2, len(self._numbers)))
        for number, size in self.sizes.items():
            heights[number], widths[number] = size
        is_known = np.zeros(len(self._numbers), np.bool_)
        is_known[list(self.names)] = True
        limits = np.stack([widths, heights, widths, heights], axis=1)[image]  # (A, 4)
        clipped = np.clip(boxes, 0.0, limits)
        of_bad = np.isin(image, list(self._bad_images))
        kept = is_known[image]
        kept &= self._reject(~is_known[image] & ~of_bad, spans, "image unknown")
        if self._options.with_categories:
            kept &= self._reject(kept & (category < 0), spans, "category unknown")
        is_outside = (clipped[:, 2:] <= clipped[:, :2]).any(axis=1)
        kept &= self._reject(kept & is_outside, spans, "box outside of its image")
        has_size = (sides[:, :2] > 0).any(axis=1)
        is_other = has_size & (sides[:, :2] != limits[:, [1, 0]]).any(axis=1)
        kept &= self._reject(kept & is_other, spans, "run lengths of another size than their image")
        kept &= self._check_keypoints(kept, category, spans)
        reaching = kept & (np.abs(clipped - boxes).max(axis=1, initial=0.0) > 1.0)
        if reaching.any():
            self._report.notes["boxes that reach out of their image, clipped"] += int(
                reaching.sum()
            )
        flags = sides[:, 2] > 0, sides[:, 3] > 0
        return self._sort(kept, image, (clipped, category, *flags, spans))

    def _find_categories(self) -> np.ndarray:
        """Return the position in `categories` of each annotation, -1 of an unknown one."""
        position = {one: index for index, one in enumerate(self.categories)}
        table = np.array([position.get(one, -1) for one in self._category_numbers] + [-1])
        return np.asarray(table[np.array(self._category, np.int64)])

    def _check_keypoints(
        self, kept: np.ndarray, category: np.ndarray, spans: np.ndarray
    ) -> np.ndarray:
        if not self._options.with_keypoints:
            return np.ones(len(kept), np.bool_)
        expected = np.array([len(one.keypoints) for one in self.categories.values()] + [0])
        points = np.array(self._points, np.int64)
        is_wrong = kept & (points >= 0) & (points != 3 * expected[category])
        return self._reject(is_wrong, spans, "keypoints of a wrong number")

    def _reject(self, is_bad: np.ndarray, spans: np.ndarray, reason: str) -> np.ndarray:
        """Count bad annotations; return those that are not."""
        for count, number in enumerate(np.flatnonzero(is_bad)):
            start, end = spans[number].tolist()
            row = self._read((start, end)) if count < _NAMED else {}
            name = f"annotation id {shorten(row.get('id'))} at byte {start}"
            image = self.names.get(self._image[number])
            self._report.skip(BadRecordError(UNIT, reason), f"{name} of {image}" if image else name)
        return ~is_bad

    def _sort(
        self, kept: np.ndarray, image: np.ndarray, columns: tuple[np.ndarray, ...]
    ) -> KeptRows:
        counts = np.bincount(image[kept], minlength=len(self._numbers))
        # An image that has lost all of its labels would teach that nothing is there.
        incomplete = self._incomplete.union(image[~kept].tolist())
        usable = [
            number for number in sorted(self.names) if counts[number] or number not in incomplete
        ]
        new_number = np.full(len(self._numbers), -1)
        new_number[usable] = np.arange(len(usable))
        numbers = np.flatnonzero(kept)
        order = numbers[np.argsort(new_number[image[numbers]], kind="stable")]
        starts = np.concatenate([[0], np.cumsum(counts[usable])]).astype(np.int64)
        boxes, *others = (one[order] for one in columns)
        return KeptRows(usable, starts, boxes.astype(np.float32), *others)


def _name_row(value: Any) -> str:
    if not isinstance(value, dict):
        return shorten(value)
    for name in ("file_name", "id"):
        if name in value:
            where = f" of image {shorten(value['image_id'])}" if "image_id" in value else ""
            shown = value[name] if isinstance(value[name], str) else shorten(value[name])
            return f"{shown}{where}" if name == "file_name" else f"id {shown}{where}"
    return shorten(value)


def _read_id(row: dict[str, Any], name: str, unit: str) -> int | str:
    value = row.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadRecordError(unit, f"{name} is no number or text", f"got {shorten(value)}")
    return value


def _count_keypoints(value: Any) -> int:
    is_list = isinstance(value, list)
    if not is_list or not all(
        isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < 1e6
        for one in value
    ):
        raise BadRecordError(UNIT, "keypoints are no numbers", f"got {shorten(value)}")
    return len(value)


def _are_sigmas(value: Any, count: int) -> bool:
    is_list = isinstance(value, list) and len(value) == count
    return is_list and all(isinstance(one, int | float) and 0 < one < 1e3 for one in value)

"""Read COCO annotations for an evaluation: bad rows are counted and named, the others are kept.

Outlines become run lengths at once, so that thousands of masks take little memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vl2_ros.documents import (
    check_document,
    check_int,
    check_list,
    check_object,
    check_text,
    read_json,
)
from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.task import BadRows, read_frame
from vl2_ros.evaluation.coco.document import MAX_FILE_BYTES, MAX_SIDE, check_ids, check_row
from vl2_ros.evaluation.coco.shapes import encode_segmentation, measure_mask
from vl2_ros.structures import Frame

Row = dict[str, Any]
#: Rows of one list; COCO has a million.
_MAX_ROWS = 50_000_000


@dataclass(frozen=True, slots=True)
class Annotations:
    """Checked annotations.

    Attributes:
        images: rows with `id` and `file_name`, in the order of the file.
        categories: rows with `id` and `name`, in the order of the file.
        by_image: image id -> its annotations, in the order of the file.
        bad: what was dropped.
    """

    images: tuple[Row, ...]
    categories: tuple[Row, ...]
    by_image: Mapping[Any, list[Row]]
    bad: BadRows

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(row["name"] for row in self.categories)

    def rows(self) -> list[Row]:
        """Return all annotations."""
        return [row for rows in self.by_image.values() for row in rows]

    def keys(self) -> tuple[str, ...]:
        """Name each image; the id makes the name unique."""
        return tuple(f"image {row['id']} {row['file_name']}" for row in self.images)

    def read_frame(self, image: Row, folder: Path) -> Frame:
        """Read the image of a row; raises as `task.read_frame` does."""
        return read_frame(folder, image["file_name"], size_of(image))

    def document(self, images: Sequence[Row]) -> dict[str, Any]:
        """Return the annotations of some images in COCO's format."""
        return {
            "images": list(images),
            "categories": list(self.categories),
            "annotations": [row for image in images for row in self.by_image.get(image["id"], ())],
        }


def size_of(image: Row) -> tuple[int, int] | None:
    """Return height and width that a row states."""
    if "height" not in image or "width" not in image:
        return None
    return image["height"], image["width"]


def read_annotations(source: Path | Mapping[str, Any], *, masks: bool = False) -> Annotations:
    """Read annotations in COCO's format.

    Args:
        source: a file, or its content.
        masks: whether every annotation must have a mask.

    Raises:
        InputError: if it is no such file, or nothing in it can be used.
    """
    if isinstance(source, Path):
        document = read_json(source, InputError, max_bytes=MAX_FILE_BYTES)
    else:
        check_document(source, "the annotations", InputError)
        document = dict(source)
    document, bad = check_object("COCO annotations", document, error=InputError), BadRows()
    images = _read_rows(document, "images", bad, ("id", "file_name"))
    categories = _read_rows(document, "categories", bad, ("id", "name"))
    if not images:
        raise InputError("the annotations list no image that can be used; expected COCO's format")
    sizes = {row["id"]: size_of(row) for row in images}
    class_ids = {row["id"] for row in categories}
    by_image: dict[Any, list[Row]] = defaultdict(list)
    for index, row in enumerate(_list(document, "annotations")):
        name = f"annotation {row.get('id', index) if isinstance(row, dict) else index}"
        try:
            kept = _check_annotation(row, sizes, class_ids, masks=masks)
            by_image[kept["image_id"]].append(kept)
        except InputError as error:
            bad.add(name, error)
    return Annotations(tuple(images), tuple(categories), by_image, bad)


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    return check_list(name, document.get(name, []), most=_MAX_ROWS, error=InputError)


def _read_rows(
    document: Mapping[str, Any], kind: str, bad: BadRows, needed: tuple[str, str]
) -> list[Row]:
    """Return images or categories with the fields that are needed and an id of their own."""
    rows: list[Row] = []
    seen = set[Any]()
    for index, row in enumerate(_list(document, kind)):
        name = f"{kind}[{index}]"
        try:
            row = _without_nulls(check_object(name, row, error=InputError))
            check_ids(row)
            if "id" not in row:
                raise InputError(f"it has no id, got {sorted(row)}")
            check_text(needed[1], row.get(needed[1]), error=InputError)
            for side in ("height", "width"):
                if side in row:
                    check_int(side, row[side], least=1, most=MAX_SIDE, error=InputError)
            if row["id"] in seen:
                raise InputError(f"the id {row['id']} is there twice")
        except InputError as error:
            bad.add(name, error)
            continue
        seen.add(row["id"])
        rows.append(row)
    return rows


def _check_annotation(row: Any, sizes: Mapping[Any, Any], class_ids: set, *, masks: bool) -> Row:
    row = _without_nulls(check_object("an annotation", row, error=InputError))
    check_row(row)
    if row.get("image_id") not in sizes:
        raise InputError(f"its image {row.get('image_id')} is not listed")
    if class_ids and row.get("category_id") not in class_ids:
        raise InputError(f"its category {row.get('category_id')} is not listed")
    box = row.get("bbox")
    if box and (box[2] <= 0 or box[3] <= 0):
        raise InputError(f"its box {box} has no area")
    if row.get("segmentation"):
        row["segmentation"] = _encode(row["segmentation"], sizes[row["image_id"]])
    elif masks:
        raise InputError("it has no mask")
    return row


def _encode(value: Any, size: tuple[int, int] | None) -> Row:
    if size is None and not isinstance(value, Mapping):
        raise InputError("it has an outline, but its image no height and width")
    runs = encode_segmentation(value, size, "it")
    if not measure_mask(runs):
        raise InputError("its mask has no pixel")
    return {"size": list(runs["size"]), "counts": _to_text(runs["counts"])}


def _to_text(counts: str | bytes) -> str:
    return counts.decode("ascii") if isinstance(counts, bytes) else counts


def _without_nulls(row: Mapping[str, Any]) -> Row:
    return {name: value for name, value in row.items() if value is not None}

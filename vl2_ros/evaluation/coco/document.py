"""Read and check COCO documents, truth and results, before the library uses them.

What it reads goes to compiled code, which trusts counts, sizes and numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vl2_ros.documents import (
    check_document,
    check_int,
    check_list,
    check_number,
    check_object,
    parse_json,
    read_json,
    read_text,
    shorten,
)
from vl2_ros.errors import InputError
from vl2_ros.evaluation.coco.answers import (
    is_answer,
    is_data_set,
    list_answer_rows,
    list_data_set_rows,
)
from vl2_ros.structures.run_lengths import decompress_counts

#: Most bytes of a file; the annotations of COCO's training images have half of it.
MAX_FILE_BYTES = 1 << 30
#: Most pixels of a side, and how far from the corner a number of a box or outline may lie.
MAX_SIDE = 1 << 16
_FAR = 1e5
#: Most pixels along one outline: the library draws it with a fifth of a pixel's step.
_MAX_OUTLINE = 4e5
_MAX_ENTRIES = 50_000_000

_int = partial(check_int, error=InputError)
_number = partial(check_number, error=InputError)
_list = partial(check_list, most=_MAX_ENTRIES, error=InputError)
_object = partial(check_object, error=InputError)


def read_truth(source: Mapping[str, Any] | Path) -> dict[str, Any]:
    """Return COCO annotations as a document of its own, checked.

    Raises:
        InputError: naming what is wrong in it.
    """
    if isinstance(source, Path):
        document = read_json(source, InputError, max_bytes=MAX_FILE_BYTES)
    else:
        check_document(source, "the annotations", InputError)
        document = copy.deepcopy(dict(source))
    document = _without_nulls(_object("COCO annotations", document))
    for name in ("images", "annotations"):
        if name not in document:
            raise InputError(f"COCO annotations have no {name}; got {shorten(list(document))}")
    for name in ("images", "annotations", "categories"):
        rows = _list(name, document.get(name, []))
        document[name] = [_without_nulls(_object(f"an entry of {name}", row)) for row in rows]
        for row in document[name]:
            check_ids(row)
    for image in document["images"]:
        for side in ("height", "width"):
            if side in image:
                _int(f"{side} of an image", image[side], most=MAX_SIDE)
    for row in document["annotations"]:
        check_row(row)
    return document


def read_results(
    source: Sequence[Mapping[str, Any]] | Path, truth: Mapping[str, Any], *, masks: bool = False
) -> list[dict[str, Any]]:
    """Return COCO results, or what answers have found, as rows of their own, checked.

    Args:
        source: rows of results, or answers as `vl2 ask --json` prints them; a file has a list of
            them, one JSON value a line, or the data set that `--format coco` writes.
        truth: checked annotations, which answers name images and categories of.
        masks: whether masks are compared.

    Raises:
        InputError: naming what is wrong in them.
    """
    values = _read_rows(source) if isinstance(source, Path) else copy.deepcopy(list(source))
    if len(values) == 1 and is_data_set(values[0]):
        values = list_data_set_rows(read_truth(values[0]), truth)
    elif any(is_answer(value) for value in values):
        values = list_answer_rows(values, truth, masks=masks)
    rows = [_without_nulls(_object("a result", value)) for value in values]
    for row in rows:
        check_row(row)
    return rows


def _read_rows(path: Path) -> list[Any]:
    text = read_text(path, InputError, max_bytes=MAX_FILE_BYTES)
    lines = text.splitlines() if text.startswith("{") else []
    # The first line of a document over several lines is none of its own.
    if len(lines) > 1 and lines[0].rstrip().endswith("}"):
        lines = [line for line in lines if line.strip()]
        return [parse_json(line, f"{path}, value {n}", InputError) for n, line in enumerate(lines)]
    value = parse_json(text, str(path), InputError)
    return (
        [value] if is_answer(value) or is_data_set(value) else _list(f"{path}: COCO results", value)
    )


def _without_nulls(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without fields that say nothing."""
    return {name: value for name, value in row.items() if value is not None}


def check_ids(row: Mapping[str, Any]) -> None:
    """Check the ids of an image, a category, an annotation or a result.

    Raises:
        InputError: naming the field, the expected and the actual value.
    """
    for name in ("id", "image_id", "category_id"):
        value = row.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InputError(f"{name} must be a number or a text, got {shorten(value)}")
        if isinstance(value, float):
            _number(name, value, least=-(2.0**53), most=2.0**53)
        if isinstance(value, int):
            _int(name, value, least=-(2**53), most=2**53)


def check_row(row: Mapping[str, Any]) -> None:
    """Check ids and numbers of one annotation or result.

    Raises:
        InputError: naming the field, the expected and the actual value.
    """
    check_ids(row)
    for name in ("area", "score"):
        if name in row:
            _number(name, row[name], most=1e15)
    for name in ("iscrowd", "ignore", "num_keypoints"):
        if name in row and not isinstance(row[name], bool):
            _number(name, row[name], least=0, most=1e6)
    if row.get("bbox", []) != []:
        if len(_list("bbox", row["bbox"])) != 4:
            raise InputError(f"bbox must be [x, y, width, height], got {shorten(row['bbox'])}")
        for number in row["bbox"]:
            _number("bbox", number, least=-_FAR, most=_FAR)
    if "keypoints" in row:
        numbers = _list("keypoints", row["keypoints"])
        if len(numbers) % 3:
            raise InputError(f"keypoints must be x, y and visibility each, got {len(numbers)}")
        for number in numbers:
            _number("keypoints", number, least=-_FAR, most=_FAR)
    if "segmentation" in row:
        _check_segmentation(row["segmentation"])


def _check_segmentation(value: Any) -> None:
    if isinstance(value, Mapping):
        _check_runs(value)
        return
    for outline in _list("segmentation", value):
        numbers = _list("an outline", outline)
        if len(numbers) < 6 or len(numbers) % 2:
            raise InputError(f"an outline must have 3 points or more, got {shorten(outline)}")
        for number in numbers:
            _number("an outline", number, least=-_FAR, most=_FAR)
        points = np.array(numbers, np.float64).reshape(-1, 2)
        length = np.abs(points - np.roll(points, 1, axis=0)).sum()
        if length > _MAX_OUTLINE:
            raise InputError(
                f"an outline must be at most {_MAX_OUTLINE:g} pixels long, got {length:g}"
            )


def _check_runs(value: Mapping[str, Any]) -> None:
    """Check run lengths, as numbers or compressed: they must fill their size exactly."""
    size = _list("size of run lengths", value.get("size"))
    if len(size) != 2:
        raise InputError(f"size of run lengths must be [height, width], got {shorten(size)}")
    height, width = (_int("size of run lengths", side, most=MAX_SIDE) for side in size)
    counts = value.get("counts")
    if isinstance(counts, str | bytes):
        runs = decompress_counts(counts if isinstance(counts, bytes) else counts.encode())
        total, is_fine = sum(runs.tolist()), bool((runs >= 0).all())
    else:
        total, is_fine = sum(_int("a run length", one) for one in _list("counts", counts)), True
    if not is_fine or total != height * width:
        raise InputError(
            f"run lengths must add up to {height} x {width} pixels, got {total}; they are damaged"
        )

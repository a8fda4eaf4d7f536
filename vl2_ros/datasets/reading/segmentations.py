"""Decode masks of COCO's format, and boxes: outlines, run lengths, compressed run lengths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.documents import shorten
from vl2_ros.errors import InputError
from vl2_ros.structures import MaskCrop, RunLengths
from vl2_ros.structures.run_lengths import decompress_counts

UNIT = "annotations"
#: Rows times edges of an outline that are compared together.
_BLOCK_CROSSINGS = 1 << 20
#: How far from the corner a number of an outline may lie.
_FAR = 1e5


def read_box(value: Any, frame_hw: Sequence[int] | None) -> tuple[float, float, float, float]:
    """Return the corners of a COCO box, x, y, width, height, clipped to its image.

    Args:
        value: of JSON.
        frame_hw: of the image; None does not clip.

    Raises:
        BadRecordError: if it is no box, has no area, or lies outside of the image.
    """
    numbers = _read_numbers(value)
    if numbers is None or len(numbers) != 4:
        raise BadRecordError(UNIT, "box is not four numbers", f"got {shorten(value)}")
    x, y, width, height = numbers
    if width <= 0 or height <= 0:
        raise BadRecordError(UNIT, "box of no area", f"got {shorten(value)}")
    corners = (x, y, x + width, y + height)
    if frame_hw is None:
        return corners
    bottom, right = frame_hw
    x1, y1 = min(max(x, 0.0), float(right)), min(max(y, 0.0), float(bottom))
    x2, y2 = min(corners[2], float(right)), min(corners[3], float(bottom))
    if x2 <= x1 or y2 <= y1:
        raise BadRecordError(
            UNIT, "box outside of its image", f"got {shorten(value)} in {right}x{bottom}"
        )
    return x1, y1, x2, y2


def check_segmentation(value: Any, frame_hw: Sequence[int] | None) -> None:
    """Check a mask without decoding its pixels.

    Args:
        value: of JSON: outlines, or an object with `size` and `counts`.
        frame_hw: of the image; None does not compare sizes.

    Raises:
        BadRecordError: saying what is wrong.
    """
    if isinstance(value, Mapping):
        _read_runs(value, frame_hw)
    else:
        _read_outlines(value)


def measure_segmentation(value: Any) -> tuple[float, float, float, float]:
    """Return the corners of the box around a mask.

    Raises:
        BadRecordError: if it is damaged or empty.
    """
    if isinstance(value, Mapping):
        crop = MaskCrop.cut(_read_runs(value, None).decode())
        height, width = crop.pixels.shape
        corners = (crop.left, crop.top, crop.left + width, crop.top + height)
    else:
        points = np.concatenate(_read_outlines(value)).reshape(-1, 2)
        corners = (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
    if corners[2] <= corners[0] or corners[3] <= corners[1]:
        raise BadRecordError(UNIT, "mask of no area")
    return (float(corners[0]), float(corners[1]), float(corners[2]), float(corners[3]))


def decode_segmentation(value: Any, frame_hw: Sequence[int]) -> np.ndarray:
    """Return a mask on its image, (H, W) bool.

    Raises:
        BadRecordError: if it is damaged, of another size than the image, or has no pixel.
    """
    if isinstance(value, Mapping):
        mask = _read_runs(value, frame_hw).decode()
    else:
        mask = np.zeros(tuple(frame_hw), np.bool_)
        for outline in _read_outlines(value):
            _fill_outline(mask, np.array(outline, np.float64).reshape(-1, 2))
    if not mask.any():
        raise BadRecordError(UNIT, "mask without a pixel in its image")
    return mask


def _fill_outline(mask: np.ndarray, points: np.ndarray) -> None:
    """Set the pixels whose middle lies in an outline; of one thinner than that, its corners.

    Args:
        mask: (H, W) bool, changed.
        points: (P, 2) corners; pixel i covers [i, i + 1).
    """
    height, width = mask.shape
    (x1, y1), (x2, y2) = points.T, np.roll(points, -1, axis=0).T
    first, last = (np.clip(np.ceil(y - 0.5), 0, height) for y in (y1.min(), y1.max()))
    left, right = (int(np.clip(np.ceil(x - 0.5), 0, width)) for x in (x1.min(), x1.max()))
    found = False
    step = max(1, _BLOCK_CROSSINGS // len(points))
    for top in range(int(first), int(last), step):
        rows = slice(top, min(top + step, int(last)))
        middles = np.arange(rows.start, rows.stop)[:, None] + 0.5
        row, edge = np.nonzero((y1 <= middles) != (y2 <= middles))
        slope = (x2 - x1)[edge] / (y2 - y1)[edge]
        at = x1[edge] + (middles[row, 0] - y1[edge]) * slope
        # A pixel with an odd number of edges on its left is inside.
        is_odd = np.zeros((rows.stop - rows.start, right - left + 1), np.bool_)
        columns = np.clip(np.ceil(at - 0.5), left, right).astype(np.int64) - left
        np.logical_xor.at(is_odd, (row, columns), True)
        inside = np.logical_xor.accumulate(is_odd, axis=1)[:, : right - left]
        mask[rows, left:right] |= inside
        found = found or bool(inside.any())
    corners = np.floor(points).astype(np.int64)
    is_there = ((corners >= 0) & (corners < (width, height))).all(axis=1)
    if not found:
        mask[corners[is_there, 1], corners[is_there, 0]] = True


def _read_outlines(value: Any) -> list[list[float]]:
    if not isinstance(value, list) or not value:
        raise BadRecordError(UNIT, "mask of an unknown form", f"got {shorten(value)}")
    for outline in value:
        numbers = _read_numbers(outline)
        if numbers is None or len(numbers) % 2 or len(numbers) < 6:
            raise BadRecordError(
                UNIT, "outline is not three or more pairs of numbers", f"got {shorten(outline)}"
            )
        if max(map(abs, numbers)) > _FAR:
            raise BadRecordError(
                UNIT, "outline far outside of its image", f"got {shorten(outline)}"
            )
    return value


def _read_runs(value: Mapping[str, Any], frame_hw: Sequence[int] | None) -> RunLengths:
    size, counts = value.get("size"), value.get("counts")
    if not isinstance(size, list) or [type(side) for side in size] != [int, int] or min(size) < 1:
        raise BadRecordError(UNIT, "run lengths without a size", f"got {shorten(size)}")
    mask_hw = (size[0], size[1])
    if frame_hw is not None and mask_hw != tuple(frame_hw):
        raise BadRecordError(
            UNIT,
            "run lengths of another size than their image",
            f"{size[1]}x{size[0]} in {frame_hw[1]}x{frame_hw[0]}",
        )
    try:
        if isinstance(counts, str):
            runs = decompress_counts(counts.encode())
        elif isinstance(counts, list) and all(type(one) is int for one in counts):
            runs = np.array(counts, np.int64)
        else:
            raise InputError(f"expected a list of ints or a text, got {shorten(counts)}")
        if len(runs) and (runs.min() < 0 or runs.max() > np.iinfo(np.uint32).max):
            raise InputError("a run length is out of range")
        return RunLengths(mask_hw, runs.astype(np.uint32))
    # An InputError among them; JSON can have half a character, which cannot be encoded.
    except (ValueError, OverflowError) as error:
        raise BadRecordError(UNIT, "run lengths damaged", str(error)) from error


def _read_numbers(value: Any) -> list[float] | None:
    # Half of the time of reading an index would go into a Python loop here.
    if not isinstance(value, list) or not set(map(type, value)) <= {int, float}:
        return None
    try:
        return value if all(map(math.isfinite, value)) else None
    except OverflowError:
        return None

"""Compute boxes, areas and compressed run lengths of COCO rows, from any shape they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vl2_ros.errors import InputError

#: Height and width in pixels.
Size = tuple[int, int]


def encode_segmentation(value: Any, size: Size | None, what: str) -> dict[str, Any]:
    """Return compressed run lengths of outlines or of run lengths of either form.

    Args:
        value: a checked segmentation, not empty.
        size: of the image; None where the document does not say it.
        what: the row, for the message.

    Raises:
        InputError: if the run lengths are of another size than the image.
    """
    from faster_coco_eval import mask as mask_codec

    if not isinstance(value, Mapping):
        height, width = size or _measure_outlines(value)
        return dict(mask_codec.merge(mask_codec.frPyObjects(value, height, width)))
    found = (value["size"][0], value["size"][1])
    if size is not None and found != size:
        raise InputError(f"{what} has a mask of {found} for an image of {size} (height, width)")
    if isinstance(value["counts"], str | bytes):
        return dict(value)
    return dict(mask_codec.frPyObjects(value, *found))


def measure_mask(runs: Mapping[str, Any]) -> float:
    """Return the pixels of compressed run lengths."""
    from faster_coco_eval import mask as mask_codec

    return float(mask_codec.area(runs))


def decode_mask(runs: Mapping[str, Any]) -> np.ndarray:
    """Return the mask of compressed run lengths, (H, W) bool."""
    from faster_coco_eval import mask as mask_codec

    return np.asarray(mask_codec.decode(dict(runs)), np.bool_)


def box_of_mask(runs: Mapping[str, Any]) -> list[float]:
    """Return x, y, width and height of compressed run lengths."""
    from faster_coco_eval import mask as mask_codec

    return [float(value) for value in np.ravel(mask_codec.toBbox(runs))]


def box_of_keypoints(keypoints: Sequence[float]) -> list[float]:
    """Return x, y, width and height around the labelled keypoints; zeros if there are none."""
    points = np.array(keypoints, np.float64).reshape(-1, 3)
    points = points[points[:, 2] > 0, :2]
    if not len(points):
        return [0.0, 0.0, 0.0, 0.0]
    return [*points.min(axis=0).tolist(), *np.ptp(points, axis=0).tolist()]


def outline_of_box(box: Sequence[float]) -> list[list[float]]:
    """Return a box as one outline."""
    x, y, width, height = box
    return [[x, y, x, y + height, x + width, y + height, x + width, y]]


def _measure_outlines(outlines: Sequence[Sequence[float]]) -> Size:
    """Return a size that outlines fit into."""
    points = np.concatenate([np.array(one, np.float64).reshape(-1, 2) for one in outlines])
    width, height = np.ceil(points.max(axis=0)).astype(int) + 1
    return max(1, int(height)), max(1, int(width))

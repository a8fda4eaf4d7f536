"""Which found box continues which track: the assignment of the largest agreement."""

from __future__ import annotations

import numpy as np

from vl2_ros.geometry import box_iou, cxcywh_to_xyxy
from vl2_ros.tracking.motion import Motion

#: Boxes that overlap less are not taken for one object for their overlap.
_LEAST_IOU = 0.05
#: Largest distance of centres, in standard deviations of where the track is expected.
_MOST_DEVIATIONS = 3.0
#: Largest distance of centres, in sizes of the box.
_MOST_SIZES = 1.5
#: Largest ratio of the sizes of one object in two frames.
_MOST_GROWTH = 1.6


def associate(
    expected: Motion, found_cxcywh: np.ndarray, is_allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find which found box continues which track, each at most once.

    First those that overlap, then, among the rest, those that are near and of similar size: a small
    object leaves its box from one frame to the next.

    Args:
        expected: M tracks where they are expected.
        found_cxcywh: (N, 4) centres and sizes in pixels.
        is_allowed: (M, N) bool, False where a pair is out of the question.

    Returns:
        (K,) indices of tracks and (K,) indices of found boxes.
    """
    overlaps = box_iou(cxcywh_to_xyxy(expected.boxes_cxcywh), cxcywh_to_xyxy(found_cxcywh))
    rows, columns = _assign(np.where(is_allowed & (overlaps >= _LEAST_IOU), overlaps, 0.0))
    is_free = is_allowed.copy()
    is_free[rows], is_free[:, columns] = False, False
    if not is_free.any():
        return rows, columns
    near_rows, near_columns = _assign(np.where(is_free, _nearness(expected, found_cxcywh), 0.0))
    return np.concatenate([rows, near_rows]), np.concatenate([columns, near_columns])


def _nearness(expected: Motion, found_cxcywh: np.ndarray) -> np.ndarray:
    """Return (M, N) in 0..1, 1 at the expected centre, 0 where a box is too far away."""
    boxes = expected.boxes_cxcywh
    sizes, found_sizes = boxes[:, 2:].mean(axis=1), found_cxcywh[:, 2:].mean(axis=1)
    reach = np.minimum(_MOST_DEVIATIONS * np.sqrt(expected.spreads[:, 0]), _MOST_SIZES) * sizes
    away = np.linalg.norm(boxes[:, None, :2] - found_cxcywh[None, :, :2], axis=2)
    growth = np.abs(np.log(found_sizes[None] / sizes[:, None]))
    near = np.clip(1 - away / reach[:, None], 0.0, None)
    return np.where(growth <= np.log(_MOST_GROWTH), near, 0.0)


def _assign(agreement: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of the largest sum; pairs that agree in nothing are dropped."""
    # Half a second and 30 MB that an ask does without.
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(agreement, maximize=True)
    is_pair = agreement[rows, columns] > 0
    return rows[is_pair], columns[is_pair]

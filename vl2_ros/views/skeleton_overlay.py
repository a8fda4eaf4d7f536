"""Draw the keypoints of one instance: lines along its skeleton, a dot on every keypoint."""

from __future__ import annotations

import cv2
import numpy as np

#: Fraction bits of OpenCV's drawing coordinates.
_SHIFT = 4


def draw_skeleton(
    rgb: np.ndarray,
    points_xy: np.ndarray,
    edges: tuple[tuple[int, int], ...],
    color: tuple[int, int, int],
    unit: float,
    *,
    extra: float = 0.0,
) -> None:
    """Draw a skeleton; points that are not finite are skipped.

    Args:
        rgb: (H, W, 3) uint8, drawn on.
        points_xy: (K, 2) pixels of this image.
        edges: pairs of indices to be joined.
        color: RGB of the lines; dots are lighter.
        unit: width of a thin line in pixels.
        extra: pixels by which lines and dots are wider, for a shadow.
    """
    is_known = np.isfinite(points_xy).all(axis=1)
    # An image's pixel i covers [i, i + 1), OpenCV's coordinate i is the middle of it.
    limit = 4.0 * max(rgb.shape[:2])
    places = np.clip(np.nan_to_num(points_xy) - 0.5, -limit, limit)
    places = np.round(places * 2**_SHIFT).astype(np.int64)
    width = max(1, round(2.2 * unit + extra))
    for one, other in edges:
        if is_known[one] and is_known[other]:
            ends = (_pair(places[one]), _pair(places[other]))
            cv2.line(rgb, *ends, color, width, cv2.LINE_AA, shift=_SHIFT)
    dot = tuple(value + (255 - value) * 2 // 3 for value in color)
    for place, known in zip(places, is_known, strict=True):
        if known:
            for radius, shade in ((3.4 * unit + extra, color), (2.0 * unit + extra, dot)):
                size = max(1, round(radius * 2**_SHIFT))
                cv2.circle(rgb, _pair(place), size, shade, -1, cv2.LINE_AA, shift=_SHIFT)


def _pair(place: np.ndarray) -> tuple[int, int]:
    return int(place[0]), int(place[1])

"""Outlines of masks, for formats that have polygons."""

from __future__ import annotations

import cv2
import numpy as np

from vl2_ros.structures import MaskCrop

#: Most distance between an outline and its mask, in pixels.
_TOLERANCE = 1.0


def trace_outline(crop: MaskCrop) -> np.ndarray:
    """Return the outer outline of the largest part of a mask; holes and other parts are lost.

    Args:
        crop: the mask.

    Returns:
        (P, 2) float64 x, y in pixels; fewer than three points where the mask has no area.
    """
    if not crop.pixels.size:
        return np.zeros((0, 2))
    contours, _ = cv2.findContours(
        crop.pixels.astype(np.uint8),
        cv2.RETR_EXTERNAL,
        cv2.CHAIN_APPROX_SIMPLE,
        offset=(crop.left, crop.top),
    )
    largest = max(contours, key=cv2.contourArea)
    outline = cv2.approxPolyDP(largest, _TOLERANCE, True)
    # findContours goes through the centres of pixels.
    return np.asarray(outline, np.float64).reshape(-1, 2) + 0.5

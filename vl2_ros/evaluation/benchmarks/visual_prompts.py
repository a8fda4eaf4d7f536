"""Make the visual prompts of interactive segmentation from the mask of an object.

The same mask gives the same prompt: no chance is involved.
"""

from __future__ import annotations

import cv2
import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.structures import PromptKind, RunLengths, VisualPrompt

#: Points of a scribble, at most.
_STROKE_POINTS = 9


def make_prompt(kind: PromptKind, mask: np.ndarray) -> VisualPrompt:
    """Make a prompt that points at an object.

    A point is the pixel that is farthest from the border of the mask; a scribble goes along its
    longer side, through the middle of its longest run at each step.

    Args:
        kind: POINT, BOX, SCRIBBLE or MASK.
        mask: (H, W) bool of the object, not empty.

    Raises:
        InputError: if the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise InputError("the mask is empty; expected at least one pixel")
    if kind is PromptKind.MASK:
        return VisualPrompt(kind, np.empty((0, 2)), RunLengths.encode(mask))
    if kind is PromptKind.BOX:
        corners = [[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]]
        return VisualPrompt(kind, np.array(corners, np.float64))
    if kind is PromptKind.POINT:
        return VisualPrompt(kind, find_centre(mask)[None])
    is_wide = columns[-1] - columns[0] >= rows[-1] - rows[0]
    points = _draw_stroke(mask.T if is_wide else mask, columns if is_wide else rows)
    return VisualPrompt(kind, points[:, ::-1] if is_wide else points)


def find_centre(mask: np.ndarray) -> np.ndarray:
    """Return (2,) x and y of the middle of the pixel farthest from the border; the first of them.

    Args:
        mask: (H, W) bool, not empty.
    """
    # The border of the image is one of the mask.
    padded = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(int(np.argmax(depth)), mask.shape)
    return np.array([column + 0.5, row + 0.5])


def _draw_stroke(mask: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return (P, 2) x and y down the rows that the mask covers; two points or more."""
    count = max(2, min(_STROKE_POINTS, len(rows)))
    chosen = rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]
    points = []
    for row in chosen:
        edges = np.flatnonzero(np.diff(np.pad(mask[row].astype(np.int8), 1)))
        starts, ends = edges[::2], edges[1::2]
        longest = int(np.argmax(ends - starts))
        points.append([(starts[longest] + ends[longest]) / 2, row + 0.5])
    return np.array(points, np.float64)

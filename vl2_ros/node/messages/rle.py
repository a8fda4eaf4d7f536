"""Encode and decode masks as uncompressed COCO run lengths, as in InstanceMask.counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from vl2_ros.errors import ShapeError
from vl2_ros.structures import RunLengths

#: Pixels that are processed together; bounds the memory that encoding needs beside its result.
_BLOCK_PIXELS = 1 << 16


def encode_mask(mask: np.ndarray) -> np.ndarray:
    """Encode a mask; holes and parts survive.

    Args:
        mask: (H, W) bool.

    Returns:
        (R,) uint32 lengths of alternating runs down the columns, the first one outside.

    Raises:
        ShapeError: if the mask is not (H, W) bool.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ShapeError(f"mask must be (H, W) bool, got {mask.shape} {mask.dtype}")
    height = mask.shape[0]
    # A mask covers few columns; only these are turned.
    columns = np.flatnonzero(mask.any(axis=0))
    first, last = (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, 0)
    step = max(1, _BLOCK_PIXELS // max(1, height))
    runs, inside, border = [], False, 0
    for left in range(first, last, step):
        block = mask[:, left : min(left + step, last)].ravel(order="F")
        borders = left * height + np.flatnonzero(block[1:] != block[:-1]) + 1
        if block[0] != inside:
            borders = np.concatenate([[left * height], borders])
        if len(borders):
            runs.append(np.diff(borders, prepend=border).astype(np.uint32))
            inside, border = bool(block[-1]), int(borders[-1])
    # The run that is open at the end of the last column is closed by what lies beyond it.
    if inside and last < mask.shape[1]:
        runs.append(np.array([last * height - border], np.uint32))
        border = last * height
    runs.append(np.array([mask.size - border], np.uint32))
    return np.concatenate(runs)


def decode_mask(height: int, width: int, counts: np.ndarray) -> np.ndarray:
    """Decode a mask.

    Args:
        height: rows.
        width: columns.
        counts: (R,) whole numbers as `encode_mask` returns them; a run may be 0.

    Returns:
        (H, W) bool.

    Raises:
        InputError: if the runs do not add up to the size, or the size is over the pixel limit.
    """
    return RunLengths((height, width), counts).decode()


def read_mask(message: Any) -> RunLengths:
    """Read a vl2_ros/InstanceMask; no pixel of it is made.

    Raises:
        InputError: if the runs do not add up to the size, or the size is over the pixel limit.
    """
    counts = np.asarray(message.counts, np.uint32)
    return RunLengths((int(message.height), int(message.width)), counts)

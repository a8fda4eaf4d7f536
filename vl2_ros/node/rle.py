"""Masks to uncompressed COCO run lengths and back, as InstanceMask.counts holds them."""

from __future__ import annotations

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.processing.result_json import encode_rle
from vl2_ros.structures import MAX_FRAME_PIXELS


def encode_mask(mask: np.ndarray) -> np.ndarray:
    """Encode a mask; holes and parts survive.

    Args:
        mask: (H, W) bool.

    Returns:
        (R,) uint32 lengths of alternating runs down the columns, the first one outside.

    Raises:
        ShapeError: if the mask is not (H, W) bool.
    """
    columns = np.flatnonzero(mask.any(axis=0)) if mask.ndim == 2 else np.zeros(0, np.int64)
    if not len(columns):
        return np.array(encode_rle(mask)["counts"], dtype=np.uint32)
    # A mask covers few columns; only these are turned, and the rest is added to the outer runs.
    first, last = int(columns[0]), int(columns[-1]) + 1
    counts = encode_rle(mask[:, first:last])["counts"]
    counts[0] += first * mask.shape[0]
    rest = (mask.shape[1] - last) * mask.shape[0]
    if len(counts) % 2:
        counts[-1] += rest
    elif rest:
        counts.append(rest)
    return np.array(counts, dtype=np.uint32)


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
    pixels = height * width
    if pixels > MAX_FRAME_PIXELS:
        raise InputError(
            f"the mask of {width}x{height} pixels is over the limit of {MAX_FRAME_PIXELS}"
        )
    total = int(np.sum(counts, dtype=np.uint64))
    if total != pixels:
        raise InputError(
            f"the mask's run lengths add up to {total}, expected {pixels} for {width}x{height} "
            "pixels"
        )
    runs = np.zeros(len(counts), np.bool_)
    runs[1::2] = True
    return np.repeat(runs, counts).reshape((height, width), order="F")

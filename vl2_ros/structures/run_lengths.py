"""A mask as run lengths: its declared size is known before any pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.structures.frame import MAX_FRAME_PIXELS

#: Pixels that are encoded together; bounds the memory that encoding needs beside its result.
_BLOCK_PIXELS = 1 << 16
#: Runs that are written at once; bounds the memory that decoding needs beside its result.
_BLOCK_RUNS = 65_536
#: Characters of a number in compressed run lengths, 5 bits each.
_MAX_DIGITS = 7
#: Of compressed run lengths, in a message.
_SHOWN_BYTES = 40


@dataclass(frozen=True, slots=True, eq=False)
class RunLengths:
    """A mask as uncompressed COCO run lengths; holes and parts survive.

    Attributes:
        mask_hw: height and width in pixels.
        counts: (R,) uint32 lengths of alternating runs down the columns, left to right, the first
            one outside; a run may be 0.
    """

    mask_hw: tuple[int, int]
    counts: np.ndarray

    def __post_init__(self) -> None:
        """Check the runs against the size.

        Raises:
            InputError: if the size is over the pixel limit, or the runs do not add up to it or are
                more than it has pixels.
        """
        height, width = self.mask_hw
        pixels = height * width
        if pixels > MAX_FRAME_PIXELS:
            raise InputError(
                f"the mask of {width}x{height} pixels is over the limit of {MAX_FRAME_PIXELS}"
            )
        if len(self.counts) > pixels + 1:
            raise InputError(
                f"the mask has {len(self.counts)} run lengths, expected at most {pixels + 1} for "
                f"{width}x{height} pixels"
            )
        total = int(np.sum(self.counts, dtype=np.uint64))
        if total != pixels:
            raise InputError(
                f"the mask's run lengths add up to {total}, expected {pixels} for {width}x{height} "
                "pixels"
            )

    @classmethod
    def encode(cls, mask: np.ndarray) -> RunLengths:
        """Encode a mask.

        Args:
            mask: (H, W) bool.

        Raises:
            ShapeError: if the mask is not (H, W) bool.
        """
        if mask.ndim != 2 or mask.dtype != np.bool_:
            raise ShapeError(f"mask must be (H, W) bool, got {mask.shape} {mask.dtype}")
        height, width = mask.shape
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
        if inside and last < width:
            runs.append(np.array([last * height - border], np.uint32))
            border = last * height
        runs.append(np.array([mask.size - border], np.uint32))
        return cls((height, width), np.concatenate(runs))

    @property
    def is_empty(self) -> bool:
        """Return whether no pixel is inside."""
        return not self.counts[1::2].any()

    def decode(self) -> np.ndarray:
        """Return the mask, (H, W) bool, C-contiguous."""
        height, width = self.mask_hw
        columns = np.empty(height * width, np.bool_)
        start = 0
        for first in range(0, len(self.counts), _BLOCK_RUNS):
            counts = self.counts[first : first + _BLOCK_RUNS]
            # A block begins with an even run, which is outside.
            runs = np.zeros(len(counts), np.bool_)
            runs[1::2] = True
            end = start + int(np.sum(counts, dtype=np.uint64))
            columns[start:end] = np.repeat(runs, counts)
            start = end
        return np.ascontiguousarray(columns.reshape(width, height).T)


def decompress_counts(counts: bytes) -> np.ndarray:
    """Return the run lengths of their compressed form, the COCO API's.

    Returns:
        (N,) int64; negative where the text is damaged.

    Raises:
        InputError: if these are no compressed run lengths.
    """
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    ends = (codes & 32) == 0
    if not len(codes):
        return codes
    if codes.min() < 0 or codes.max() > 63 or not ends[-1]:
        raise InputError(f"expected compressed run lengths, got {counts[:_SHOWN_BYTES]!r}")
    starts = np.concatenate([[0], np.flatnonzero(ends)[:-1] + 1])
    digits = np.diff(np.append(starts, len(codes)))
    if digits.max() > _MAX_DIGITS:
        raise InputError(f"a run length has {digits.max()} digits, expected {_MAX_DIGITS} at most")
    digit_indices = np.arange(len(codes)) - np.repeat(starts, digits)
    runs = np.add.reduceat((codes & 31) << (5 * digit_indices), starts)
    runs -= np.where(codes[ends] & 16, np.int64(1) << (5 * digits), 0)
    # From the fourth on, each is stored as the difference to the one two before.
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs

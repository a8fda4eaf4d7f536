"""A mask as run lengths: its declared size is known before any pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.structures.frame import MAX_FRAME_PIXELS

#: Runs that are written at once; bounds the memory that decoding needs beside its result.
_BLOCK_RUNS = 65_536


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

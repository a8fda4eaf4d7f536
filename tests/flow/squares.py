"""Frames that differ everywhere."""

from __future__ import annotations

import numpy as np

from vl2_ros.structures import Frame


def make_frame(seed: int = 0, stamp_ns: int = 0) -> Frame:
    """A wall of coloured squares, another one for each seed."""
    squares = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Frame(squares.repeat(40, axis=0).repeat(40, axis=1), stamp_ns)

"""One camera image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vl2_ros.errors import InputError, ShapeError

MAX_FRAME_PIXELS = 100_000_000


class _WeaklyReferable:
    """Gives classes with slots one for weak references."""  # dataclass can from Python 3.11 on

    __slots__ = ("__weakref__",)


@dataclass(frozen=True, slots=True, eq=False)
class Frame(_WeaklyReferable):
    """One camera image; it must not change, since what was computed about it is kept.

    Attributes:
        rgb: (H, W, 3) uint8, row 0 at the top.
        stamp_ns: capture time in nanoseconds since the epoch; 0 when unknown.
        frame_id: name of the optical frame (REP-103: x right, y down, z forward).
    """

    rgb: np.ndarray
    stamp_ns: int = 0
    frame_id: str = ""

    def __post_init__(self) -> None:
        """Check shape, dtype and size."""
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.dtype != np.uint8:
            raise ShapeError(
                f"frame rgb must be (H, W, 3) uint8, got {self.rgb.shape} {self.rgb.dtype}"
            )
        height, width = self.rgb.shape[:2]
        if height == 0 or width == 0:
            raise ShapeError(f"frame must have at least one pixel, got {width}x{height}")
        if height * width > MAX_FRAME_PIXELS:
            raise InputError(
                f"frame of {width}x{height} pixels is over the limit of {MAX_FRAME_PIXELS}; "
                "resize it first"
            )

    def __repr__(self) -> str:
        """Show size, stamp and frame_id, no pixels."""
        height, width = self.frame_hw
        return f"Frame({width}x{height}, stamp_ns={self.stamp_ns}, frame_id={self.frame_id!r})"

    @property
    def frame_hw(self) -> tuple[int, int]:
        """Height and width in camera pixels."""
        return self.rgb.shape[0], self.rgb.shape[1]

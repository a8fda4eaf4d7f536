"""Small camera recordings for tests of what reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vl2_ros.structures import Frame
from vl2_ros.transports.bag import PinholeCamera, write_camera_bag

FRAME_HW = (16, 24)
CAMERA = PinholeCamera(FRAME_HW, fx=20.0, fy=20.0, cx=12.0, cy=8.0)
#: Begins at an odd time, so that nothing is right by being zero.
FIRST_STAMP_NS = 5_000_000_007
PERIOD_NS = 100_000_000


def make_frames(count: int) -> list[Frame]:
    """Make pictures that can be told apart, ten a second."""
    return [
        Frame(
            np.full((*FRAME_HW, 3), 20 * index, np.uint8),
            FIRST_STAMP_NS + index * PERIOD_NS,
            "camera_link",
        )
        for index in range(count)
    ]


def record_camera(path: Path, count: int = 4, *, compressed: bool = False) -> list[Frame]:
    """Write `count` pictures on /camera/image_raw, or its /compressed; return them."""
    frames = make_frames(count)
    write_camera_bag(path, [(frame, CAMERA) for frame in frames], compressed=compressed)
    return frames

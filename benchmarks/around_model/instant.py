"""A perceiver that answers at once, so that what is around it can be timed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from vl2_ros.structures import (
    Branch,
    Command,
    Detections,
    Event,
    Frame,
    MaskCrop,
    Masks,
    ModelInfo,
    Result,
    ResultEvent,
    Route,
)

FRAME_HW = (720, 1280)


class InstantPerceiver:
    """Finds the same five things in every image; remembers how long that took."""

    def __init__(self, *, with_masks: bool) -> None:
        self.worker_began_s: dict[int, float] = {}
        self.info = ModelInfo("instant", "0", "numpy", "cpu", (Route.DETECT,))
        self.own_s: dict[int, float] = {}
        corners = np.arange(5, dtype=np.float32)[:, None] * 100
        self._found = Detections(
            boxes_xyxy=np.hstack([corners, corners, corners + 90, corners + 90]),
            scores=np.linspace(0.9, 0.5, 5, dtype=np.float32),
            class_ids=np.zeros(5, np.int64),
            labels=("mug",) * 5,
            masks=Masks(FRAME_HW, tuple(map(make_disc, range(5)))) if with_masks else None,
        )
        self._route = Route.SEGMENT if with_masks else Route.DETECT

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        """Yield the result, nothing before it."""
        began_s = time.perf_counter()
        branch = Branch(self._route, ("mug",), self._found)
        text = "I found: mug."
        result = Result(command.id, frame.stamp_ns, frame.frame_id, text, (branch,))
        self.own_s[frame.stamp_ns] = time.perf_counter() - began_s
        self.worker_began_s[frame.stamp_ns] = time.thread_time()
        yield ResultEvent(result)


def make_disc(index: int) -> MaskCrop:
    """Make a mask of 250 pixels across."""
    rows, columns = np.indices((250, 250)) - 124.5
    return MaskCrop.cut(np.hypot(rows, columns) < 125, 80 * index, 200 * index)

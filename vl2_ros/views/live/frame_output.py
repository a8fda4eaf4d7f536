"""Where frames with their results go: the page, Foxglove, a recording of Rerun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vl2_ros.structures import Frame, Result
from vl2_ros.views.live.audience import Audience
from vl2_ros.views.live.frames import draw_results, encode_jpeg, pack_frame


class FrameOutput(Protocol):
    """Shows frames; called from one thread."""

    @property
    def wants_frame(self) -> bool:
        """Return whether anyone would see a frame now; nothing is decoded or drawn otherwise."""

    def show(self, frame: Frame, results: Sequence[Result], age_s: float | None) -> None:
        """Show a frame.

        Args:
            frame: the newest image of the camera.
            results: the newest results, of this frame or of one shortly before.
            age_s: by how much the frame is newer than the newest of them; None without any.
        """


class PageOutput:
    """Draws the results into each frame, once for all pages.

    Args:
        audience: gets the frames.
    """

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self._number = 0

    @property
    def wants_frame(self) -> bool:
        """Return whether a page has shown what it got."""
        return self._audience.wants_frame

    def show(self, frame: Frame, results: Sequence[Result], age_s: float | None) -> None:
        """Draw, pack and send a frame."""
        self._number += 1
        height, width = frame.frame_hw
        header = {"number": self._number, "width": width, "height": height, "age_s": age_s}
        self._audience.show_frame(pack_frame(encode_jpeg(draw_results(frame, results)), header))

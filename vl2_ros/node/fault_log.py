"""Log lasting faults: one line when a fault begins and one when it is over."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from vl2_ros.node.cameras.camera_health import CameraHealth
from vl2_ros.node.clock import NodeClock
from vl2_ros.node.quiet_log import RepeatedLog


class FaultLog:
    """Remembers what is faulty; for one thread only.

    Args:
        logger: where the lines go; those of a fault that comes and goes are counted.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._log = RepeatedLog(logger)
        self._faulty: dict[str, str] = {}

    def note_cameras(self, cameras: Iterable[CameraHealth]) -> None:
        """Note the state of the cameras, their calibration and their depth."""
        for health in cameras:
            name = f"camera {health.report.name}"
            kind = "silent" if health.silence else "loses images"
            self.note(name, health.silence or health.loss, "images come again", kind=kind)
            for source in health.sources:
                self.note(f"{name} {source.name}", source.fault, "it can be used again")

    def note_clock(self, clock: NodeClock) -> None:
        """Note whether simulated time runs; a pause is no reason to warn."""
        level = logging.WARNING if clock.is_unset else logging.INFO
        self.note("simulated time", clock.explain_standstill(), "it runs", level)

    def note(
        self,
        name: str,
        fault: str,
        over: str,
        level: int = logging.WARNING,
        kind: str = "faulty",
    ) -> None:
        """Note the state of one thing, and log it where it has changed.

        Args:
            name: of the thing, before the line.
            fault: what is wrong and what to do; empty while nothing is.
            over: the line once nothing is wrong any more.
            level: of the line that says what is wrong.
            kind: of the fault; another one is logged as well.
        """
        kind = kind if fault else ""
        if kind == self._faulty.get(name, ""):
            return
        self._faulty[name] = kind
        self._log.log(
            level if fault else logging.INFO, f"{name} {kind}", "%s: %s", name, fault or over
        )

    def flush(self) -> None:
        """Log the counts of lines that were not repeated; to be called by a timer."""
        self._log.flush()

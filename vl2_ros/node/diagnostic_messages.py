"""The state of the node to a diagnostic_msgs/DiagnosticArray, one status per camera and one more.

Levels: OK; WARN for a camera that never sent a picture and for answers that failed or were refused
since the last message; STALE for a camera that fell silent; ERROR when the worker does not run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any

from vl2_ros.node.camera_input import CameraHealth
from vl2_ros.node.reports import NodeReport
from vl2_ros.node.request import Status
from vl2_ros.node.transport import MessageTypes
from vl2_ros.structures import ModelInfo

#: Answers that somebody who runs the robot should hear of.
_TROUBLE = (Status.FAILED, Status.EXPIRED, Status.BUSY)


class Level(IntEnum):
    """DiagnosticStatus.level."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


class DiagnosticMessages:
    """Makes the messages; remembers the last counts, to tell what is new.

    Args:
        types: makes the transport's message classes.
        node_name: stands before the name of each status.
        tell_info: tells the model that answers; asked for each message, since large weights are
            hashed beside the first answers.
    """

    def __init__(
        self, types: MessageTypes, node_name: str, tell_info: Callable[[], ModelInfo]
    ) -> None:
        self._make = types.make
        self._node_name = node_name
        self._tell_info = tell_info
        self._counts: Mapping[Status, int] = {}

    def make_array(self, report: NodeReport, cameras: Sequence[CameraHealth], stamp_ns: int) -> Any:
        """Make the diagnostic_msgs/DiagnosticArray.

        Args:
            report: of the node.
            cameras: how each camera does.
            stamp_ns: time now, nanoseconds since the epoch.
        """
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        stamp = self._make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        message = self._make(
            "diagnostic_msgs/msg/DiagnosticArray",
            header=self._make("std_msgs/msg/Header", stamp=stamp),
            status=[self._make_worker(report), *(self._make_camera(one) for one in cameras)],
        )
        self._counts = dict(report.answer_counts)
        return message

    def _make_worker(self, report: NodeReport) -> Any:
        level, text = self._judge_worker(report)
        info = self._tell_info()
        values = {
            "model": f"{info.name} {info.identity}",
            "running": report.running_id,
            "queue_length": str(report.queue_length),
            "watches": ", ".join(watch.id for watch in report.watches),
            "last_error": report.last_error,
        }
        for status, count in report.answer_counts.items():
            values[f"answers_{status.name.lower()}"] = str(count)
        for stage, spent_ms in report.stage_mean_ms.items():
            values[f"{stage}_mean_ms"] = f"{spent_ms:.2f}"
            values[f"{stage}_max_ms"] = f"{report.stage_max_ms[stage]:.2f}"
        return self._make_status(level, "perception", text, values)

    def _judge_worker(self, report: NodeReport) -> tuple[Level, str]:
        if not report.is_worker_alive:
            return Level.ERROR, "the worker does not run; start the node again"
        new = {
            status: report.answer_counts[status] - self._counts.get(status, 0)
            for status in _TROUBLE
        }
        trouble = [f"{count} {status.name.lower()}" for status, count in new.items() if count]
        if trouble:
            return Level.WARN, f"answers since the last message: {', '.join(trouble)}"
        return Level.OK, "busy" if report.running_id else "waiting"

    def _make_camera(self, health: CameraHealth) -> Any:
        report = health.report
        level, text = Level.OK, f"{report.rate_hz:.1f} Hz"
        if health.silence:
            level, text = Level.STALE if report.received else Level.WARN, health.silence
        elif not report.received:
            text = "no picture yet"
        values = {
            "rate_hz": f"{report.rate_hz:.2f}",
            "received": str(report.received),
            "used": str(report.used),
            "dropped": str(report.dropped),
            "last_age_s": f"{report.last_age_s:.3f}",
            "publishers": str(health.publisher_count),
        }
        return self._make_status(level, f"camera {report.name}", text, values)

    def _make_status(self, level: Level, name: str, text: str, values: Mapping[str, str]) -> Any:
        return self._make(
            "diagnostic_msgs/msg/DiagnosticStatus",
            level=int(level),
            name=f"{self._node_name}: {name}",
            message=text,
            hardware_id=self._tell_info().engine,
            values=[
                self._make("diagnostic_msgs/msg/KeyValue", key=key, value=value)
                for key, value in values.items()
            ],
        )

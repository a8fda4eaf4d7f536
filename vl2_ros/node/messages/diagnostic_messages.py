"""Report the node's state as a DiagnosticArray: one status of its own, up to three per camera.

Those of a camera are its images, its camera_info and its depth. Levels: OK; WARN for what never
came or cannot be used, for images that are lost, for answers that failed, were refused or are about
images unlike those of training and commands that were lost since the last message, for a watch that
gets no turn, for a frame that cannot be moved into the target frame and for simulated time that has
not begun; STALE for what fell silent; ERROR when the worker does not run or hangs in a stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any

from vl2_ros.node.cameras.camera_health import CameraHealth
from vl2_ros.node.cameras.source import SourceHealth
from vl2_ros.node.reports import NodeReport
from vl2_ros.node.request import Status
from vl2_ros.node.transport import MessageTypes
from vl2_ros.structures import ModelInfo

#: Answers that are reported to the robot's operator.
_TROUBLE = (Status.FAILED, Status.EXPIRED, Status.BUSY)
#: Seconds without a turn after which a due watch is reported.
_LONG_WAIT_S = 3.0


class Level(IntEnum):
    """DiagnosticStatus.level."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


class DiagnosticMessages:
    """Makes the messages; remembers the last counts, to report the difference.

    Args:
        types: makes the transport's message classes.
        node_name: stands before the name of each status.
        find_info: returns the model's info; called for each message, since large weights are
            hashed beside the first answers.
    """

    def __init__(
        self, types: MessageTypes, node_name: str, find_info: Callable[[], ModelInfo]
    ) -> None:
        self._make = types.make
        self._node_name = node_name
        self._find_info = find_info
        self._counts: Mapping[Status, int] = {}
        self._unlike_count = 0
        self._lost_commands = 0

    def make_array(
        self,
        report: NodeReport,
        cameras: Sequence[CameraHealth],
        stamp_ns: int,
        *,
        lost_commands: int = 0,
        frames: Mapping[str, str] | None = None,
        clock_fault: str = "",
    ) -> Any:
        """Make the diagnostic_msgs/DiagnosticArray.

        Args:
            report: of the node.
            cameras: the state of each camera.
            stamp_ns: time now, nanoseconds since the epoch.
            lost_commands: commands that the middleware has lost since the start.
            frames: optical frame to why it cannot be moved into the target frame, empty where it
                can; a status of its own where there are any.
            clock_fault: why the node's clock has not begun to run; empty once it has.
        """
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        stamp = self._make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        message = self._make(
            "diagnostic_msgs/msg/DiagnosticArray",
            header=self._make("std_msgs/msg/Header", stamp=stamp),
            status=[
                self._make_worker(report, lost_commands, clock_fault),
                *(status for one in cameras for status in self._make_camera(one)),
                *([self._make_frames(frames)] if frames else []),
            ],
        )
        self._counts = dict(report.answer_counts)
        self._unlike_count = report.unlike_count
        self._lost_commands = lost_commands
        return message

    def _make_worker(self, report: NodeReport, lost_commands: int, clock_fault: str) -> Any:
        level, text = self._judge_worker(report, lost_commands, clock_fault)
        info = self._find_info()
        values = {
            "model": f"{info.name} {info.identity}",
            "running": report.running_id,
            "running_stage": report.running_stage,
            "queue_length": str(report.queue_length),
            "watches": ", ".join(watch.id for watch in report.watches),
            "lost_commands": str(lost_commands),
            "last_error": report.last_error,
        }
        for status, count in report.answer_counts.items():
            values[f"answers_{status.name.lower()}"] = str(count)
        values["answers_unlike_training"] = str(report.unlike_count)
        for watch in report.watches:
            values[f"watch_{watch.id}_waits_s"] = f"{watch.waits_s:.2f}"
        for stage, spent_ms in report.stage_mean_ms.items():
            values[f"{stage}_mean_ms"] = f"{spent_ms:.2f}"
            values[f"{stage}_max_ms"] = f"{report.stage_max_ms[stage]:.2f}"
        return self._make_status(level, "perception", text, values)

    def _judge_worker(
        self, report: NodeReport, lost_commands: int, clock_fault: str
    ) -> tuple[Level, str]:
        if not report.is_worker_alive:
            return Level.ERROR, "the worker does not run; start the node again"
        if report.is_stalled:
            return Level.ERROR, (
                f"command {report.running_id} has been in stage {report.running_stage} for "
                f"{report.idle_s:.1f} s without progress; restart the process if it stays so"
            )
        trouble = self._find_trouble(report, lost_commands)
        if clock_fault:
            trouble.append(f"simulated time: {clock_fault}")
        if trouble:
            return Level.WARN, "; ".join(trouble)
        return Level.OK, "busy" if report.running_id else "waiting"

    def _find_trouble(self, report: NodeReport, lost_commands: int) -> list[str]:
        new = {
            status: report.answer_counts[status] - self._counts.get(status, 0)
            for status in _TROUBLE
        }
        counts = [f"{count} {status.name.lower()}" for status, count in new.items() if count]
        trouble = [f"answers since the last message: {', '.join(counts)}"] if counts else []
        if report.unlike_count > self._unlike_count:
            unlike = report.unlike_count - self._unlike_count
            trouble.append(f"{unlike} answers about images unlike those of training")
        if lost_commands > self._lost_commands:
            trouble.append(f"{lost_commands - self._lost_commands} commands were lost on their way")
        return trouble + [
            f"watch {watch.id} had no turn for {watch.waits_s:.1f} s"
            for watch in report.watches
            if watch.waits_s > _LONG_WAIT_S
        ]

    def _make_camera(self, health: CameraHealth) -> Iterator[Any]:
        report = health.report
        level, text = Level.OK, f"{report.rate_hz:.1f} Hz"
        if health.silence:
            level, text = Level.STALE if report.received else Level.WARN, health.silence
        elif health.loss:
            level, text = Level.WARN, f"{text}; {health.loss}"
        elif not report.received:
            text = "no image yet"
        values = {
            "rate_hz": f"{report.rate_hz:.2f}",
            "received": str(report.received),
            "used": str(report.used),
            "dropped": str(report.dropped),
            "lost": str(health.lost),
            "last_age_s": f"{report.last_age_s:.3f}",
            "topic": health.topic,
            "reliability": "reliable" if health.reliable else "best_effort",
            "publishers": str(health.publisher_count),
        }
        name = f"camera {report.name}"
        yield self._make_status(level, name, text, values)
        for source in health.sources:
            yield self._make_source(f"{name} {source.name}", source)

    def _make_source(self, name: str, source: SourceHealth) -> Any:
        level, text = Level.OK, f"{source.rate_hz:.1f} Hz"
        if source.fault:
            is_stale = source.is_silent and source.received
            level, text = Level.STALE if is_stale else Level.WARN, source.fault
        elif not source.received:
            text = f"none came on {source.topic}"
        values = {
            "topic": source.topic,
            "reliability": "reliable" if source.reliable else "best_effort",
            "rate_hz": f"{source.rate_hz:.2f}",
            "received": str(source.received),
            "last_age_s": f"{source.last_age_s:.3f}",
            "publishers": str(source.publisher_count),
        }
        return self._make_status(level, name, text, values)

    def _make_frames(self, frames: Mapping[str, str]) -> Any:
        faults = [f"{frame}: {fault}" for frame, fault in frames.items() if fault]
        level = Level.WARN if faults else Level.OK
        text = "; ".join(faults) or "3-D results are in the target frame"
        values = {frame: fault or "found" for frame, fault in frames.items()}
        return self._make_status(level, "target_frame", text, values)

    def _make_status(self, level: Level, name: str, text: str, values: Mapping[str, str]) -> Any:
        return self._make(
            "diagnostic_msgs/msg/DiagnosticStatus",
            level=int(level),
            name=f"{self._node_name}: {name}",
            message=text,
            hardware_id=self._find_info().engine,
            values=[
                self._make("diagnostic_msgs/msg/KeyValue", key=key, value=value)
                for key, value in values.items()
            ],
        )

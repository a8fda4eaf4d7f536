"""The state of a hearing node, as it is reported on /diagnostics."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from vl2_ros.node.messages.diagnostic_messages import Level
from vl2_ros.node.parameters import HearingParameters
from vl2_ros.node.transport import MessageTypes
from vl2_ros.speech.listener import Utterance

DIAGNOSTICS_TYPE = "diagnostic_msgs/msg/DiagnosticArray"
#: Seconds for which a fault of the stream is reported.
_FAULT_S = 10.0


@dataclass(slots=True)
class HearingReport:
    """Counts of a hearing node since it was started; each field is written by one thread.

    Attributes:
        last_s: monotonic time of the last chunk, or of the start.
        hearer_s: monotonic time at which something subscribed to what is heard, or of the start.
        chunk_count: chunks of audio so far.
        lost_count: chunks that the transport knows to have lost.
        waiting_s: seconds of audio that wait to be heard.
        dropped_s: seconds of audio that were dropped, as they came faster than they were heard.
        level_db: level of the last chunk, in decibels of full scale.
        heard_count: utterances.
        accepted_count: those that were accepted.
        fault: the last one of the stream or the recogniser; empty before the first one.
        fault_s: monotonic time of it.
    """

    last_s: float = 0.0
    hearer_s: float = 0.0
    chunk_count: int = 0
    lost_count: int = 0
    waiting_s: float = 0.0
    dropped_s: float = 0.0
    level_db: float = -100.0
    heard_count: int = 0
    accepted_count: int = 0
    fault: str = ""
    fault_s: float = 0.0

    def count(self, utterance: Utterance) -> None:
        """Count what was heard."""
        self.heard_count += 1
        self.accepted_count += utterance.accepted

    def explain_silence(self, now_s: float, topic: str, parameters: HearingParameters) -> str:
        """Return that no audio comes and what to do; empty while it does.

        Args:
            now_s: monotonic time.
            topic: of the audio, absolute.
            parameters: of the hearing node.
        """
        silent_s = now_s - self.last_s
        if silent_s < parameters.audio_timeout_s:
            return ""
        return (
            f"no audio came on {topic} for {silent_s:.0f} s; check that the microphone publishes "
            "on this topic, or name another one (parameter audio_topic)"
        )


def make_status(
    types: MessageTypes, report: HearingReport, lack: str, node_name: str, now_ns: int
) -> Any:
    """Make a DiagnosticArray with one status.

    Args:
        types: makes the transport's message classes.
        report: of the hearing node.
        lack: that no audio comes, or that nothing does what is heard; empty while all is there.
        node_name: of the hearing node.
        now_ns: time of the transport's clock.

    Returns:
        OK, or WARN with what is lacking or was wrong with the audio.
    """
    level, text = Level.OK, "hears"
    if report.fault and time.monotonic() - report.fault_s < _FAULT_S:
        level, text = Level.WARN, report.fault
    if lack:
        level, text = Level.WARN, lack
    values = {
        "level_db": f"{report.level_db:.1f}",
        "chunks": str(report.chunk_count),
        "lost_chunks": str(report.lost_count),
        "waiting_s": f"{report.waiting_s:.2f}",
        "dropped_s": f"{report.dropped_s:.2f}",
        "heard": str(report.heard_count),
        "accepted": str(report.accepted_count),
        "last_fault": report.fault,
    }
    status = types.make(
        "diagnostic_msgs/msg/DiagnosticStatus",
        level=int(level),
        name=f"{node_name}: hearing",
        message=text,
        values=[
            types.make("diagnostic_msgs/msg/KeyValue", key=key, value=value)
            for key, value in values.items()
        ],
    )
    seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
    stamp = types.make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    header = types.make("std_msgs/msg/Header", stamp=stamp)
    return types.make(DIAGNOSTICS_TYPE, header=header, status=[status])

"""Judge one camera: whether its images and depth come, and what to do where they do not."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from vl2_ros.node.cameras.camera_input import CameraInput
from vl2_ros.node.cameras.camera_topic import CameraTopic
from vl2_ros.node.cameras.source import SourceHealth
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.reports import CameraReport
from vl2_ros.node.transport import Transport
from vl2_ros.processing.printable import make_printable

#: Seconds over which lost images are compared with those that came.
_LOSS_WINDOW_S = 5.0
#: Share of lost images, of at least so many, that is reported.
_MOST_LOST_SHARE = 0.2
_LEAST_IMAGES = 5
#: The same of images that are missing by their stamps. A camera that changes to a third of its rate
#: is under it.
_MOST_MISSING_SHARE = 1 / 3
#: Characters of a discovered type name that a message shows.
_NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """The state of one camera.

    Attributes:
        report: counts of its images.
        topic: that is subscribed, absolute.
        reliable: whether that subscription is.
        publisher_count: publishers of its topics that are known now.
        lost: images that the transport knows to have lost; others may be.
        silence: why no image comes and what to do; empty while images come.
        loss: how many of the last images were lost and what to do; empty while few are.
        sources: its camera_info and depth; empty when no depth topic is named for it.
    """

    report: CameraReport
    topic: str
    reliable: bool
    publisher_count: int
    lost: int
    silence: str = ""
    loss: str = ""
    sources: tuple[SourceHealth, ...] = ()


class CameraMonitor:
    """Judges one camera, again and again.

    Args:
        camera: its topics.
        transport: that they are on.
    """

    def __init__(self, camera: CameraInput, transport: Transport) -> None:
        self._camera = camera
        self._transport = transport
        self._counts: deque[tuple[float, int, int]] = deque()

    def check(
        self, report: CameraReport, parameters: NodeParameters, active_s: float, now_s: float
    ) -> CameraHealth:
        """Judge whether the camera is silent or loses images, and what its depth is worth.

        Args:
            report: counts of its images.
            parameters: of the node.
            active_s: seconds of the node's clock since it began to listen.
            now_s: monotonic time.
        """
        is_silent = min(report.last_age_s, active_s) >= parameters.camera_timeout_s
        lost = self._find_lost(report.received, now_s)
        loss = lost or self._find_missing()
        topic, depth = self._camera.topic, self._camera.depth
        return CameraHealth(
            report=report,
            topic=topic.name,
            reliable=topic.reliable,
            publisher_count=sum(len(one.list_all_publishers()) for one in self._camera.topics),
            lost=self._camera.lost_count,
            silence=self._explain_silence(report, parameters) if is_silent else "",
            loss=f"{loss}; {self._advise(parameters)}" if loss and not is_silent else "",
            sources=depth.check(active_s, parameters.camera_timeout_s) if depth else (),
        )

    def _find_lost(self, received: int, now_s: float) -> str:
        """Return how many images the transport knows to be lost; empty while they are few."""
        counts = self._counts
        counts.append((now_s, received, self._camera.lost_count))
        while len(counts) > 2 and now_s - counts[1][0] >= _LOSS_WINDOW_S:
            counts.popleft()
        (first_s, *first), (last_s, *last) = counts[0], counts[-1]
        came, lost = (after - before for before, after in zip(first, last, strict=True))
        if came + lost < _LEAST_IMAGES or lost < _MOST_LOST_SHARE * (came + lost):
            return ""
        return (
            f"{lost} of {came + lost} images were lost on their way in the last "
            f"{last_s - first_s:.0f} s"
        )

    def _find_missing(self) -> str:
        """Return how many images are missing by their stamps; empty while they are few."""
        found = self._camera.gaps.find_missing()
        if found is None or found.missing < _MOST_MISSING_SHARE * found.sent:
            return ""
        return (
            f"{found.missing} of the last {found.sent} images did not come: their stamps have gaps "
            f"in a rate of {1.0 / found.period_s:.1f} Hz"
        )

    def _explain_silence(self, report: CameraReport, parameters: NodeParameters) -> str:
        topics = self._camera.topics
        where = " or ".join(topic.name for topic in topics)
        if math.isinf(report.last_age_s):
            came = f"no image ever came on {where}"
        else:
            came = f"no image came on {where} for {report.last_age_s:.1f} s"
        found = [one for topic in topics for one in topic.list_all_publishers()]
        if not found:
            return f"{came}: nothing publishes there; start the camera, or name or remap its topic"
        if not any(topic.list_publishers() for topic in topics):
            wanted = " or ".join(topic.type_name for topic in topics)
            types = ", ".join(sorted({one.type_name for one in found}))
            return (
                f"{came}: what publishes there sends {make_printable(types, most=_NAME_LENGTH)}, "
                f"expected {wanted}; name another topic, or remap it"
            )
        advice = [self._advise(parameters)]
        for topic in topics:
            if topic is not self._camera.topic and topic.list_publishers():
                advice.append(f"to take {topic.name}, set image_transport to compressed")
        return f"{came}, although {len(found)} publish there; {'; '.join(advice)}"

    def _advise(self, parameters: NodeParameters) -> str:
        """Return what to check where publishers are there: reliability, then buffers."""
        topic = self._camera.topic
        buffers = self._transport.loss_advice or "check that the camera sends"
        return "; ".join(filter(None, (_advise_reliability(topic, parameters), buffers)))


def _advise_reliability(topic: CameraTopic, parameters: NodeParameters) -> str:
    publishers = topic.list_publishers()
    others = sum(not one.reliable for one in publishers)
    if topic.reliable and others:
        return (
            f"the subscription is reliable, but {others} of {len(publishers)} publishers offer "
            "best effort, of which it receives nothing; set image_reliability to auto"
        )
    if topic.reliable:
        return "the subscription is reliable already"
    if others:
        return (
            "what is lost of an image is not sent again, as the camera offers best effort; let "
            "its driver publish with reliable QoS"
        )
    if parameters.image_reliability == "best_effort":
        return "what is lost of an image is not sent again; set image_reliability to auto"
    return ""

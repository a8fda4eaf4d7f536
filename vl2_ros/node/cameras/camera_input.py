"""Subscribe to one camera's topics, store its images, and explain missing ones."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from vl2_ros.node.cameras.camera_image import store_compressed_image, store_image
from vl2_ros.node.cameras.depth_input import DepthInput
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.reports import CameraReport
from vl2_ros.node.request import StoredImage
from vl2_ros.node.transport import NEWEST_FROM_ANY, Qos, Subscription, Transport

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"

#: Seconds within which both forms of one image arrive; stamps are not compared for longer, as the
#: clock of a camera may have been wrong for a moment.
_SAME_IMAGE_S = 1.0

_RELIABILITY = {
    "auto": NEWEST_FROM_ANY,
    "best_effort": NEWEST_FROM_ANY,
    "reliable": Qos(reliable=True, depth=1),
}


class CameraInput:
    """Subscribes to the image topics of one camera.

    Where a camera sends each image both raw and compressed, only the first of the two is kept,
    so that no image is used twice.

    Args:
        camera: its topic, which is its name.
        parameters: which topics, and with which reliability; its depth, if it has one.
        transport: receives the images.
        store: called with each image, on the transport's thread.

    Attributes:
        topics: absolute name and message type of each topic; the compressed one follows the raw
            one where that is remapped.
        depth: its depth and calibration; None when no depth topic is named for it.
        duplicates: images skipped because they had come in their other form already.
    """

    def __init__(
        self,
        camera: str,
        parameters: NodeParameters,
        transport: Transport,
        store: Callable[[StoredImage], None],
    ) -> None:
        """Resolve the topics; `subscribe` opens them.

        Raises:
            ConfigError: if the camera's name is no topic name.
        """
        name = transport.resolve(camera)
        raw, compressed = (name, IMAGE_TYPE), (f"{name}/compressed", COMPRESSED_IMAGE_TYPE)
        self.topics: tuple[tuple[str, str], ...] = {
            "raw": (raw,),
            "compressed": (compressed,),
            "auto": (raw, compressed),
        }[parameters.image_transport]
        depth_topic = parameters.find_depth_topic(camera)
        self.depth = (
            DepthInput(
                name,
                depth_topic,
                parameters.depth_tolerance_s,
                transport,
                parameters.image_rectified,
            )
            if depth_topic
            else None
        )
        self._max_pixels = parameters.max_image_pixels
        self._qos = _RELIABILITY[parameters.image_reliability]
        self._transport = transport
        self._store = store
        self._subscriptions: list[Subscription] = []
        self._last_topic, self._last_stamp_ns, self._last_s = "", 0, -math.inf
        self.duplicates = 0

    def subscribe(self) -> None:
        """Open the subscriptions."""
        for topic, type_name in self.topics:
            store = store_image if type_name == IMAGE_TYPE else store_compressed_image
            keep = partial(store, max_pixels=self._max_pixels)
            take = partial(self._take, topic, keep)
            subscription = self._transport.subscribe(topic, type_name, self._qos, take)
            self._subscriptions.append(subscription)
        if self.depth is not None:
            self.depth.subscribe()

    def close(self) -> None:
        """Close the subscriptions; `subscribe` opens them again."""
        if self.depth is not None:
            self.depth.close()
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()

    def count_publishers(self) -> int:
        """Return how many publishers of the topics are known now."""
        return sum(self._transport.count_publishers(topic) for topic, _ in self.topics)

    def _take(self, topic: str, keep: Callable[[Any], StoredImage], message: Any) -> None:
        image = keep(message)
        now_s = time.monotonic()
        # Stamps of one topic may jump back, as when a recording starts again; an image of the
        # other topic that is not newer is the same one in its other form, if it comes soon after.
        is_soon = now_s - self._last_s < _SAME_IMAGE_S
        is_other = self._last_topic not in ("", topic)
        if is_other and is_soon and image.stamp_ns <= self._last_stamp_ns:
            self.duplicates += 1
            return
        self._last_topic, self._last_stamp_ns, self._last_s = topic, image.stamp_ns, now_s
        if self.depth is not None:
            image = replace(image, read_space=self.depth.match(image.stamp_ns).read)
        self._store(image)


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """The state of one camera.

    Attributes:
        report: counts of its images.
        publisher_count: publishers of its topics that are known now.
        silence: why no image comes and what to do; empty while images come.
        duplicates: images skipped because they had come in their other form already.
    """

    report: CameraReport
    publisher_count: int
    silence: str
    duplicates: int = 0


def check_camera(
    camera: CameraInput, report: CameraReport, parameters: NodeParameters, active_s: float
) -> CameraHealth:
    """Judge whether a camera has been silent for too long.

    Args:
        camera: its topics.
        report: counts of its images.
        parameters: gives camera_timeout_s.
        active_s: seconds since the node began to listen.
    """
    count = camera.count_publishers()
    silence = ""
    if min(report.last_age_s, active_s) >= parameters.camera_timeout_s:
        silence = _explain_silence(camera.topics, count, report, parameters)
    return CameraHealth(report, count, silence, camera.duplicates)


def _explain_silence(
    topics: Sequence[tuple[str, str]], count: int, report: CameraReport, parameters: NodeParameters
) -> str:
    where = " or ".join(topic for topic, _ in topics)
    if math.isinf(report.last_age_s):
        came = f"no image ever came on {where}"
    else:
        came = f"no image came on {where} for {report.last_age_s:.1f} s"
    if count == 0:
        return f"{came}: nothing publishes there; start the camera, or name or remap its topic"
    types = " or ".join(type_name for _, type_name in topics)
    advice = f"check that it sends and that its type is {types}"
    if parameters.image_reliability == "reliable":
        advice += ", reliable as image_reliability asks"
    return f"{came}, although {count} publish there; {advice}"

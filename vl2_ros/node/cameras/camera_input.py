"""Subscribe to one camera's topics and store its images."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from vl2_ros.node.cameras.camera_image import store_compressed_image, store_image
from vl2_ros.node.cameras.camera_topic import CameraTopic
from vl2_ros.node.cameras.depth_input import DepthInput
from vl2_ros.node.cameras.stamp_gaps import StampGaps
from vl2_ros.node.cameras.topic_choice import TopicChoice
from vl2_ros.node.clock import NodeClock
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.request import StoredImage
from vl2_ros.node.transport import Transport

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"

#: Images that wait when the thread that stores them is late, so that none is lost by that; the
#: newest of them is the one that is used.
_WAITING = 4

_log = logging.getLogger(__name__)


class CameraInput:
    """Subscribes to the image topic of one camera, to its depth and its calibration.

    Of the raw and the compressed topic only one is subscribed at a time, as drivers compress for
    subscribers only: with the transport `auto` the raw one, the compressed one where a publisher
    is there and none of raw images. Thread-safe.

    Args:
        camera: its topic, which is its name.
        parameters: which topics, and with which reliability; its depth, if it has one.
        transport: receives the images.
        store: called with each image, on the transport's thread.
        clock: of ages and rates; None: real time.

    Attributes:
        name: of the raw topic, absolute and remapped; the compressed one follows it.
        topics: those that may be subscribed, the first where nothing publishes.
        depth: its depth and calibration; None when no depth topic is named for it.
        gaps: the stamps of its last images.
    """

    def __init__(
        self,
        camera: str,
        parameters: NodeParameters,
        transport: Transport,
        store: Callable[[StoredImage], None],
        clock: NodeClock | None = None,
    ) -> None:
        """Resolve the topics; `subscribe` opens them.

        Raises:
            ConfigError: if the camera's name is no topic name.
        """
        self.name = transport.resolve(camera)
        limit = parameters.max_image_pixels

        def make(topic: str, type_name: str, keep: Callable[..., StoredImage]) -> CameraTopic:
            take = partial(self._take, partial(keep, max_pixels=limit))
            return CameraTopic(
                topic, type_name, parameters.image_reliability, _WAITING, transport, take
            )

        raw = make(camera, IMAGE_TYPE, store_image)
        compressed = make(f"{self.name}/compressed", COMPRESSED_IMAGE_TYPE, store_compressed_image)
        choices = {"raw": (raw,), "compressed": (compressed,), "auto": (raw, compressed)}
        self._choice = TopicChoice(choices[parameters.image_transport])
        self.topics = self._choice.topics
        depth_topic = parameters.find_depth_topic(camera)
        self.depth = (
            DepthInput(
                self.name,
                depth_topic,
                parameters.depth_tolerance_s,
                transport,
                parameters.image_rectified,
                parameters.image_reliability,
                limit,
                clock,
            )
            if depth_topic
            else None
        )
        self.gaps = StampGaps()
        self._camera = camera
        self._store = store
        self._lock = threading.Lock()
        self._is_open = False

    @property
    def topic(self) -> CameraTopic:
        """Return the image topic that is subscribed, or was the last."""
        return self._choice.topic

    @property
    def lost_count(self) -> int:
        """Return how many images the transport knows to have lost."""
        return self._choice.lost_count

    def subscribe(self) -> None:
        """Open the subscriptions."""
        with self._lock:
            self._is_open = True
            self._choice.open()
            if self.depth is not None:
                self.depth.subscribe()

    def update(self, now_s: float) -> None:
        """Follow the publishers; to be called every second or oftener.

        Args:
            now_s: monotonic time.
        """
        with self._lock:
            if not self._is_open:
                return
            if self._choice.update(now_s):
                self._begin_again()
            if self.depth is not None:
                self.depth.update(now_s)

    def close(self) -> None:
        """Close the subscriptions; `subscribe` opens them again."""
        with self._lock:
            self._is_open = False
            self._choice.close()
            if self.depth is not None:
                self.depth.close()

    def _begin_again(self) -> None:
        self.gaps.clear()
        _log.info(
            "camera %s: subscribed to %s, %s, as its publishers are",
            self._camera,
            self.topic.name,
            "reliable" if self.topic.reliable else "best effort",
        )

    def _take(self, keep: Callable[[Any], StoredImage], message: Any) -> None:
        image = keep(message)
        self.gaps.note(image.stamp_ns)
        if self.depth is not None:
            match = self.depth.match(image.stamp_ns, _find_size(message))
            size_bytes = image.size_bytes + self.depth.size_bytes
            image = replace(image, read_space=match.read, size_bytes=size_bytes)
        self._store(image)


def _find_size(message: Any) -> tuple[int, int] | None:
    """Return height and width of an image message; None of a compressed one, or without a pixel."""
    size = int(getattr(message, "height", 0)), int(getattr(message, "width", 0))
    return size if all(size) else None

"""Publish images of any source as a camera does, stamped when they are sent."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from vl2_ros.errors import ConfigError, VL2Error
from vl2_ros.node.messages.instance_messages import InstanceMessages
from vl2_ros.node.transport import Transport
from vl2_ros.recordings.camera_player import CAMERA_QOS
from vl2_ros.sources.source import Source, read_sources
from vl2_ros.structures import Frame

CAMERA = "/camera/image_raw"
FRAME_ID = "camera"
#: Seconds between images of a source that has no times of its own.
_PERIOD_S = 0.1


class SourceCamera:
    """A camera on a transport.

    Args:
        transport: publishes the images, and gives their time.
        topic: name of the camera.
    """

    def __init__(self, transport: Transport, topic: str = CAMERA) -> None:
        self._transport = transport
        self._messages = InstanceMessages(transport.types)
        self._publisher = transport.advertise(topic, "sensor_msgs/msg/Image", CAMERA_QOS)
        #: Absolute name of the camera, as `vl2 serve --camera` takes it.
        self.name = transport.resolve(topic)

    def publish(self, frame: Frame) -> None:
        """Send an image as rgb8, with the time of the transport's clock."""
        stamped = replace(frame, stamp_ns=self._transport.now_ns(), frame_id=FRAME_ID)
        self._publisher.publish(self._messages.make_image(frame.rgb, "rgb8", stamped))


def play_source(
    source: Source,
    publish: Callable[[Frame], None],
    stop: threading.Event,
    *,
    rate_hz: float | None = None,
    loop: bool = False,
    on_error: Callable[[str, VL2Error], None] = lambda name, error: None,
) -> int:
    """Publish a source: a video at its own pace, a live one as it comes, images at a rate.

    A single image is repeated until `stop` is set, as a camera before a still scene does.

    Args:
        source: where images come from.
        publish: sends one.
        stop: ends the playing.
        rate_hz: images a second; None keeps the pace of a video, and is 10 for images. Of a live
            source it is the most.
        loop: start again at the end.
        on_error: called with the name of what cannot be read, and why; the others are played.

    Returns:
        The number of images published.

    Raises:
        ConfigError: if the rate is not positive.
        VL2Error: the last one if not one image can be read.
    """
    if rate_hz is not None and not 0.0 < rate_hz <= 1000.0:
        raise ConfigError(
            f"the rate must lie above 0 and at most 1000 images a second, got {rate_hz}"
        )
    pace = _Pace(source, rate_hz, stop)
    count = 0
    while True:
        before = count
        failed: tuple[str, VL2Error] | None = None
        for image in read_sources([source]):
            if failed is not None:
                on_error(*failed)
            failed = None if image.error is None else (image.name, image.error)
            while image.frame is not None:
                if not pace.wait(image.frame):
                    return count
                publish(image.frame)
                count += 1
                if not source.is_single:
                    break
        if failed is not None:
            # The last of a source without one image is raised, so that it is reported once.
            if count == before:
                raise failed[1]
            on_error(*failed)
        if not loop:
            return count
        pace.start_again()


class _Pace:
    """Waits until the next image is due."""

    def __init__(self, source: Source, rate_hz: float | None, stop: threading.Event) -> None:
        self._stop = stop
        self._is_live = source.is_live
        usual_s = None if source.is_moving else _PERIOD_S
        self._period_s = 1.0 / rate_hz if rate_hz else usual_s
        self._due_s = -math.inf
        self._last_ns: int | None = None
        self._step_s = _PERIOD_S

    def start_again(self) -> None:
        """Begin another round; its first image comes as long after the last as that did."""
        self._last_ns = None

    def wait(self, frame: Frame) -> bool:
        """Return True when the image is due; False when the playing has ended."""
        if self._is_live and self._period_s is None:
            return not self._stop.is_set()
        if self._period_s is not None:
            self._step_s = self._period_s
        elif self._last_ns is not None:
            self._step_s = max(0.0, (frame.stamp_ns - self._last_ns) / 1e9)
        self._last_ns = frame.stamp_ns
        now_s = time.monotonic()
        # What comes late does not hurry the next ones.
        self._due_s = max(self._due_s + self._step_s, now_s)
        return not self._stop.wait(self._due_s - now_s)

"""Publish a recorded camera as a live one: at the recorded pace, or image by image on request.

Images keep the stamps of their recording, so that results can be matched with it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from vl2_ros.errors import ConfigError
from vl2_ros.node.transport import Qos, Transport
from vl2_ros.recordings.bag import COMPRESSED_IMAGE_TYPE, RecordedImage, raise_stamps, read_images
from vl2_ros.transports.message_types import remake_message

#: Reliable publishers match every subscription; a slow one gets the newest few.
CAMERA_QOS = Qos(reliable=True, depth=5)
_COMPRESSED = "/compressed"
#: Between the last image of a loop and the first of the next, when the recording has one only.
_DEFAULT_PERIOD_S = 0.1

Publish = Callable[[RecordedImage], None]


def open_camera(
    transport: Transport, path: Path, *, topic: str | None = None, onto: str | None = None
) -> tuple[str, Publish]:
    """Advertise the topic that a recorded camera will be played onto.

    Args:
        transport: publishes the topic.
        path: rosbag2 folder, .mcap or .db3 file.
        topic: which image topic of the recording; None takes the only camera.
        onto: name of the live camera, compressed images go to its `/compressed`; None takes the
            recorded name.

    Returns:
        The camera's name as `vl2 serve --camera` takes it, and a function that publishes one image.

    Raises:
        TransportError: if the recording cannot be read or has no image.
    """
    first = next(read_images(path, topic=topic))
    is_compressed = first.message_type == COMPRESSED_IMAGE_TYPE
    camera = onto or (first.topic.removesuffix(_COMPRESSED) if is_compressed else first.topic)
    live_topic = camera + _COMPRESSED if is_compressed else camera
    publisher = transport.advertise(live_topic, first.message_type, CAMERA_QOS)
    types = transport.types
    return transport.resolve(camera), lambda recorded: publisher.publish(
        remake_message(types, recorded.message)
    )


def repeat_recording(
    path: Path, *, topic: str | None = None, loop: bool = False
) -> Iterator[RecordedImage]:
    """Read the images of a recording, again and again when it loops."""
    yield from read_images(path, topic=topic)
    while loop:
        yield from read_images(path, topic=topic)


def play_camera(
    images: Iterable[RecordedImage],
    publish: Publish,
    stop: threading.Event,
    *,
    rate_hz: float | None = None,
) -> int:
    """Publish images at their recorded pace until they end or `stop` is set.

    Args:
        images: in the order of recording; their time may jump back when they loop.
        publish: sends one.
        stop: ends the playing.
        rate_hz: images a second; None keeps the recorded distances.

    Returns:
        The number of images published.

    Raises:
        ConfigError: if the rate is not positive.
    """
    period_s = _find_period(rate_hz)
    count, due, previous_ns = 0, time.monotonic(), None
    for recorded in images:
        if previous_ns is not None:
            step_s = period_s or (recorded.time_ns - previous_ns) / 1e9
            # A loop begins again: its first image comes one usual distance after the last.
            due += step_s if step_s > 0 else _DEFAULT_PERIOD_S
        if stop.wait(max(0.0, due - time.monotonic())):
            break
        publish(recorded)
        previous_ns = recorded.time_ns
        count += 1
    return count


def step_camera(
    images: Iterable[RecordedImage],
    publish: Publish,
    steps: queue.SimpleQueue[bool],
    *,
    rate_hz: float | None = None,
) -> int:
    """Publish one image repeatedly, as a camera in a still scene does, until the next step.

    Stamps rise from one image to the next (`bag.raise_stamps`), so that results can be matched with
    their image where the stamps of the recording repeat.

    Args:
        images: in the order of recording.
        publish: sends one.
        steps: True moves on to the next image, False ends.
        rate_hz: how often the image is sent again in a second; None is 10.

    Returns:
        The number of different images published.

    Raises:
        ConfigError: if the rate is not positive.
    """
    period_s = _find_period(rate_hz) or _DEFAULT_PERIOD_S
    count = 0
    for recorded in raise_stamps(images):
        count += 1
        publish(recorded)
        while (go_on := _next_step(steps, period_s)) is None:
            publish(recorded)
        if not go_on:
            break
    return count


def _find_period(rate_hz: float | None) -> float | None:
    if rate_hz is None:
        return None
    if not 0.0 < rate_hz <= 1000.0:
        raise ConfigError(
            f"the rate must lie above 0 and at most 1000 images a second, got {rate_hz}"
        )
    return 1.0 / rate_hz


def _next_step(steps: queue.SimpleQueue[bool], timeout_s: float) -> bool | None:
    try:
        return steps.get(timeout=timeout_s)
    except queue.Empty:
        return None

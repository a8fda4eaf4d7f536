"""A camera made of images, a video or a stream."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.node.wire import wait_until
from vl2_ros.clients.source_camera import SourceCamera, play_source
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.node.transport import Qos
from vl2_ros.sources.source import find_source
from vl2_ros.sources.video import VideoWriter
from vl2_ros.structures import Frame
from vl2_ros.transports.memory import MemoryBus, MemoryTransport


def write_images(folder: Path, *values: int) -> Path:
    for index, value in enumerate(values):
        Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(folder / f"{index}.png")
    return folder


class Sink:
    """Keeps what is published, and ends the playing after so many."""

    def __init__(self, limit: int = 1000) -> None:
        self.values, self.times, self.stop, self.limit = [], [], threading.Event(), limit

    def __call__(self, frame: Frame) -> None:
        self.values.append(int(frame.rgb[0, 0, 0]))
        self.times.append(time.monotonic())
        if len(self.values) >= self.limit:
            self.stop.set()


def test_message_is_a_cameras(tmp_path):
    transport = MemoryTransport(MemoryBus())
    received = []
    camera = SourceCamera(transport, "/camera/image_raw")
    transport.subscribe(camera.name, "sensor_msgs/msg/Image", Qos(), received.append)
    rgb = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    before_ns = transport.now_ns()
    camera.publish(Frame(rgb))
    wait_until(lambda: received, "an image")
    (message,) = received
    stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
    assert before_ns <= stamp_ns <= transport.now_ns()
    assert (message.header.frame_id, message.encoding, message.step) == ("camera", "rgb8", 18)
    np.testing.assert_array_equal(np.asarray(message.data).reshape(4, 6, 3), rgb)


def test_folder_is_played_once_or_again_and_again(tmp_path):
    source, sink = find_source(str(write_images(tmp_path, 10, 20, 30))), Sink()
    assert play_source(source, sink, sink.stop, rate_hz=200) == 3
    assert sink.values == [10, 20, 30]
    again = Sink(limit=7)
    assert play_source(source, again, again.stop, rate_hz=200, loop=True) == 7
    assert again.values == [10, 20, 30, 10, 20, 30, 10]
    assert again.times[-1] - again.times[0] > 0.025


def test_single_image_is_repeated(tmp_path):
    source, sink = find_source(str(write_images(tmp_path, 10) / "0.png")), Sink(limit=4)
    assert play_source(source, sink, sink.stop, rate_hz=100) == 4


def test_video_keeps_its_pace(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4")
    for stamp_ms in (0, 20, 320):
        writer.add(np.zeros((32, 48, 3), np.uint8), stamp_ms * 1_000_000)
    writer.close()
    sink = Sink()
    assert play_source(find_source(str(tmp_path / "a.mp4")), sink, sink.stop) == 3
    assert sink.times[2] - sink.times[0] > 0.3


def test_what_cannot_be_read_is_reported_and_the_rest_is_played(tmp_path):
    (write_images(tmp_path, 10, 20) / "00.png").write_bytes(b"bad")
    sink, errors = Sink(), []
    count = play_source(
        find_source(str(tmp_path)),
        sink,
        sink.stop,
        rate_hz=500,
        on_error=lambda name, error: errors.append(name),
    )
    assert count == 2 and errors == [str(tmp_path / "00.png")]


def test_nothing_that_can_be_read_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"bad")
    (tmp_path / "b.png").write_bytes(b"bad")
    sink, errors = Sink(), []
    with pytest.raises(InputError, match=r"b.png is not an image that can be read"):
        play_source(
            find_source(str(tmp_path)),
            sink,
            sink.stop,
            loop=True,
            on_error=lambda name, error: errors.append(name),
        )
    # What is raised is not reported a second time.
    assert errors == [str(tmp_path / "a.png")]


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, 1e9, float("nan")])
def test_rates(tmp_path, rate_hz):
    source, sink = find_source(str(write_images(tmp_path, 1))), Sink()
    with pytest.raises(ConfigError, match="above 0 and at most 1000"):
        play_source(source, sink, sink.stop, rate_hz=rate_hz)

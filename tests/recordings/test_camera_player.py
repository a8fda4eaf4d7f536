from __future__ import annotations

import queue
import threading
from itertools import islice

import numpy as np
import pytest

from tests.node.wire import make_compressed_image
from tests.recordings.recordings import PERIOD_NS, record_camera
from vl2_ros.errors import ConfigError, TransportError
from vl2_ros.node.transport import NEWEST_FROM_ANY, Qos
from vl2_ros.recordings import camera_player
from vl2_ros.recordings.bag import read_images
from vl2_ros.recordings.camera_player import (
    open_camera,
    play_camera,
    repeat_recording,
    step_camera,
)
from vl2_ros.recordings.mcap_writer import write_recording
from vl2_ros.transports.memory import MemoryBus, MemoryTransport
from vl2_ros.transports.message_types import StoreMessageTypes, remake_message


class Clock:
    """Stands in for time and for the event that is waited on, without real waiting."""

    def __init__(self, stop_at_s: float = float("inf")) -> None:
        self.now_s = 100.0
        self.stop_at_s = stop_at_s

    def monotonic(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> bool:
        assert seconds >= 0
        self.now_s += seconds
        return self.now_s - 100.0 >= self.stop_at_s


@pytest.fixture
def bag(tmp_path):
    record_camera(tmp_path / "camera.mcap", 3)
    return tmp_path / "camera.mcap"


def play(monkeypatch, images, *, slow_s: float = 0.0, **options) -> list[float]:
    """Play on a clock of its own; return the seconds at which the images were sent."""
    clock = Clock(options.pop("stop_at_s", float("inf")))
    monkeypatch.setattr(camera_player.time, "monotonic", clock.monotonic)
    sent = []

    def publish(recorded) -> None:
        sent.append(round(clock.now_s - 100.0, 6))
        clock.now_s += slow_s

    assert play_camera(images, publish, clock, **options) == len(sent)
    return sent


def test_recorded_pace_is_kept(bag, monkeypatch):
    assert play(monkeypatch, read_images(bag)) == [0.0, 0.1, 0.2]


def test_rate_replaces_the_recorded_pace(bag, monkeypatch):
    assert play(monkeypatch, read_images(bag), rate_hz=4.0) == [0.0, 0.25, 0.5]


def test_slow_sending_does_not_add_up(bag, monkeypatch):
    assert play(monkeypatch, read_images(bag), slow_s=0.04) == [0.0, 0.1, 0.2]


def test_loop_begins_again_after_one_period(bag, monkeypatch):
    images = islice(repeat_recording(bag, loop=True), 7)
    assert play(monkeypatch, images) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def test_loop_of_one_image_does_not_flood(tmp_path, monkeypatch):
    record_camera(tmp_path / "one.mcap", 1)
    images = islice(repeat_recording(tmp_path / "one.mcap", loop=True), 3)
    assert play(monkeypatch, images) == [0.0, 0.1, 0.2]


def test_without_loop_it_ends(bag):
    assert len(list(repeat_recording(bag))) == 3


def test_stop_ends_it_before_the_next_image(bag, monkeypatch):
    assert play(monkeypatch, repeat_recording(bag, loop=True), stop_at_s=0.35) == [
        0.0,
        0.1,
        0.2,
        0.3,
    ]


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), 1e6])
def test_rates_without_sense_are_refused(bag, rate_hz):
    with pytest.raises(ConfigError, match="the rate must lie above 0"):
        play_camera(read_images(bag), lambda recorded: None, threading.Event(), rate_hz=rate_hz)


def test_image_is_repeated_until_the_next_step(bag):
    steps: queue.SimpleQueue[bool] = queue.SimpleQueue()
    sent: list[int] = []

    def publish(recorded) -> None:
        sent.append(recorded.image.stamp_ns)
        # Each image is released after it was sent three times.
        if sent.count(sent[-1]) == 3:
            steps.put(True)

    assert step_camera(read_images(bag), publish, steps, rate_hz=1000.0) == 3
    first = sent[0]
    assert sent == [first + index * PERIOD_NS for index in range(3) for _ in range(3)]


def test_end_of_steps_ends_the_repetition(bag):
    steps: queue.SimpleQueue[bool] = queue.SimpleQueue()
    for step in (True, False):
        steps.put(step)
    assert step_camera(read_images(bag), lambda recorded: None, steps) == 2


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("onto", "camera"), [(None, "/camera/image_raw"), ("/front", "/front"), ("eye", "/eye")]
)
def test_camera_is_named_as_the_node_takes_it(tmp_path, compressed, onto, camera):
    frames = record_camera(tmp_path / "camera.mcap", 2, compressed=compressed)
    bus = MemoryBus()
    playing, looking = MemoryTransport(bus, "vl2_camera"), MemoryTransport(bus, "eye")
    came: queue.SimpleQueue = queue.SimpleQueue()
    suffix, kind = ("/compressed", "CompressedImage") if compressed else ("", "Image")
    topic = f"{camera}{suffix}"
    looking.subscribe(topic, f"sensor_msgs/msg/{kind}", NEWEST_FROM_ANY, came.put)
    looking.subscribe(topic, f"sensor_msgs/msg/{kind}", Qos(reliable=True), came.put)
    name, publish = open_camera(playing, tmp_path / "camera.mcap", onto=onto)
    assert name == camera
    publish(next(read_images(tmp_path / "camera.mcap")))
    for _ in range(2):
        message = came.get(timeout=30)
        assert message.header.frame_id == "camera_link"
        stamp = message.header.stamp
        assert stamp.sec * 10**9 + stamp.nanosec == frames[0].stamp_ns
    for transport in (playing, looking):
        transport.close()


def test_topic_without_images_is_named(tmp_path):
    types = StoreMessageTypes()
    with write_recording(tmp_path / "text.mcap", types.typestore) as recording:
        text = types.make("std_msgs/msg/String", data="a")
        recording.add("/chatter", "std_msgs/msg/String", text, 0)
    transport = MemoryTransport(MemoryBus(), "vl2_camera")
    with pytest.raises(TransportError, match=r"no image topic.*/chatter"):
        open_camera(transport, tmp_path / "text.mcap")
    transport.close()


def test_message_is_made_again_by_another_transports_types():
    made: list[str] = []

    class Types:
        """Stands for generated classes, which the type library's are not."""

        def make(self, type_name, **fields):
            made.append(type_name)
            return type("Generated", (), fields)()

    data = np.arange(6, dtype=np.uint8)
    original = make_compressed_image(StoreMessageTypes(), 1_000_000_007, data=data)
    copy = remake_message(Types(), original)
    assert made[-1] == "sensor_msgs/msg/CompressedImage" and len(made) == 3
    assert (copy.header.stamp.sec, copy.header.stamp.nanosec) == (1, 7)
    assert (copy.header.frame_id, copy.format) == ("camera_link", "png")
    assert np.shares_memory(copy.data, data)
    status = StoreMessageTypes().make("diagnostic_msgs/msg/DiagnosticStatus", level=2, name="x")
    assert not hasattr(remake_message(Types(), status), "STALE")

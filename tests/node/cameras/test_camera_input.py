"""One camera: raw images first, compressed ones where there are no others, never both."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.node.wire import make_compressed_image, make_image, wait_until
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.node.cameras.camera_input import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE, CameraInput
from vl2_ros.node.cameras.camera_topic import SETTLE_S
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.transport import Qos

RAW, COMPRESSED = "/image", "/image/compressed"
TYPE_OF = {RAW: IMAGE_TYPE, COMPRESSED: COMPRESSED_IMAGE_TYPE}


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.close()


class Camera:
    """A CameraInput whose time is the test's, and its drivers."""

    def __init__(self, rig: Rig, **parameters) -> None:
        self._rig = rig
        self._node = rig.open("viewer")
        self.stamps: list[int] = []
        self.now_s = 50.0
        values = {"depth_topics": ()} | parameters
        self.input = CameraInput(
            "image",
            NodeParameters(**values),
            rig.open("vl2"),
            lambda image: self.stamps.append(image.stamp_ns),
        )

    def drive(self, topic: str, qos: Qos | None = None):
        """Start a driver of one topic; returns its node and its publisher."""
        node = self._rig.open("driver")
        return node, node.advertise(topic, TYPE_OF[topic], qos or Qos())

    def settle(self) -> None:
        self.input.update(self.now_s)
        self.now_s += SETTLE_S
        self.input.update(self.now_s)

    def subscribed(self) -> set[str]:
        """Return the image topics that are subscribed, as any driver sees them."""
        with self._rig.harness.bus._lock:
            return {one.topic for one in self._rig.harness.bus._subscriptions}


def test_driver_of_both_is_asked_for_raw_images_only(rig):
    camera = Camera(rig)
    camera.drive(RAW), camera.drive(COMPRESSED)
    camera.input.subscribe()
    assert camera.subscribed() == {RAW}
    camera.settle()
    assert camera.subscribed() == {RAW}


def test_compressed_images_are_taken_where_there_are_no_raw_ones(rig):
    camera = Camera(rig)
    camera.input.subscribe()
    node, publisher = camera.drive(COMPRESSED)
    camera.input.update(camera.now_s)
    assert camera.subscribed() == {RAW}, "a driver's raw topic may be found a moment later"
    camera.settle()
    assert camera.subscribed() == {COMPRESSED}
    assert camera.input.topic.reliable
    publisher.publish(make_compressed_image(node.types, 7))
    wait_until(lambda: camera.stamps == [7], "the image has come")


def test_raw_images_are_taken_as_soon_as_there_are_some(rig):
    camera = Camera(rig)
    camera.input.subscribe()
    compressed, _ = camera.drive(COMPRESSED)
    camera.settle()
    node, raw = camera.drive(RAW)
    camera.settle()
    assert camera.subscribed() == {RAW}
    raw.publish(make_image(node.types, 8))
    wait_until(lambda: camera.stamps == [8], "the image has come")
    node.close()
    camera.settle()
    assert camera.subscribed() == {COMPRESSED}
    compressed.close()
    camera.settle()
    assert camera.subscribed() == {COMPRESSED}, "without a driver nothing changes"


def test_other_types_on_the_raw_topic_are_no_raw_images(rig):
    camera = Camera(rig)
    camera.input.subscribe()
    rig.open("wrong").advertise(RAW, COMPRESSED_IMAGE_TYPE, Qos())
    camera.drive(COMPRESSED)
    camera.settle()
    assert camera.subscribed() == {COMPRESSED}


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_a_transport_that_was_chosen_is_kept(rig, transport):
    camera = Camera(rig, image_transport=transport)
    camera.input.subscribe()
    camera.drive({"raw": COMPRESSED, "compressed": RAW}[transport])
    camera.settle()
    assert camera.subscribed() == {{"raw": RAW, "compressed": COMPRESSED}[transport]}


def test_depth_and_calibration_follow_their_publishers(rig):
    camera = Camera(rig, depth_topics=("depth",))
    camera.input.subscribe()
    assert camera.subscribed() == {RAW, "/depth", "/camera_info"}
    node = rig.open("driver")
    node.advertise("/depth", IMAGE_TYPE, Qos())
    node.advertise("/camera_info", "sensor_msgs/msg/CameraInfo", Qos(reliable=False))
    camera.settle()
    assert camera.input.depth.depth.reliable
    assert not camera.input.depth.camera_info.reliable


def test_what_is_closed_stays_closed(rig):
    camera = Camera(rig, depth_topics=("depth",))
    camera.input.subscribe()
    camera.drive(COMPRESSED)
    camera.input.update(camera.now_s)
    camera.input.close()
    camera.settle()
    assert camera.subscribed() == set()
    camera.input.subscribe()
    camera.settle()
    assert camera.subscribed() == {COMPRESSED, "/depth", "/camera_info"}


def test_closing_meanwhile_leaves_no_subscription(rig):
    camera = Camera(rig)
    stop = threading.Event()

    def follow() -> None:
        while not stop.is_set():
            camera.settle()

    thread = threading.Thread(target=follow)
    thread.start()
    for index in range(50):
        camera.input.subscribe()
        node, _ = camera.drive(RAW if index % 2 else COMPRESSED, Qos(reliable=index % 3 == 0))
        camera.input.close()
        assert camera.subscribed() == set()
        node.close()
    stop.set()
    thread.join()

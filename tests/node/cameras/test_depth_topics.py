"""Depth is raw, or compressed where nothing else is there; compressed depth places instances."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from tests.node.wire import Inbox, make_camera_info, make_depth, make_header, wait_until
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.node.cameras.camera_topic import SETTLE_S
from vl2_ros.node.cameras.depth_input import COMPRESSED_DEPTH_TYPE, DEPTH_TYPE, DepthInput
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos

MS = 1_000_000
RAW, COMPRESSED = "/camera/depth", "/camera/depth/compressedDepth"
TYPE_OF = {RAW: DEPTH_TYPE, COMPRESSED: COMPRESSED_DEPTH_TYPE}


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.close()


class Depth:
    """A DepthInput whose time is the test's, and its drivers."""

    def __init__(self, rig: Rig, topic: str = RAW) -> None:
        self._rig = rig
        self.now_s = 50.0
        self.input = DepthInput("/camera/image", topic, 0.05, rig.open("vl2"))
        self.input.subscribe()

    def drive(self, topic: str):
        node = self._rig.open("driver")
        node.advertise(topic, TYPE_OF[topic], Qos())
        return node

    def settle(self) -> set[str]:
        """Return the depth topics that are subscribed once what is there now has lasted."""
        self.input.update(self.now_s)
        self.now_s += SETTLE_S
        self.input.update(self.now_s)
        with self._rig.harness.bus._lock:
            topics = {one.topic for one in self._rig.harness.bus._subscriptions}
        return topics - {"/camera/camera_info"}


def test_raw_depth_comes_first_and_both_are_never_subscribed(rig):
    depth = Depth(rig)
    assert depth.settle() == {RAW}
    depth.drive(COMPRESSED)
    assert depth.settle() == {COMPRESSED}
    raw = depth.drive(RAW)
    assert depth.settle() == {RAW}
    raw.close()
    assert depth.settle() == {COMPRESSED}
    depth.input.close()
    assert depth.settle() == set()


def test_the_compressed_topic_may_be_named_itself(rig):
    depth = Depth(rig, COMPRESSED)
    depth.drive(RAW)
    assert depth.settle() == {COMPRESSED}


def make_compressed_depth(types, stamp_ns: int, values: np.ndarray):
    png = cv2.imencode(".png", values)[1].reshape(-1)
    head = np.frombuffer(struct.pack("<iff", 0, 0.0, 0.0), np.uint8)
    return types.make(
        COMPRESSED_DEPTH_TYPE,
        header=make_header(types, stamp_ns),
        format="16UC1; compressedDepth png",
        data=np.concatenate([head, png]),
    )


def start(rig: Rig, **parameters):
    """Start with a driver of compressed depth alone; returns its node and publisher."""
    node = rig.open("driver")
    depths = node.advertise("/depth/compressedDepth", COMPRESSED_DEPTH_TYPE, Qos())
    infos = node.advertise("/camera_info", "sensor_msgs/msg/CameraInfo", Qos())
    rig.start(depth_topics=("/depth/compressedDepth",), **parameters)
    wait_until(lambda: depths.count_subscribers() and infos.count_subscribers(), "depth is read")
    infos.publish(make_camera_info(node.types))
    return node, depths


def test_compressed_depth_places_instances(rig):
    node, depths = start(rig)
    places = Inbox(rig.client, "/vl2/detections_3d", "vision_msgs/msg/Detection3DArray", Qos())
    camera = rig.open_camera()
    depths.publish(make_compressed_depth(node.types, 1 * MS, np.full((16, 24), 2000, np.uint16)))
    rig.show(camera, 1 * MS)
    rig.command("a")
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.message) == (Status.OK, "")
    (array,) = places.wait()
    center = array.detections[0].bbox.center.position
    np.testing.assert_allclose((center.x, center.y, center.z), (-0.85, -0.45, 2.0), atol=1e-6)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (lambda message: setattr(message, "data", message.data[:60]), "truncated or damaged"),
        (lambda message: setattr(message, "format", "8UC1; compressedDepth png"), "8UC1"),
    ],
)
def test_damaged_depth_is_said_and_the_answer_stands(rig, fault, expected):
    node, depths = start(rig)
    camera = rig.open_camera()
    message = make_compressed_depth(node.types, 1 * MS, np.full((16, 24), 2000, np.uint16))
    fault(message)
    depths.publish(message)
    rig.show(camera, 1 * MS)
    rig.command("a")
    (result,) = rig.results.wait_for("a")
    assert result.status == Status.OK
    assert "nothing is placed in space: camera image" in result.message
    assert expected in result.message
    assert len(result.instances) == 2


def test_depth_over_the_limit_of_pixels_is_not_decoded(rig):
    node, depths = start(rig, max_image_pixels=24 * 16)
    camera = rig.open_camera()
    depths.publish(make_compressed_depth(node.types, 1 * MS, np.full((32, 48), 2000, np.uint16)))
    rig.show(camera, 1 * MS)
    rig.command("a")
    (result,) = rig.results.wait_for("a")
    assert "has 48x32 pixels, the limit is 384" in result.message


def test_raw_depth_is_read_as_before(rig):
    depth = Depth(rig)
    node = depth.drive(RAW)
    publisher = node.advertise(RAW, DEPTH_TYPE, Qos())
    match = depth.input.match(1 * MS, (16, 24))
    publisher.publish(make_depth(node.types, 1 * MS, np.full((16, 24), 1500, np.uint16)))
    info = rig.open("calibration").advertise(
        "/camera/camera_info", "sensor_msgs/msg/CameraInfo", Qos()
    )
    info.publish(make_camera_info(node.types))
    wait_until(lambda: match.camera_info is not None, "the calibration has come")
    wait_until(lambda: match.read((16, 24)) is not None, "the depth has come")
    assert match.read((16, 24)).depth.unit_m == 1e-3

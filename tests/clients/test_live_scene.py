from __future__ import annotations

import pytest

from tests.node.wire import make_header, wait_until
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.clients.live_scene import follow_scene
from vl2_ros.node.transport import Qos
from vl2_ros.transports.memory import MemoryBus, MemoryTransport
from vl2_ros.views.live.placed_box import PlacedBox


class Scene:
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.wants_boxes = True
        self.shown: list[tuple[int, str, list[PlacedBox]]] = []

    def show_boxes(self, stamp_ns: int, frame_id: str, boxes: list[PlacedBox]) -> None:
        self.shown.append((stamp_ns, frame_id, boxes))


@pytest.fixture
def pair():
    bus = MemoryBus()
    transports = [MemoryTransport(bus, name) for name in ("vl2", "vl2_view")]
    yield transports
    for transport in transports:
        transport.close()


def make_detections(types, stamp_ns: int):
    make = types.make
    position = make("geometry_msgs/msg/Point", x=0.25, y=-0.5, z=1.5)
    pose = make("geometry_msgs/msg/Pose", position=position)
    size = make("geometry_msgs/msg/Vector3", x=0.1, y=0.2, z=0.3)
    hypothesis = make("vision_msgs/msg/ObjectHypothesis", class_id="mug", score=0.9)
    detection = make(
        "vision_msgs/msg/Detection3D",
        results=[make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=hypothesis)],
        bbox=make("vision_msgs/msg/BoundingBox3D", center=pose, size=size),
    )
    header = make_header(types, stamp_ns, "camera_optical")
    return make("vision_msgs/msg/Detection3DArray", header=header, detections=[detection])


def test_boxes_of_the_node_are_shown(pair):
    node, view = pair
    scene = Scene()
    follow_scene(view, PerceptionClient(view), scene)
    topic = node.advertise("~/detections_3d", "vision_msgs/msg/Detection3DArray", Qos())
    topic.publish(make_detections(node.types, 2_000_000_003))
    wait_until(lambda: scene.shown, "the boxes have come")
    stamp_ns, frame_id, boxes = scene.shown[-1]
    assert (stamp_ns, frame_id) == (2_000_000_003, "camera_optical")
    assert boxes == [PlacedBox("mug 0.90", (0.25, -0.5, 1.5), (0.1, 0.2, 0.3))]


def test_nothing_is_read_while_nobody_looks(pair):
    node, view = pair
    scene = Scene()
    scene.wants_boxes = False
    follow_scene(view, PerceptionClient(view), scene)
    later: list[object] = []
    view.subscribe("/later", "std_msgs/msg/String", Qos(), later.append)
    boxes = node.advertise("~/detections_3d", "vision_msgs/msg/Detection3DArray", Qos())
    boxes.publish(make_detections(node.types, 1))
    node.advertise("/later", "std_msgs/msg/String", Qos()).publish(
        node.types.make("std_msgs/msg/String")
    )
    wait_until(lambda: later, "what was published later has come")
    assert not scene.shown

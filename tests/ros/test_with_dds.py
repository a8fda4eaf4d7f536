"""Plain DDS and ROS 2 in one domain: camera, node and client on either, both ways."""

from __future__ import annotations

import time

import pytest

from tests.node.wire import Inbox, make_image, stamp_of, wait_until
from vl2_ros.node.messages.result_messages import RESULT
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.request import Status
from vl2_ros.node.server import PerceptionServer
from vl2_ros.node.transport import Qos
from vl2_ros.transports.dds.transport import DdsTransport

pytestmark = pytest.mark.ros


def ask(transport, text: str):
    """Show an image to /vl2 and ask about it; returns the result and the detections."""
    results = Inbox(transport, "/vl2/result", RESULT.type_name, Qos())
    detections = Inbox(transport, "/vl2/detections", "vision_msgs/msg/Detection2DArray", Qos())
    camera = transport.advertise("/image", "sensor_msgs/msg/Image", Qos(depth=1))
    commands = transport.advertise("/vl2/vision_command", "vl2_ros/msg/VisionCommand", Qos())
    wait_until(lambda: camera.count_subscribers() and commands.count_subscribers(), "it listens")
    wait_until(lambda: transport.count_publishers("/vl2/result") > 0, "results are offered")
    numbers = iter(range(1, 100))

    def try_once() -> bool:
        # The node may find camera, commands and inboxes later than they find it; then it is asked
        # again.
        number = next(numbers)
        camera.publish(make_image(transport.types, number * 1_000_000))
        command = transport.types.make(
            "vl2_ros/msg/VisionCommand", id=f"{number}", text=text, deadline_s=5.0
        )
        commands.publish(command)
        end_s = time.monotonic() + 2.0
        while time.monotonic() < end_s and not (detections.list() and results.list()):
            time.sleep(0.01)
        return bool(detections.list()) and any(one.status == Status.OK for one in results.list())

    wait_until(try_once, "results and detections come")
    return results.list()[-1], detections.list()[-1]


def check(result, detections) -> None:
    assert (result.status, result.command_text) == (Status.OK, "segment die Tasse 赤い")
    assert [one.label for one in result.instances] == ["mug", "bowl"]
    assert sum(result.instances[0].mask.counts) == 16 * 24
    assert [one.results[0].hypothesis.class_id for one in detections.detections] == ["mug", "bowl"]
    assert stamp_of(result) > 0


def test_dds_process_asks_the_ros_node(running, client, dds_domain):
    running.start()
    client.activate()
    transport = DdsTransport("laptop")
    try:
        check(*ask(transport, "segment die Tasse 赤い"))

        def are_named() -> bool:
            named = {name for name, _ in client.node.get_node_names_and_namespaces()}
            return {"laptop", "vl2"} <= named

        wait_until(are_named, "ROS 2 names both")
    finally:
        transport.close()


def test_ros_process_asks_the_dds_node(running, client, dds_domain):
    transport = DdsTransport("vl2")
    parameters = NodeParameters(max_frame_age_s=0.0)
    server = PerceptionServer(running.perceiver, transport, parameters)
    server.start()
    try:
        check(*ask(client.transport, "segment die Tasse 赤い"))
        (endpoint,) = client.node.get_publishers_info_by_topic("/vl2/result")
        assert (endpoint.node_name, endpoint.topic_type) == ("vl2", "vl2_ros/msg/VisionResult")
        assert str(endpoint.topic_type_hash).startswith("RIHS01_")
    finally:
        server.stop()
        transport.close()


@pytest.mark.parametrize(
    "type_name",
    [
        "vl2_ros/msg/VisionCommand",
        "vl2_ros/msg/VisionResult",
        "vl2_ros/msg/InstanceArray",
        "vision_msgs/msg/Detection2DArray",
        "vision_msgs/msg/Detection3DArray",
        "visualization_msgs/msg/MarkerArray",
        "diagnostic_msgs/msg/DiagnosticArray",
        "sensor_msgs/msg/Image",
    ],
)
def test_type_hashes_are_those_of_ros(client, type_name):
    """Equal hashes mean equal fields, down to the last nested one."""
    from vl2_ros.transports.message_types import StoreMessageTypes

    client.transport.advertise("/hashed", type_name, Qos())
    find = client.node.get_publishers_info_by_topic
    wait_until(lambda: len(find("/hashed")) == 1, "the publisher is known")
    (endpoint,) = find("/hashed")
    if not hasattr(endpoint, "topic_type_hash"):
        pytest.skip("ros: types have no hashes before Iron")
    expected = StoreMessageTypes().hash_type(type_name)
    assert str(endpoint.topic_type_hash) == expected

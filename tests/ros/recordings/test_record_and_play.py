"""A run that is recorded from ROS 2 and played back: the same bytes, and the same results again.

What `ros2 bag` does in C++, done by rclpy's raw subscriptions and publishers and by rosbags.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from tests.node.wire import wait_until
from tests.ros.running_node import RosClient
from vl2_ros.node.messages.result_messages import (
    LABEL_INFO,
    RESULT,
    RESULT_TOPICS,
    ROUTE_TOPICS,
    SPATIAL_TOPICS,
)
from vl2_ros.recordings.bag import read_images
from vl2_ros.structures import Route
from vl2_ros.transports.message_types import StoreMessageTypes

pytestmark = pytest.mark.ros

TYPES = StoreMessageTypes()
INPUTS = {"/image": "sensor_msgs/msg/Image", "/vl2/vision_command": "vl2_ros/msg/VisionCommand"}
RESULTS = {topic.name.replace("~", "/vl2"): topic.type_name for topic in RESULT_TOPICS}
#: Each opens a route; together they have a message on every topic that needs no depth.
SENTENCE = "find it, point at it, segment it, pose it, paint it"
ROUTES = (Route.DETECT, Route.GROUND, Route.SEGMENT, Route.POSE, Route.GENERATE)

Messages = dict[str, list[bytes]]


class Recorder:
    """Keeps what comes on topics, as bytes."""

    def __init__(self, client: RosClient, topics: Mapping[str, str]) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile

        from vl2_ros.transports.ros.message_types import find_class

        has = client.transport.types.has
        self.messages: Messages = {name: [] for name in topics if has(topics[name])}
        durability = {True: DurabilityPolicy.TRANSIENT_LOCAL, False: DurabilityPolicy.VOLATILE}
        for name in self.messages:
            is_latched = topics[name] in (RESULT.type_name, LABEL_INFO.type_name)
            client.node.create_subscription(
                find_class(topics[name]),
                name,
                self.messages[name].append,
                QoSProfile(depth=100, durability=durability[is_latched]),
                raw=True,
            )

    def wait(self, names: set[str]) -> None:
        """Wait for a message on each of these topics."""
        wait_until(
            lambda: all(self.messages[name] for name in names),
            f"messages on {sorted(names)}",
        )


def play(client: RosClient, path: Path, topics: Mapping[str, str]) -> None:
    """Publish the recorded bytes of topics, each under the name that is given for it."""
    from rclpy.qos import DurabilityPolicy, QoSProfile

    from vl2_ros.transports.ros.message_types import find_class

    qos = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    with Reader(path) as reader:
        publishers = {
            one.topic: client.node.create_publisher(find_class(one.msgtype), topics[one.topic], qos)
            for one in reader.connections
            if one.topic in topics
        }
        for publisher in publishers.values():
            wait_until(lambda one=publisher: one.get_subscription_count() > 0, "it is received")
        for connection, _, data in reader.messages():
            if connection.topic in topics:
                publishers[connection.topic].publish(bytes(data))


def write(path: Path, messages: Messages) -> None:
    """Write a rosbag2 folder."""
    types = INPUTS | RESULTS
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for name in messages:
            connection = writer.add_connection(name, types[name], typestore=TYPES.typestore)
            for data in messages[name]:
                writer.write(connection, time.time_ns(), data)


def read(path: Path) -> Messages:
    """Read every message of a rosbag2 folder, as bytes."""
    with Reader(path) as reader:
        messages: Messages = {one.topic: [] for one in reader.connections}
        for connection, _, data in reader.messages():
            messages[connection.topic].append(bytes(data))
    return messages


def strip_times(data: bytes) -> Any:
    """Read a result and empty what is measured."""
    result = TYPES.deserialize(data, RESULT.type_name)
    result.stage_times = []
    return bytes(TYPES.serialize(result))


@pytest.fixture
def recorded(running, client, tmp_path) -> Path:
    """The folder of a recording of one answer, with the inputs and every topic of results."""
    running.start()
    client.activate()
    recorder = Recorder(client, INPUTS | RESULTS)
    client.show_image()
    client.ask(client.listen(), "a", text=SENTENCE)
    topics = {topic.name for route in ROUTES for topic in ROUTE_TOPICS[route]}
    topics -= {topic.name for topic in SPATIAL_TOPICS}
    if not client.transport.types.has(LABEL_INFO.type_name):
        topics -= {LABEL_INFO.name}
    recorder.wait({name.replace("~", "/vl2") for name in topics} | {*INPUTS})
    write(tmp_path / "run", {name: data for name, data in recorder.messages.items() if data})
    return tmp_path / "run"


def test_a_recorded_run_is_played_back_byte_for_byte(client, recorded):
    stored = read(recorded)
    assert stored.keys() > {*INPUTS, "/vl2/result", "/vl2/generated_image"}
    (image,) = read_images(recorded, topic="/image")
    assert image.time_ns > 0 and image.message.width > 0
    played = {name: f"/played{name}" for name in stored}
    types = INPUTS | RESULTS
    recorder = Recorder(client, {played[name]: types[name] for name in stored})
    play(client, recorded, played)
    recorder.wait({*played.values()})
    assert {name: recorder.messages[played[name]] for name in stored} == stored


def test_the_inputs_of_a_recording_give_its_results_again(client, recorded):
    stored = read(recorded)
    for change in ("deactivate", "cleanup", "configure", "activate"):
        assert client.change_state(change)
    recorder = Recorder(client, {name: RESULTS[name] for name in stored if name in RESULTS})
    play(client, recorded, {name: name for name in INPUTS})
    recorder.wait({*recorder.messages})
    for name, (again,) in recorder.messages.items():
        (first,) = stored[name]
        if name == "/vl2/result":
            first, again = strip_times(first), strip_times(again)
        assert again == first, name

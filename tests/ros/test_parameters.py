"""Parameters as ROS 2's tools see them: described, bounded, changed live where that is safe."""

from __future__ import annotations

import dataclasses
import time

import pytest

from tests.node.wire import make_image, wait_until
from vl2_ros.errors import ConfigError
from vl2_ros.node.cameras.camera_topic import SETTLE_S
from vl2_ros.node.parameters import NodeParameters, ProcessParameters
from vl2_ros.node.transport import Qos
from vl2_ros.parameter_table import note_of

pytestmark = pytest.mark.ros


def test_every_parameter_is_declared_with_text_range_and_default(running, client):
    from rcl_interfaces.srv import DescribeParameters

    running.start(max_frame_age_s=1.0, command_deadline_s=10.0)
    for table in (ProcessParameters, NodeParameters):
        for item in dataclasses.fields(table):
            (described,) = client.call(
                "describe_parameters", DescribeParameters, names=[item.name]
            ).descriptors
            note = note_of(item.name, table)
            assert described.description.startswith(note.text)
            bounds = [*described.integer_range, *described.floating_point_range]
            expected = [] if note.least is None else [(note.least, note.most)]
            assert [(one.from_value, one.to_value) for one in bounds] == expected
            is_list = isinstance(item.default, tuple)
            default = (list(item.default) or [""]) if is_list else item.default
            if item.name != "autostart":
                assert client.get_parameter(item.name) == default


def test_live_parameter_changes_what_runs(running, client):
    running.start()
    client.activate()
    client.show_image()
    assert client.set_parameter("score_threshold", 0.75).successful
    assert client.get_parameter("score_threshold") == 0.75
    result = perceive(client, text="find it")
    assert [one.label for one in result.instances] == ["mug", "bowl"]
    assert running.perceiver.seen[-1][1].score_threshold == 0.75


def perceive(client, **fields):
    from rclpy.action import ActionClient
    from vl2_ros.action import Perceive

    from tests.ros.running_node import wait_for

    actions = ActionClient(client.node, Perceive, "/vl2/perceive")
    assert actions.wait_for_server(30.0)
    command = client.make("vl2_ros/msg/VisionCommand", **fields)
    handle = wait_for(actions.send_goal_async(Perceive.Goal(command=command)), "goal")
    result = wait_for(handle.get_result_async(), "result").result.result
    actions.destroy()
    return result


def test_fixed_parameter_is_refused_while_configured_and_taken_before(running, client):
    running.start()
    assert client.set_parameter("queue_size", 3).successful
    assert client.change_state("configure")
    refused = client.set_parameter("queue_size", 5)
    assert not refused.successful
    assert "queue_size does not change while the node is configured" in refused.reason
    assert client.get_parameter("queue_size") == 3
    refused = client.set_parameter("weights", "elsewhere")
    assert not refused.successful and "weights" in refused.reason


def test_changes_at_once_are_all_made_or_none(running, client):
    from rcl_interfaces.srv import SetParametersAtomically
    from rclpy.parameter import Parameter

    running.start()
    assert client.change_state("configure")
    before = client.get_parameter("score_threshold")
    changes = [Parameter("score_threshold", value=0.75), Parameter("weights", value="elsewhere")]
    refused = client.call(
        "set_parameters_atomically",
        SetParametersAtomically,
        parameters=[change.to_parameter_msg() for change in changes],
    ).result
    assert not refused.successful and "weights does not change" in refused.reason
    assert client.get_parameter("score_threshold") == before
    assert client.get_parameter("weights") == ""


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("score_threshold", 1.5, "range"),
        ("queue_size", 0, "range"),
        ("image_transport", "smoke", "image_transport must be one of auto, raw, compressed"),
        ("cameras", ["a", "a"], "cameras must differ"),
        ("cameras", ["", "a"], "cameras must name at least one image topic, got ['', 'a']"),
        ("depth_topics", ["a", "b"], "depth_topics must have one topic for each of the 1 cameras"),
        ("score_threshold", "high", "type"),
    ],
)
def test_bad_value_is_refused_with_a_reason_and_changes_nothing(
    running, client, name, value, expected
):
    running.start()
    before = client.get_parameter(name)
    refused = client.set_parameter(name, value)
    assert not refused.successful
    assert expected in refused.reason
    assert client.get_parameter(name) == before


def reliability_of(client, topic: str) -> list[str]:
    endpoints = client.node.get_subscriptions_info_by_topic(topic)
    return [one.qos_profile.reliability.name for one in endpoints]


def test_quality_of_service_that_is_overridden_stays(running, client):
    overridden = "qos_overrides./image.subscription.reliability"
    running.start(**{overridden: "best_effort"})
    client.activate()
    for topic in ("/image", "/depth"):
        client.transport.advertise(topic, "sensor_msgs/msg/Image", Qos())
    # The one is opened again, as its publisher is reliable; the other would have been by then.
    wait_until(lambda: reliability_of(client, "/depth") == ["RELIABLE"], "depth is reliable")
    time.sleep(SETTLE_S)
    assert reliability_of(client, "/image") == ["BEST_EFFORT"]
    assert client.get_parameter(overridden) == "best_effort"
    assert client.get_parameter("qos_overrides./depth.subscription.reliability") == "system_default"


def test_quality_of_service_that_is_none_is_an_error(running, client, caplog):
    running.start(**{"qos_overrides./image.subscription.reliability": "sometimes"})
    assert client.change_state("configure")
    assert not client.change_state("activate")
    assert (
        "qos_overrides./image.subscription.reliability must be one of system_default, reliable, "
        "best_effort, got 'sometimes'"
    ) in caplog.text


def test_names_can_be_remapped(running, client):
    running.start("-r", "image:=/head/image_raw", "-r", "depth:=/head/depth", cameras=["image"])
    client.activate()
    for topic in ("image_raw", "depth", "camera_info"):
        assert len(client.node.get_subscriptions_info_by_topic(f"/head/{topic}")) == 1, topic


def test_a_remapped_camera_is_named_by_its_parameter_or_its_topic(running, client):
    running.start("-r", "image:=/camera/image_raw")
    client.activate()
    camera = client.transport.advertise("/camera/image_raw", "sensor_msgs/msg/Image", Qos(depth=1))
    inbox = client.listen()

    def is_seen() -> bool:
        camera.publish(make_image(client.transport.types))
        time.sleep(0.05)
        return running.node._server.node.report().cameras[0].received > 0

    wait_until(is_seen, "an image has come")
    for index, name in enumerate(("", "image", "/camera/image_raw")):
        result = client.ask(inbox, f"{index}", camera=name)
        assert (result.status, result.camera) == (0, "image"), name


def test_depth_topics_keep_their_places(running, client):
    """An empty one in front: the left camera must not be measured with the depth of the right."""
    running.start(cameras=["left/image", "right/image"], depth_topics=["", "right/depth"])
    client.activate()
    count = {
        topic: len(client.node.get_subscriptions_info_by_topic(topic))
        for topic in ("/left/image", "/right/image", "/right/depth", "/right/camera_info")
    }
    assert set(count.values()) == {1}, count
    assert client.node.get_subscriptions_info_by_topic("/left/camera_info") == []
    assert running.node._server.node.parameters.depth_topics == ("", "right/depth")


@pytest.mark.parametrize(
    ("name", "value"), [("cameras", "image"), ("score_threshold", 1), ("queue_size", 0)]
)
def test_value_of_another_type_or_range_is_a_config_error(running, name, value):
    """In place of a traceback, as a parameter file or a launch argument may bring it."""
    with pytest.raises(ConfigError, match=f"the parameter {name} must be like .*, got another"):
        running.start(**{name: value})

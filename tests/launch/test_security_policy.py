"""The policy for SROS 2 allows each process what it does, by the node's own tables, and no more."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from vl2_ros.node.annotated_output import ANNOTATED, ANNOTATED_COMPRESSED
from vl2_ros.node.cameras.camera_input import CameraInput
from vl2_ros.node.frames.transform_listener import TRANSFORM_TOPICS
from vl2_ros.node.hearing.heard_messages import HEARD_TOPIC
from vl2_ros.node.hearing.server import DIAGNOSTICS_TOPIC as HEARING_DIAGNOSTICS
from vl2_ros.node.hearing.vocabulary_output import VOCABULARY_TOPIC
from vl2_ros.node.messages.result_messages import RESULT, RESULT_TOPICS
from vl2_ros.node.names import resolve_topic
from vl2_ros.node.parameters import HearingParameters, NodeParameters
from vl2_ros.node.server import COMMAND_TOPIC, DIAGNOSTICS_TOPIC, VISION_COMMAND_TOPIC
from vl2_ros.node.service_calls import ACTION_NAME, SERVICES
from vl2_ros.transports.memory import MemoryBus, MemoryTransport

POLICY = Path(__file__).resolve().parents[2] / "launch" / "security" / "vl2_policy.xml"
#: What rclpy opens for every lifecycle node with parameters.
OF_STATES = ("change_state", "get_state", "get_available_states", "get_available_transitions")
OF_STATES += ("get_transition_graph",)
OF_PARAMETERS = ("describe_parameters", "get_parameter_types", "get_parameters", "list_parameters")
OF_PARAMETERS += ("set_parameters", "set_parameters_atomically")
OF_NODES = ("get_type_description",)


def read_enclave(path: str) -> dict[str, set[str]]:
    """Return the absolute names that an enclave allows, by what it may do with them."""
    allowed: dict[str, set[str]] = {}
    root = ElementTree.parse(POLICY).getroot()
    for profile in root.findall(f"./enclaves/enclave[@path='{path}']/profiles/profile"):
        node, namespace = profile.get("node", ""), profile.get("ns", "")
        for group in profile:
            for act, verdict in group.attrib.items():
                assert verdict == "ALLOW"
                names = {resolve_topic(one.text or "", node, namespace) for one in group}
                allowed.setdefault(act, set()).update(names)
    return allowed


def of_node(*names: str) -> set[str]:
    return {resolve_topic(name, "vl2", "/") for name in names}


def test_policy_has_the_version_and_the_enclaves_that_are_documented():
    root = ElementTree.parse(POLICY).getroot()
    assert root.get("version") == "0.2.0"
    paths = [one.get("path") for one in root.findall("./enclaves/enclave")]
    assert paths == ["/vl2", "/vl2_client", "/vl2_camera", "/vl2_hearing"]
    # `ros2 security generate_artifacts` takes a comment among the enclaves for one of them.
    text = POLICY.read_text()
    assert text.count("<!--") == 1 and text.index("-->") < text.index("<policy")


@pytest.fixture
def cameras() -> set[str]:
    """Return what the node may subscribe to, one form of images after the other."""
    transport, parameters = MemoryTransport(MemoryBus()), NodeParameters()
    topics = set()
    for camera in parameters.cameras:
        one = CameraInput(camera, parameters, transport, lambda image: None)
        depth = (*one.depth.depth.topics, one.depth.camera_info)
        topics |= {topic.name for topic in (*one.topics, *depth)}
    transport.close()
    assert len(topics) == 5
    return topics


def test_node_may_do_what_it_does(cameras):
    enclave = read_enclave("/vl2")
    outputs = [topic.name for topic in (*RESULT_TOPICS, ANNOTATED, ANNOTATED_COMPRESSED)]
    outputs += [
        VOCABULARY_TOPIC,
        DIAGNOSTICS_TOPIC,
        "bond",
        "/rosout",
        "/parameter_events",
        "~/transition_event",
    ]
    assert enclave["publish"] == of_node(*outputs)
    inputs = of_node(COMMAND_TOPIC, VISION_COMMAND_TOPIC, HEARD_TOPIC, "bond", "/clock")
    assert enclave["subscribe"] == inputs | of_node(*TRANSFORM_TOPICS) | cameras
    plain = (f"~/{name}" for name in (*OF_STATES, *OF_PARAMETERS, *OF_NODES))
    assert enclave["reply"] == of_node(*SERVICES, *plain)
    assert enclave["execute"] == of_node(ACTION_NAME)
    assert enclave.keys() == {"publish", "subscribe", "reply", "execute"}


def test_client_may_ask_and_hear_and_change_nothing():
    enclave = read_enclave("/vl2_client")
    commands = of_node(COMMAND_TOPIC, VISION_COMMAND_TOPIC, "/parameter_events")
    assert enclave["publish"] == commands
    assert enclave["subscribe"] == of_node(RESULT.name)
    assert enclave["request"] == of_node(*SERVICES)
    assert enclave["call"] == of_node(ACTION_NAME)
    assert enclave["reply"] == {
        f"/{name}/get_type_description" for name in ("vl2_send", "vl2_echo")
    }


def test_camera_may_send_images_and_nothing_else(cameras):
    enclave = read_enclave("/vl2_camera")
    assert enclave["publish"] == cameras | {"/parameter_events"}
    assert enclave.keys() == {"publish", "reply"}


def test_hearing_node_may_do_what_it_does_and_no_more():
    enclave = read_enclave("/vl2_hearing")
    names = "bond", "/clock", HearingParameters().audio_topic
    assert enclave["subscribe"] == {*of_node(VOCABULARY_TOPIC), *of_hearing(*names)}
    outputs = ["bond", "/rosout", "/parameter_events", "~/transition_event", HEARING_DIAGNOSTICS]
    assert enclave["publish"] == {*of_node(HEARD_TOPIC), *of_hearing(*outputs)}
    plain = (f"~/{name}" for name in (*OF_STATES, *OF_PARAMETERS, *OF_NODES))
    assert enclave["reply"] == of_hearing(*plain)
    assert enclave.keys() == {"subscribe", "publish", "reply"}


def of_hearing(*names: str) -> set[str]:
    return {resolve_topic(name, "vl2_hearing", "/") for name in names}

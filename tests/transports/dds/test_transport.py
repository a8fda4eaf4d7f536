"""Promises of DDS alone: names and bytes of ROS 2, other processes, leaving cleanly."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from cyclonedds.builtin import (
    BuiltinDataReader,
    BuiltinTopicDcpsPublication,
    BuiltinTopicDcpsSubscription,
)
from cyclonedds.domain import DomainParticipant
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy
from cyclonedds.qos import Qos as DdsQos
from cyclonedds.topic import Topic

from tests.node.wire import PATIENCE_S, Inbox, make_image, wait_until
from vl2_ros.errors import ConfigError, TransportError
from vl2_ros.node.transport import LATCHED, NEWEST_FROM_ANY, Qos
from vl2_ros.transports.dds.idl_types import IdlTypes, ros_type_name
from vl2_ros.transports.dds.transport import DdsTransport

REPOSITORY = Path(__file__).resolve().parents[3]
STRING = "std_msgs/msg/String"
IMAGE = "sensor_msgs/msg/Image"
COMMAND = "vl2_ros/msg/VisionCommand"
#: Others notice a process that vanished without a word after this lease.
LEASE_S = 10.0


@pytest.fixture
def open_node(dds_domain):
    opened = []

    def open_one(name: str = "vl2", **options) -> DdsTransport:
        opened.append(DdsTransport(name, **options))
        return opened[-1]

    yield open_one
    for transport in opened:
        transport.close()


@pytest.fixture
def start_process():
    processes = []

    def start(code: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD + code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        processes.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


CHILD = """
import sys
import numpy as np
from tests.node.wire import Inbox, make_image, wait_until
from vl2_ros.node.transport import LATCHED, NEWEST_FROM_ANY, Qos
from vl2_ros.transports.dds.transport import DdsTransport
def say(text): sys.stdout.write(text + "\\n"); sys.stdout.flush()
transport = DdsTransport("other", namespace="robot")
"""


def make_string(transport: DdsTransport, text: str):
    return transport.types.make(STRING, data=text)


def send_until_matched(publisher, message, count: int = 1) -> None:
    wait_until(lambda: publisher.count_subscribers() >= count, "the subscription matches")
    publisher.publish(message)


@pytest.mark.parametrize(
    ("dds_name", "expected"),
    [
        ("sensor_msgs::msg::dds_::Image_", "sensor_msgs/msg/Image"),
        ("HelloWorld", "HelloWorld"),
        ("a::b::c::d_", "a::b::c::d_"),
    ],
)
def test_types_of_other_programs_keep_their_names(dds_name, expected):
    assert ros_type_name(dds_name) == expected


def test_domain_comes_from_ros_unless_given(dds_domain, open_node, monkeypatch):
    assert open_node().domain_id == dds_domain
    other = dds_domain + 1
    assert open_node(domain_id=other).domain_id == other
    monkeypatch.setenv("ROS_DOMAIN_ID", "kitchen")
    with pytest.raises(ConfigError, match="ROS_DOMAIN_ID must be a number, got 'kitchen'"):
        open_node()
    with pytest.raises(ConfigError, match="0 to 232, got 233"):
        open_node(domain_id=233)


def test_domains_are_separate(dds_domain, open_node):
    here, there = open_node("here"), open_node("there", domain_id=dds_domain + 1)
    same = open_node("same")
    Inbox(there, "x", STRING, Qos())
    heard = Inbox(same, "x", STRING, Qos())
    publisher = here.advertise("x", STRING, Qos())
    send_until_matched(publisher, make_string(here, "hello"))
    heard.wait()
    assert publisher.count_subscribers() == 1
    assert there.count_publishers("x") == 0


def test_endpoints_are_named_and_described_as_ros_does(dds_domain, open_node):
    node = open_node("vl2", namespace="robot", remap={"image": "/camera/image_raw"})
    node.advertise("~/result", "vl2_ros/msg/VisionResult", LATCHED)
    Inbox(node, "image", IMAGE, NEWEST_FROM_ANY)
    observer = DomainParticipant(dds_domain)
    names = {}
    for builtin in (BuiltinTopicDcpsPublication, BuiltinTopicDcpsSubscription):
        for endpoint in BuiltinDataReader(observer, builtin).take(100):
            names[endpoint.topic_name] = endpoint
    result, image = names["rt/robot/vl2/result"], names["rt/camera/image_raw"]
    assert result.type_name == "vl2_ros::msg::dds_::VisionResult_"
    assert image.type_name == "sensor_msgs::msg::dds_::Image_"
    for endpoint, type_name in ((result, "vl2_ros/msg/VisionResult"), (image, IMAGE)):
        type_hash = node.types.hash_type(type_name)
        assert Policy.Userdata(f"typehash={type_hash};".encode()) in endpoint.qos
        assert Policy.DataRepresentation(True, False) in endpoint.qos
    assert Policy.Durability.TransientLocal in result.qos
    assert Policy.Reliability.BestEffort in image.qos
    assert Policy.History.KeepLast(1) in image.qos


def test_received_images_are_views_of_the_received_bytes(open_node):
    node = open_node()
    inbox = Inbox(node, "image", IMAGE, NEWEST_FROM_ANY)
    camera = node.advertise("image", IMAGE, Qos())
    rgb = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    send_until_matched(camera, make_image(node.types, 7, rgb=rgb))
    (message,) = inbox.wait()
    assert np.array_equal(message.data.reshape(rgb.shape), rgb)
    owner = message.data
    while isinstance(owner, np.ndarray):
        assert not owner.flags.owndata
        owner = owner.base
    assert isinstance(owner.obj, bytes) and len(owner.obj) >= rgb.size + 40


def test_a_latched_message_reaches_late_subscribers_and_only_those_who_ask(open_node):
    node, late = open_node("vl2"), open_node("late")
    publisher = node.advertise("~/result", STRING, LATCHED)
    for text in ("first", "last"):
        publisher.publish(make_string(node, text))
    asked = Inbox(late, "/vl2/result", STRING, LATCHED)
    assert [message.data for message in asked.wait()] == ["last"]
    not_asked = Inbox(late, "/vl2/result", STRING, Qos())
    wait_until(lambda: publisher.count_subscribers() == 2, "both match")
    publisher.publish(make_string(node, "new"))
    assert [message.data for message in not_asked.wait()] == ["new"]


def test_a_late_subscriber_gets_as_many_messages_as_are_kept(open_node):
    node, late = open_node("vl2"), open_node("late")
    publisher = node.advertise("x", STRING, Qos(transient_local=True, depth=3))
    for text in "abcde":
        publisher.publish(make_string(node, text))
    inbox = Inbox(late, "x", STRING, Qos(transient_local=True, depth=10))
    assert [message.data for message in inbox.wait(3)] == ["c", "d", "e"]


def test_reliability_that_does_not_match_is_logged_with_topic_and_policy(open_node, caplog):
    camera, node = open_node("camera"), open_node()
    publisher = camera.advertise("image", STRING, Qos(reliable=False))
    best_effort = Inbox(node, "image", STRING, NEWEST_FROM_ANY)
    with caplog.at_level(logging.WARNING):
        refused = Inbox(node, "image", STRING, Qos(reliable=True))
        wait_until(lambda: len(caplog.records) >= 2, "both sides have warned")
    messages = [record.getMessage() for record in caplog.records]
    assert all("topic /image" in text and "reliability" in text for text in messages)
    assert any("this node's subscription" in text for text in messages)
    assert any("this node's publisher" in text for text in messages)
    send_until_matched(publisher, make_string(camera, "hello"))
    best_effort.wait()
    assert refused.list() == []


@pytest.mark.parametrize("is_first", [True, False])
def test_a_publisher_of_another_type_is_counted_and_logged(open_node, caplog, is_first):
    camera, node = open_node("camera"), open_node()
    with caplog.at_level(logging.WARNING):
        if is_first:
            camera.advertise("image", STRING, Qos())
            wait_until(lambda: node.count_publishers("image") == 1, "the publisher is known")
        Inbox(node, "image", IMAGE, NEWEST_FROM_ANY)
        if not is_first:
            camera.advertise("image", STRING, Qos())
        wait_until(lambda: "sends std_msgs" in caplog.text, "the warning has come")
    assert "topic /image: a publisher sends std_msgs::msg::dds_::String_" in caplog.text
    assert "sensor_msgs::msg::dds_::Image_ is expected" in caplog.text
    assert node.count_publishers("image") == 1


def test_text_that_is_not_utf8_arrives_and_stops_nothing(dds_domain, open_node):
    node = open_node()
    inbox = Inbox(node, "~/vision_command", COMMAND, Qos())
    command = node.types.make(COMMAND, id="mug-7", text="find ??")
    cdr = bytes(node.types.serialize(command)).replace(b"??", b"\xff\xfe")
    writer = open_raw_writer(dds_domain, node, "rt/vl2/vision_command", COMMAND)
    for data in (cdr, bytes(node.types.serialize(command))):
        writer.write(writer.data_type(data + bytes(-len(data) % 4)))
    damaged, sound = inbox.wait(2)
    assert (damaged.id, damaged.text) == ("mug-7", "find \ufffd\ufffd")
    assert sound.text == "find ??"


def test_bytes_that_are_no_message_are_skipped_and_logged_once(dds_domain, open_node, caplog):
    node = open_node()
    inbox = Inbox(node, "names", "vl2_ros/msg/InstanceArray", Qos(depth=100))
    type_name = "vl2_ros/msg/InstanceArray"
    message = node.types.make(type_name, phrases=["x?y"] * 40)
    sound = bytes(node.types.serialize(message))
    writer = open_raw_writer(dds_domain, node, "rt/names", type_name)
    with caplog.at_level(logging.WARNING):
        for data in (sound.replace(b"?", b"\xff"),) * 2 + (sound,):
            writer.write(writer.data_type(data + bytes(-len(data) % 4)))
        inbox.wait()
    assert len(inbox.list()) == 1
    (record,) = caplog.records
    assert "topic /names: skipped a message" in record.getMessage()


def open_raw_writer(domain_id: int, node: DdsTransport, topic: str, type_name: str) -> DataWriter:
    participant = DomainParticipant(domain_id)
    sample_type = IdlTypes(node.types.typestore).sample(type_name)
    qos = DdsQos(Policy.Reliability.Reliable(0), Policy.History.KeepLast(100))
    writer = DataWriter(participant, Topic(participant, topic, sample_type), qos)
    wait_until(
        lambda: writer.get_publication_matched_status().current_count == 1, "the writer matches"
    )
    return writer


def test_a_topic_has_one_type_and_a_publisher_takes_no_other(open_node):
    node = open_node()
    publisher = node.advertise("x", STRING, Qos())
    with pytest.raises(TransportError, match=r"/x carries std_msgs.*cannot carry sensor_msgs"):
        node.subscribe("x", IMAGE, Qos(), lambda message: None)
    with pytest.raises(TransportError, match="/x carries std_msgs/msg/String, got sensor_msgs"):
        publisher.publish(node.types.make(IMAGE))
    with pytest.raises(TransportError, match="std_msgs/msg/Nothing"):
        node.advertise("y", "std_msgs/msg/Nothing", Qos())
    with pytest.raises(TransportError, match="/y"):
        node.advertise("y", STRING, Qos(depth=0))


def test_callbacks_run_one_at_a_time_and_in_order(open_node):
    node, other = open_node(), open_node("other")
    threads, texts, running = set(), [], threading.Semaphore(1)

    def store(message) -> None:
        assert running.acquire(blocking=False)
        threads.add(threading.get_ident())
        texts.append(message.data)
        running.release()

    publishers = []
    for topic in ("a", "b"):
        node.subscribe(topic, STRING, Qos(depth=1000), store)
        publishers.append(other.advertise(topic, STRING, Qos(depth=1000)))
        wait_until(lambda: publishers[-1].count_subscribers() == 1, "the subscription matches")
    for index in range(200):
        publishers[index % 2].publish(make_string(other, f"{index % 2} {index}"))
    wait_until(lambda: len(texts) == 200, "all have come")
    assert len(threads) == 1
    for start in ("0", "1"):
        numbers = [int(text.split()[1]) for text in texts if text.startswith(start)]
        assert numbers == sorted(numbers) and len(numbers) == 100


def test_nothing_happens_after_close(open_node):
    node, other = open_node(), open_node("other")
    texts = []
    node.subscribe("x", STRING, Qos(), texts.append)
    leaving = node.advertise("y", STRING, Qos())
    publisher = other.advertise("x", STRING, Qos())
    send_until_matched(publisher, make_string(other, "before"))
    wait_until(lambda: len(texts) == 1, "the message has come")
    wait_until(lambda: other.count_publishers("y") == 1, "the publisher is known")
    started = time.monotonic()
    node.close()
    node.close()
    wait_until(lambda: other.count_publishers("y") == 0, "the publisher has gone")
    wait_until(lambda: publisher.count_subscribers() == 0, "the subscription has gone")
    assert time.monotonic() - started < LEASE_S / 2
    publisher.publish(make_string(other, "after"))
    assert len(texts) == 1
    assert leaving.count_subscribers() == 0 and node.count_publishers("x") == 0
    with pytest.raises(TransportError, match="/y.*closed"):
        leaving.publish(make_string(node, "after"))
    with pytest.raises(TransportError, match="/z"):
        node.advertise("z", STRING, Qos())
    with pytest.raises(TransportError, match="/z"):
        node.subscribe("z", STRING, Qos(), texts.append)


def test_a_subscription_outlives_its_publishers(open_node):
    node = open_node()
    inbox = Inbox(node, "x", STRING, Qos())
    for text in ("first", "second"):
        camera = open_node(text)
        send_until_matched(camera.advertise("x", STRING, Qos()), make_string(camera, text))
        wait_until(lambda text=text: inbox.list()[-1:] == [make_string(node, text)], text)
        camera.close()
        wait_until(lambda: node.count_publishers("x") == 0, "the publisher has gone")


def test_a_callback_may_close_and_is_the_last_one(open_node):
    node, other = open_node(), open_node("other")
    texts, all_sent = [], threading.Event()

    def close(message) -> None:
        all_sent.wait(PATIENCE_S)
        texts.append(message.data)
        if message.data != "wait":
            node.close()

    node.subscribe("x", STRING, Qos(), close)
    publisher = other.advertise("x", STRING, Qos())
    send_until_matched(publisher, make_string(other, "wait"))
    for text in ("close", "too late", "too late"):
        publisher.publish(make_string(other, text))
    all_sent.set()
    wait_until(lambda: publisher.count_subscribers() == 0, "the node has left")
    assert texts == ["wait", "close"]


def test_closed_nodes_leave_no_threads_behind(open_node):
    def count() -> int:
        return sum(thread.name == "vl2-dds-reader" for thread in threading.enumerate())

    node = open_node()
    assert count() == 1
    node.close()
    assert count() == 0


def test_images_and_commands_cross_processes(open_node, start_process):
    node = open_node()
    images = Inbox(node, "/robot/camera", IMAGE, Qos(depth=50))
    commands = node.advertise("/vl2/vision_command", COMMAND, Qos())
    start_process("""
commands = Inbox(transport, "/vl2/vision_command", "vl2_ros/msg/VisionCommand", Qos())
camera = transport.advertise("camera", "sensor_msgs/msg/Image", Qos(depth=50))
wait_until(lambda: camera.count_subscribers() == 1, "the node listens")
say("ready")
(command,) = commands.wait()
for index in range(10):
    rgb = np.random.default_rng(index).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    camera.publish(make_image(transport.types, index, rgb=rgb, frame_id=command.text))
sys.stdin.readline()
""")
    wait_until(lambda: node.count_publishers("/robot/camera") == 1, "the camera is known")
    text = "find the red mug, Müller"
    send_until_matched(commands, node.types.make(COMMAND, text=text))
    for index, message in enumerate(images.wait(10)):
        rgb = np.random.default_rng(index).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        assert (message.header.stamp.nanosec, message.header.frame_id) == (index, text)
        assert np.array_equal(message.data.reshape(rgb.shape), rgb)


def test_a_process_that_ends_without_close_is_gone_at_once(open_node, start_process):
    node = open_node()
    process = start_process("""
publisher = transport.advertise("x", "std_msgs/msg/String", Qos())
say("ready")
sys.stdin.readline()
""")
    wait_until(lambda: node.count_publishers("/robot/x") == 1, "the publisher is known")
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.wait(PATIENCE_S) == 0
    ended = time.monotonic()
    wait_until(lambda: node.count_publishers("/robot/x") == 0, "the publisher has gone")
    assert time.monotonic() - ended < LEASE_S / 2


def test_a_receiver_that_hangs_does_not_block_the_sender(open_node, start_process):
    node = open_node()
    process = start_process("""
inbox = Inbox(transport, "/image", "sensor_msgs/msg/Image", Qos(depth=2))
say("ready")
inbox.wait(1, lambda message: message.header.stamp.nanosec == 99)
say("last")
sys.stdin.readline()
""")
    heard = Inbox(node, "/image", IMAGE, Qos(depth=200))
    camera = node.advertise("/image", IMAGE, Qos(depth=2))
    wait_until(lambda: camera.count_subscribers() == 2, "both listen")
    os.kill(process.pid, signal.SIGSTOP)
    rgb = np.zeros((480, 640, 3), np.uint8)
    started = time.monotonic()
    for index in range(100):  # 92 MB, far more than any buffer between the two
        camera.publish(make_image(node.types, index, rgb=rgb))
    # Waiting for the one that hangs would take for ever; its lease would end it at the earliest.
    assert time.monotonic() - started < LEASE_S
    stamps = [message.header.stamp.nanosec for message in heard.wait(100)]
    assert stamps == list(range(100))
    os.kill(process.pid, signal.SIGCONT)
    assert process.stdout.readline() == "last\n"


def test_without_the_dds_package_the_error_says_what_to_install():
    code = (
        "import sys\nsys.modules['cyclonedds'] = None\n"
        "from vl2_ros.errors import TransportError\n"
        "from vl2_ros.transports.dds.transport import DdsTransport\n"
        "try:\n    DdsTransport()\n"
        "except TransportError as error:\n    sys.stdout.write(str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert "pip install 'vl2_ros[dds]'" in done.stdout, done.stderr


def test_a_network_that_cannot_be_used_is_an_error(dds_domain, monkeypatch):
    uri = '<CycloneDDS><Domain><General><Interfaces><NetworkInterface name="none0"/></Interfaces>'
    uri += "</General></Domain></CycloneDDS>"
    monkeypatch.setenv("CYCLONEDDS_URI", uri)
    with pytest.raises(TransportError, match=f"domain {dds_domain} cannot be opened.*none0"):
        DdsTransport()

"""Promises of a transport by itself, without a node on it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.node.wire import Inbox, make_image, wait_until
from vl2_ros.errors import TransportError
from vl2_ros.node.transport import PublisherInfo, Qos

COMMAND = "vl2_ros/msg/VisionCommand"
STRING = "std_msgs/msg/String"


def test_publishers_are_counted_whatever_they_send(rig):
    first, second, third = rig.open("first"), rig.open("second"), rig.open("third")
    first.advertise("/topic", "std_msgs/msg/String", Qos())
    second.advertise("/topic", "sensor_msgs/msg/Image", Qos(reliable=False))
    wait_until(lambda: third.count_publishers("/topic") == 2, "both are known")
    assert third.count_publishers("/other") == 0
    second.close()
    wait_until(lambda: third.count_publishers("/topic") == 1, "the second is forgotten")


def test_publishers_are_known_by_type_and_reliability(rig):
    first, second, third = rig.open("first"), rig.open("second"), rig.open("third")
    assert third.find_publishers("/topic") == ()
    first.advertise("/topic", STRING, Qos())
    second.advertise("/topic", "sensor_msgs/msg/Image", Qos(reliable=False))
    wait_until(lambda: len(third.find_publishers("/topic")) == 2, "both are known")
    assert set(third.find_publishers("/topic")) == {
        PublisherInfo(STRING, reliable=True),
        PublisherInfo("sensor_msgs/msg/Image", reliable=False),
    }
    second.close()
    wait_until(lambda: len(third.find_publishers("/topic")) == 1, "the second is forgotten")
    assert third.find_publishers("/topic") == (PublisherInfo(STRING, reliable=True),)


def test_names_that_are_exchanged_are_remapped_once(rig):
    remap = {"/left": "/right", "/right": "/left"}
    node, other = rig.open("node", remap=remap), rig.open("other")
    other.advertise("/right", STRING, Qos())
    wait_until(lambda: len(node.find_publishers("/left")) == 1, "the publisher is known")
    assert node.find_publishers("/right") == ()


@pytest.mark.parametrize("reliable", [False, True])
def test_subscription_says_how_it_was_opened_also_the_second_time(rig, reliable):
    sender, receiver = rig.open("sender"), rig.open("receiver")
    for again in (False, True):
        qos = Qos(reliable=reliable is not again)
        subscription = receiver.subscribe("/topic", STRING, qos, lambda message: None)
        assert subscription.reliable is qos.reliable
        publisher = sender.advertise("/topic", STRING, Qos(reliable=False))
        if not qos.reliable:
            wait_until(lambda one=publisher: one.count_subscribers() == 1, "both have met")
        subscription.close()
        assert subscription.reliable is qos.reliable


def test_message_of_another_type_is_refused(rig):
    node = rig.open("node")
    publisher = node.advertise("/topic", "std_msgs/msg/String", Qos())
    with pytest.raises(TransportError, match="/topic carries std_msgs/msg/String"):
        publisher.publish(make_image(node.types))


def test_closed_node_is_not_counted_and_receives_nothing(rig):
    sender, receiver = rig.open("sender"), rig.open("receiver")
    heard: list[str] = []
    receiver.subscribe(
        "/topic", "std_msgs/msg/String", Qos(), lambda message: heard.append(message.data)
    )
    publisher = sender.advertise("/topic", "std_msgs/msg/String", Qos())
    wait_until(lambda: publisher.count_subscribers() == 1, "both have met")
    publisher.publish(sender.types.make("std_msgs/msg/String", data="before"))
    wait_until(lambda: heard == ["before"], "the message has come")
    receiver.close()
    publisher.publish(sender.types.make("std_msgs/msg/String", data="after"))
    wait_until(lambda: publisher.count_subscribers() == 0, "the receiver is gone")
    assert heard == ["before"]
    with pytest.raises(TransportError):
        receiver.subscribe("/topic", "std_msgs/msg/String", Qos(), heard.append)


def test_closed_subscription_receives_nothing_and_another_can_be_opened(rig):
    sender, receiver = rig.open("sender"), rig.open("receiver")
    first: list[str] = []
    second: list[str] = []
    publisher = sender.advertise("/topic", "std_msgs/msg/String", Qos())

    def say(text: str) -> None:
        publisher.publish(sender.types.make("std_msgs/msg/String", data=text))

    def subscribe(heard: list[str]):
        return receiver.subscribe(
            "/topic", "std_msgs/msg/String", Qos(), lambda message: heard.append(message.data)
        )

    subscription = subscribe(first)
    wait_until(lambda: publisher.count_subscribers() == 1, "both have met")
    say("before")
    wait_until(lambda: first == ["before"], "the message has come")
    subscription.close()
    subscription.close()
    wait_until(lambda: publisher.count_subscribers() == 0, "it is closed")
    say("between")
    subscribe(second)
    wait_until(lambda: publisher.count_subscribers() == 1, "both have met again")
    say("after")
    wait_until(lambda: second == ["after"], "the message has come")
    assert first == ["before"]


def test_callbacks_of_a_node_run_one_at_a_time_in_order(rig):
    sender, receiver = rig.open("sender"), rig.open("receiver")
    inside: list[int] = []
    seen: list[tuple[str, int]] = []

    def listen(topic: str, message) -> None:
        inside.append(1)
        time.sleep(0.001)
        seen.append((topic, int(message.data)))
        assert len(inside) == 1
        inside.clear()

    publishers = {}
    for topic in ("/first", "/second"):
        receiver.subscribe(
            topic,
            "std_msgs/msg/String",
            Qos(depth=100),
            lambda message, topic=topic: listen(topic, message),
        )
        publishers[topic] = sender.advertise(topic, "std_msgs/msg/String", Qos(depth=100))
    for publisher in publishers.values():
        wait_until(lambda one=publisher: one.count_subscribers() == 1, "both have met")
    for number in range(50):
        for publisher in publishers.values():
            publisher.publish(sender.types.make("std_msgs/msg/String", data=str(number)))
    wait_until(lambda: len(seen) == 100, "all have come")
    for topic in publishers:
        assert [number for name, number in seen if name == topic] == list(range(50))


def test_whole_numbers_fit_every_field_of_numbers(rig):
    sender, receiver = rig.open("sender"), rig.open("receiver")
    inbox = Inbox(receiver, "/topic", COMMAND, Qos())
    publisher = sender.advertise("/topic", COMMAND, Qos())
    wait_until(lambda: publisher.count_subscribers() == 1, "both have met")
    publisher.publish(sender.types.make(COMMAND, deadline_s=60, rate_hz=np.float32(0.5), mode=1))
    (message,) = inbox.wait()
    assert (message.deadline_s, message.rate_hz, message.mode) == (60.0, 0.5, 1)

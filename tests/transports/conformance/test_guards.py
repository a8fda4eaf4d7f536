"""A callback that raises affects neither later messages nor other topics."""

from __future__ import annotations

import logging
import threading

import pytest

from tests.node.wire import Inbox, wait_until
from vl2_ros.node.transport import Qos

STRING = "std_msgs/msg/String"


class Panic(BaseException):
    """As native libraries raise one; no Exception."""


@pytest.mark.parametrize("kind", [ZeroDivisionError, Panic, SystemExit])
def test_callback_that_raises_is_logged_once_and_reading_continues(rig, caplog, kind):
    sender, receiver = rig.open("sender"), rig.open("receiver")
    heard: list[str] = []

    def fail(message) -> None:
        heard.append(message.data)
        raise kind("a bug")

    receiver.subscribe("/broken", STRING, Qos(depth=100), fail)
    other = Inbox(receiver, "/other", STRING, Qos(depth=100))
    publishers = [sender.advertise(name, STRING, Qos(depth=100)) for name in ("/broken", "/other")]
    for publisher in publishers:
        wait_until(lambda one=publisher: one.count_subscribers() == 1, "both have met")
    with caplog.at_level(logging.DEBUG):
        for number in range(5):
            for publisher in publishers:
                publisher.publish(sender.types.make(STRING, data=str(number)))
        other.wait(5)
        wait_until(lambda: len(heard) == 5, "the broken callback has got all")
        # One more round, so that the last failure has been dealt with.
        publishers[1].publish(sender.types.make(STRING, data="end"))
        other.wait(6)
    failures = [one for one in caplog.records if one.exc_info and one.exc_info[0] is kind]
    assert len(failures) == 1
    assert failures[0].levelno == logging.ERROR and "/broken" in failures[0].getMessage()
    assert receiver.failure == sender.failure == ""


def test_transport_that_is_closed_has_not_failed(rig):
    node = rig.open("node")
    node.close()
    assert node.failure == ""


def test_callback_that_blocks_loses_nothing_of_a_topic_that_keeps_all(rig):
    sender, receiver = rig.open("sender"), rig.open("receiver")
    heard: list[int] = []
    may_go_on, is_inside = threading.Event(), threading.Event()

    def listen(message) -> None:
        is_inside.set()
        may_go_on.wait(30.0)
        heard.append(int(message.data))

    qos = Qos(depth=500, keep_all=True)
    subscription = receiver.subscribe("/topic", STRING, qos, listen)
    publisher = sender.advertise("/topic", STRING, Qos(depth=500))
    wait_until(lambda: publisher.count_subscribers() == 1, "both have met")
    publisher.publish(sender.types.make(STRING, data="0"))
    assert is_inside.wait(30.0)
    for number in range(1, 400):
        publisher.publish(sender.types.make(STRING, data=str(number)))
    may_go_on.set()
    wait_until(lambda: len(heard) == 400, "all have come")
    assert heard == list(range(400))
    assert subscription.lost_count == 0

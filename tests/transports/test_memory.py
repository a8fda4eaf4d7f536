"""The memory transport beyond the conformance suite: exact behaviour of its queues."""

from __future__ import annotations

import logging
import threading

import pytest

from tests.node.wire import Inbox, wait_until
from vl2_ros.errors import ConfigError, TransportError
from vl2_ros.node.transport import Qos
from vl2_ros.transports.memory import MemoryBus, MemoryTransport

STRING = "std_msgs/msg/String"


@pytest.fixture
def nodes():
    bus = MemoryBus()
    nodes = [MemoryTransport(bus, name) for name in ("sender", "receiver")]
    yield nodes
    for node in nodes:
        node.close()


def make_text(node: MemoryTransport, text: str):
    return node.types.make(STRING, data=text)


def test_message_is_passed_without_a_copy(nodes):
    sender, receiver = nodes
    inbox = Inbox(receiver, "/topic", STRING, Qos())
    message = make_text(sender, "hello")
    sender.advertise("/topic", STRING, Qos()).publish(message)
    assert inbox.wait()[0] is message


@pytest.mark.parametrize("depth", [1, 3])
def test_full_queue_drops_the_oldest(nodes, depth):
    sender, receiver = nodes
    heard: list[str] = []
    may_go_on, is_inside = threading.Event(), threading.Event()

    def listen(message) -> None:
        heard.append(message.data)
        is_inside.set()
        assert may_go_on.wait(30.0)

    receiver.subscribe("/topic", STRING, Qos(depth=depth), listen)
    publisher = sender.advertise("/topic", STRING, Qos())
    publisher.publish(make_text(sender, "0"))
    assert is_inside.wait(30.0)
    for number in range(1, 10):
        publisher.publish(make_text(sender, str(number)))
    may_go_on.set()
    wait_until(lambda: len(heard) == depth + 1, "the queue is empty")
    publisher.publish(make_text(sender, "last"))
    wait_until(lambda: heard[-1] == "last", "the last has come")
    assert heard == ["0", *(str(number) for number in range(10 - depth, 10)), "last"]


def test_full_queue_that_keeps_all_refuses_the_newest_and_logs_it(nodes, caplog):
    sender, receiver = nodes
    heard: list[str] = []
    may_go_on, is_inside = threading.Event(), threading.Event()

    def listen(message) -> None:
        is_inside.set()
        assert may_go_on.wait(30.0)
        heard.append(message.data)

    subscription = receiver.subscribe("/topic", STRING, Qos(depth=3, keep_all=True), listen)
    publisher = sender.advertise("/topic", STRING, Qos())
    publisher.publish(make_text(sender, "0"))
    assert is_inside.wait(30.0)
    for number in range(1, 10):
        publisher.publish(make_text(sender, str(number)))
    may_go_on.set()
    wait_until(lambda: len(heard) == 4, "the queue is empty")
    publisher.publish(make_text(sender, "last"))
    wait_until(lambda: heard[-1] == "last", "the last has come")
    assert heard == ["0", "1", "2", "3", "last"]
    assert subscription.lost_count == 6
    (record,) = caplog.records
    assert "/topic: a message is lost, 3 of them wait" in record.getMessage()


def test_what_is_overwritten_for_the_newest_is_counted_and_not_logged(nodes, caplog):
    sender, receiver = nodes
    may_go_on = threading.Event()
    subscription = receiver.subscribe(
        "/topic", STRING, Qos(depth=1), lambda message: may_go_on.wait(30.0)
    )
    publisher = sender.advertise("/topic", STRING, Qos())
    for number in range(10):
        publisher.publish(make_text(sender, str(number)))
    may_go_on.set()
    assert subscription.lost_count >= 8
    assert caplog.records == []


def test_thread_that_ends_says_why(nodes, monkeypatch, caplog):
    sender, receiver = nodes
    Inbox(receiver, "/topic", STRING, Qos())

    def fail() -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(receiver, "_run_callback", fail)
    sender.advertise("/topic", STRING, Qos()).publish(make_text(sender, "wake up"))
    wait_until(lambda: receiver.failure != "", "the thread has ended")
    assert "no room" in receiver.failure and sender.failure == ""
    assert [one.levelname for one in caplog.records] == ["CRITICAL"]
    receiver.close()


@pytest.mark.parametrize("latched", [0, 2])
def test_late_subscriber_gets_no_more_than_is_kept_for_it(nodes, latched):
    sender, receiver = nodes
    qos = Qos(transient_local=True, depth=100, latched=latched)
    publisher = sender.advertise("/topic", STRING, qos)
    for number in range(10):
        publisher.publish(make_text(sender, str(number)))
    inbox = Inbox(receiver, "/topic", STRING, Qos(transient_local=True, depth=100))
    publisher.publish(make_text(sender, "end"))
    inbox.wait(1, lambda message: message.data == "end")
    assert [one.data for one in inbox.list()] == [*["8", "9"][:latched], "end"]


@pytest.mark.parametrize(("kept", "asked"), [(3, 10), (10, 3), (10, 1), (1, 10)])
def test_late_subscriber_gets_as_many_as_both_sides_keep(nodes, kept, asked):
    sender, receiver = nodes
    publisher = sender.advertise("/topic", STRING, Qos(transient_local=True, depth=kept))
    for number in range(20):
        publisher.publish(make_text(sender, str(number)))
    inbox = Inbox(receiver, "/topic", STRING, Qos(transient_local=True, depth=asked))
    count = min(kept, asked)
    inbox.wait(count)
    publisher.publish(make_text(sender, "end"))
    inbox.wait(1, lambda message: message.data == "end")
    assert [one.data for one in inbox.list()] == [
        *(str(number) for number in range(20 - count, 20)),
        "end",
    ]


@pytest.mark.parametrize(
    ("offered", "asked", "type_name", "policy"),
    [
        (Qos(reliable=False), Qos(reliable=True), STRING, "reliability"),
        (Qos(), Qos(transient_local=True), STRING, "durability"),
        (Qos(), Qos(), "std_msgs/msg/Header", "types"),
    ],
)
@pytest.mark.parametrize("subscriber_first", [False, True])
def test_mismatch_is_named_and_carries_nothing(
    nodes, offered, asked, type_name, policy, subscriber_first, caplog
):
    sender, receiver = nodes
    heard: list = []
    with caplog.at_level(logging.WARNING):
        if subscriber_first:
            receiver.subscribe("/topic", type_name, asked, heard.append)
        publisher = sender.advertise("/topic", STRING, offered)
        if not subscriber_first:
            receiver.subscribe("/topic", type_name, asked, heard.append)
    assert publisher.count_subscribers() == 0
    assert receiver.count_publishers("/topic") == 1
    publisher.publish(make_text(sender, "lost"))
    inbox = Inbox(receiver, "/topic", STRING, Qos(reliable=False))
    publisher.publish(make_text(sender, "found"))
    assert inbox.wait()[0].data == "found"
    assert heard == []
    (record,) = caplog.records
    assert "/topic" in record.getMessage() and policy in record.getMessage()


def test_buses_are_separate(nodes):
    sender, _ = nodes
    stranger = MemoryTransport(MemoryBus())
    stranger.subscribe("/topic", STRING, Qos(), lambda message: None)
    assert sender.advertise("/topic", STRING, Qos()).count_subscribers() == 0
    stranger.close()


def test_node_receives_its_own_messages(nodes):
    sender, _ = nodes
    inbox = Inbox(sender, "~/topic", STRING, Qos())
    sender.advertise("/sender/topic", STRING, Qos()).publish(make_text(sender, "echo"))
    inbox.wait()


def test_closed_node_refuses_and_closing_twice_is_harmless(nodes):
    sender, _ = nodes
    publisher = sender.advertise("/topic", STRING, Qos())
    sender.close()
    sender.close()
    with pytest.raises(TransportError, match="closed"):
        publisher.publish(make_text(sender, "late"))
    with pytest.raises(TransportError, match="closed"):
        sender.advertise("/topic", STRING, Qos())


def test_callback_may_close_its_own_node(nodes):
    sender, receiver = nodes
    receiver.subscribe("/topic", STRING, Qos(), lambda message: receiver.close())
    publisher = sender.advertise("/topic", STRING, Qos())
    publisher.publish(make_text(sender, "end"))
    wait_until(lambda: publisher.count_subscribers() == 0, "the node has closed itself")


def test_name_that_is_no_ros_name_is_refused(nodes):
    with pytest.raises(ConfigError, match="no ROS name"):
        nodes[0].advertise("/a b", STRING, Qos())

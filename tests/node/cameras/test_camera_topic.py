"""A camera's topic is subscribed as its publishers offer, and again when they change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.node.wire import make_image, wait_until
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.errors import TransportError
from vl2_ros.node.cameras.camera_topic import SETTLE_S, CameraTopic, SettledChoice
from vl2_ros.node.transport import Qos

IMAGE = "sensor_msgs/msg/Image"
RELIABLE, BEST_EFFORT = Qos(), Qos(reliable=False)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.close()


class Watched:
    """A topic in a node of its own, whose publishers come and go; time is the test's."""

    def __init__(self, rig: Rig, reliability: str = "auto") -> None:
        self._rig = rig
        self.taken: list[int] = []
        self.topic = CameraTopic("image", IMAGE, reliability, 1, rig.open("vl2"), self.taken.append)
        self.now_s = 100.0

    def publish(self, qos: Qos, type_name: str = IMAGE):
        """Return a node that publishes."""
        node = self._rig.open("camera")
        node.advertise("image", type_name, qos)
        return node

    def settle(self) -> bool:
        """Look until what is there now has lasted; returns whether it was subscribed again."""
        again = self.topic.update(self.now_s)
        self.now_s += SETTLE_S
        again |= self.topic.update(self.now_s)
        return again


@pytest.mark.parametrize(
    ("offers", "expected"),
    [
        ([], False),
        ([RELIABLE], True),
        ([BEST_EFFORT], False),
        ([RELIABLE, RELIABLE], True),
        ([RELIABLE, BEST_EFFORT], False),
    ],
)
def test_reliable_where_every_publisher_is(rig, offers, expected):
    watched = Watched(rig)
    for qos in offers:
        watched.publish(qos)
    watched.topic.open()
    assert watched.topic.reliable is expected
    assert not watched.settle()


def test_publishers_of_another_type_do_not_count(rig):
    watched = Watched(rig)
    watched.publish(RELIABLE)
    watched.publish(BEST_EFFORT, "std_msgs/msg/String")
    watched.topic.open()
    assert watched.topic.reliable
    assert len(watched.topic.list_publishers()) == 1
    assert len(watched.topic.list_all_publishers()) == 2


def test_later_publishers_are_followed(rig):
    watched = Watched(rig)
    watched.topic.open()
    first = watched.publish(RELIABLE)
    assert watched.settle() and watched.topic.reliable
    second = watched.publish(BEST_EFFORT)
    assert watched.settle() and not watched.topic.reliable
    second.close()
    assert watched.settle() and watched.topic.reliable
    # A driver that starts again changes nothing.
    first.close()
    assert not watched.settle()
    watched.publish(RELIABLE)
    assert not watched.settle() and watched.topic.reliable


def test_a_publisher_that_comes_and_goes_changes_nothing(rig):
    watched = Watched(rig)
    watched.publish(RELIABLE)
    watched.topic.open()
    for _ in range(20):
        other = watched.publish(BEST_EFFORT)
        for _ in range(4):
            assert not watched.topic.update(watched.now_s)
            watched.now_s += 0.2 * SETTLE_S
        other.close()
        assert not watched.topic.update(watched.now_s)
    assert watched.topic.reliable


@pytest.mark.parametrize("reliability", ["reliable", "best_effort"])
def test_a_choice_of_the_user_is_kept(rig, reliability):
    watched = Watched(rig, reliability)
    watched.publish(Qos(reliable=reliability != "reliable"))
    watched.topic.open()
    assert not watched.settle()
    assert watched.topic.reliable is (reliability == "reliable")


def test_it_receives_after_each_change_and_adds_up_what_was_lost(rig):
    watched = Watched(rig)
    watched.topic.open()
    for index, qos in enumerate((RELIABLE, BEST_EFFORT, RELIABLE)):
        node = rig.open("camera")
        publisher = node.advertise("image", IMAGE, qos)
        watched.settle()
        assert publisher.count_subscribers() == 1
        watched.topic._subscription.lost_count += 5
        publisher.publish(make_image(node.types))
        wait_until(lambda count=index + 1: len(watched.taken) == count, "the image has come")
        node.close()
    assert watched.topic.lost_count == 15
    watched.topic.close()
    watched.topic.close()
    assert watched.topic.lost_count == 15 and not watched.topic.reliable
    assert not watched.settle()


def test_a_choice_changes_once_another_has_been_better_for_a_while():
    choice = SettledChoice("raw")
    assert not choice.update("raw", 0.0)
    assert not choice.update("compressed", 10.0)
    assert not choice.update("compressed", 10.0 + 0.9 * SETTLE_S)
    assert not choice.update("raw", 10.0 + 0.95 * SETTLE_S)
    assert not choice.update("compressed", 11.0 * SETTLE_S)
    assert not choice.update("compressed", 11.9 * SETTLE_S)
    assert choice.value == "raw"
    assert choice.update("compressed", 12.0 * SETTLE_S)
    assert choice.value == "compressed"
    assert not choice.update("compressed", 20.0 * SETTLE_S)


def test_a_subscription_that_failed_is_opened_in_the_next_round(rig, monkeypatch):
    watched = Watched(rig)
    watched.topic.open()
    watched.publish(RELIABLE)
    transport = watched.topic._transport
    plain = transport.subscribe

    def fail(*words: object) -> None:
        raise TransportError("out of resources")

    monkeypatch.setattr(transport, "subscribe", fail)
    with pytest.raises(TransportError):
        watched.settle()
    assert not watched.topic.reliable
    monkeypatch.setattr(transport, "subscribe", plain)
    assert watched.topic.update(watched.now_s)
    assert watched.topic.reliable

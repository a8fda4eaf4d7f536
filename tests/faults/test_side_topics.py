"""`~/result` is published whatever happens to another topic, and says what was not sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.node.wire import Inbox, wait_until
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.errors import TransportError
from vl2_ros.node import annotated_output
from vl2_ros.node.messages import result_messages
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos

MS = 1_000_000


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    yield rig
    rig.close()


def test_a_topic_that_cannot_be_sent_is_reported_in_the_result(rig, monkeypatch):
    detections, segments = rig.subscribe("~/detections"), rig.subscribe("~/segmentation")
    publish = rig.harness.bus.publish

    def fail(publisher, message):
        if publisher.topic == "/vl2/detections":
            raise TransportError("no room")
        publish(publisher, message)

    monkeypatch.setattr(rig.harness.bus, "publish", fail)
    rig.command("a", "segment it")
    (result,) = rig.results.wait_for("a")
    assert (result.status, len(result.instances)) == (Status.OK, 2)
    assert "nothing was sent on ~/detections: TransportError: no room" in result.message
    segments.wait(1)
    assert detections.list() == []


@pytest.mark.parametrize("maker", ["DETECTIONS", "SEGMENTATION", "LABEL_IMAGE", "LABEL_INFO"])
def test_a_message_that_cannot_be_made_is_reported_in_the_result(rig, monkeypatch, maker):
    topic = getattr(result_messages, maker)
    rig.subscribe(topic.name)

    make = result_messages.ResultMessages.make_messages

    def fail(self, made, parts):
        if made is topic:
            raise MemoryError("too large")
        return make(self, made, parts)

    monkeypatch.setattr(result_messages.ResultMessages, "make_messages", fail)
    rig.command("a", "segment it")
    (result,) = rig.results.wait_for("a")
    assert (result.status, len(result.instances)) == (Status.OK, 2)
    assert topic.name in result.message and "too large" in result.message


def test_an_overlay_that_cannot_be_drawn_costs_no_result_and_no_later_overlay(
    rig, monkeypatch, caplog
):
    annotated = rig.subscribe("~/annotated")

    def fail(*_, **__):
        raise ZeroDivisionError("no font")

    monkeypatch.setattr(annotated_output, "draw_overlay", fail)
    rig.command("a", "find it")
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.message) == (Status.OK, "")
    wait_until(lambda: "no font" in caplog.text, "it is logged")
    assert "publishing ~/annotated failed" in caplog.text
    monkeypatch.undo()
    rig.command("b", "find it")
    annotated.wait(1)


def test_an_answer_that_cannot_be_written_is_a_failed_result(rig, monkeypatch):
    def fail(*_):
        raise ValueError("mask of another size")

    monkeypatch.setattr(result_messages.InstanceMessages, "make_instances", fail)
    rig.command("a", "find it")
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.is_final) == (Status.FAILED, True)
    assert "cannot be written: ValueError: mask of another size" in result.message
    rig.command("b", "hello")
    assert rig.results.wait_for("b")[0].status == Status.OK


def test_late_subscribers_still_get_the_result(rig):
    rig.command("a", "find it")
    rig.results.wait_for("a")
    late = Inbox(rig.client, "/vl2/result", "vl2_ros/msg/VisionResult", Qos(transient_local=True))
    assert late.wait(1)[0].command_id == "a"

"""A failure whose text is broken, or on the way out of an answer, costs the sender no result."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.node.stepwise_perceiver import StepwisePerceiver, ask, make_image, running_node
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.errors import EngineError, TransportError
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Publisher
from vl2_ros.structures import ModelInfo

MS = 1_000_000


class MuteError(Exception):
    """An error that has no text, as extension modules have."""

    def __str__(self) -> str:
        raise MuteError

    __repr__ = __str__


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    yield rig
    rig.close()


def test_an_error_that_cannot_be_shown_is_a_failed_answer():
    perceiver = StepwisePerceiver(failures={"mute": MuteError()})
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a", "mute", deadline_s=1.0))
        answer = log.wait_for_final("a")
        assert answer.status is Status.FAILED and "MuteError" in answer.message
        assert node.report().is_worker_alive
        node.submit(ask("b"))
        assert log.wait_for_final("b").status is Status.OK


def test_a_listener_whose_error_cannot_be_shown_keeps_no_other_from_its_answer():
    def fail(answer):
        raise MuteError

    with running_node(StepwisePerceiver()) as (node, log):
        for name in ("a", "b"):
            node.submit(ask(name, deadline_s=0.1), on_answer=fail)
        for name in ("a", "b"):
            assert log.wait_for_final(name).status is Status.EXPIRED


def test_text_that_no_message_can_contain_is_reported_with_marks(rig):
    # Names of files hold such halves of letters where the disk has bytes that are no UTF-8.
    error = EngineError("cannot read engine_\udcff.onnx")
    with pytest.MonkeyPatch.context() as patch:

        def fail(*_):
            raise error
            yield

        patch.setattr(rig.perceiver, "run", fail)
        rig.command("a")
        (result,) = rig.results.wait_for("a")
    assert result.status == Status.FAILED and "cannot read engine_" in result.message
    result.message.encode()


def test_a_result_that_cannot_be_sent_is_sent_as_failed(rig, monkeypatch):
    publish = rig.harness.bus.publish

    def refuse_instances(publisher, message):
        if publisher.topic == "/vl2/result" and message.instances:
            raise TransportError("a value does not fit its field")
        publish(publisher, message)

    monkeypatch.setattr(rig.harness.bus, "publish", refuse_instances)
    rig.command("a", "find it")
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.is_final, len(result.instances)) == (Status.FAILED, True, 0)
    assert "a value does not fit its field" in result.message


def test_a_side_topic_that_cannot_be_counted_costs_no_result(rig, monkeypatch):
    publishers: dict[str, Publisher] = {
        topic.name: one for topic, one in rig.server._output._publishers.items()
    }

    def fail():
        raise TransportError("no status")

    monkeypatch.setattr(publishers["~/detections"], "count_subscribers", fail, raising=True)
    monkeypatch.setattr(publishers["~/annotated"], "count_subscribers", fail, raising=True)
    rig.command("a", "find it")
    (result,) = rig.results.wait_for("a")
    assert (result.status, len(result.instances)) == (Status.OK, 2)
    assert "~/detections: TransportError: no status" in result.message


def test_a_perceiver_without_info_costs_no_result(rig, monkeypatch):
    monkeypatch.setattr(type(rig.perceiver), "info", property(lambda self: 1 // 0), raising=False)
    del rig.perceiver.__dict__["info"]
    rig.command("a", "find it")
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.model) == (Status.FAILED, "")
    assert "ZeroDivisionError" in result.message
    monkeypatch.undo()
    rig.perceiver.info = ModelInfo("back", "0", "numpy", "cpu", ())
    rig.command("b", "find it")
    assert rig.results.wait_for("b")[0].status == Status.OK


def test_a_command_that_cannot_be_read_for_whatever_reason_is_answered(rig, monkeypatch):
    from vl2_ros.node import server

    def fail(*_):
        raise MemoryError("no room for the masks")

    monkeypatch.setattr(server, "read_command", fail)
    rig.command("a", "find it")
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.is_final) == (Status.FAILED, True)
    assert "MemoryError: no room for the masks" in result.message

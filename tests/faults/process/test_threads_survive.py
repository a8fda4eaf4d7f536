"""Whatever is raised on a thread of the node, the thread continues and the command is answered."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.node.stepwise_perceiver import (
    StepwisePerceiver,
    ask,
    make_broken_image,
    make_image,
    running_node,
)
from tests.node.wire import Inbox, wait_until
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.node.request import Mode, Status
from vl2_ros.node.transport import Qos


class Panic(BaseException):
    """What native libraries raise is not always an Exception."""


FAULTS = [
    Panic("out of bounds"),
    SystemExit(3),
    KeyboardInterrupt(),
    MemoryError(),
    ValueError("no"),
]


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.close()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_perceiver_may_raise_anything(fault):
    perceiver = StepwisePerceiver({"break": fault})
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a", "break"))
        node.submit(ask("b"))
        assert log.wait_for_final("b").status is Status.OK
        failed = log.wait_for_final("a")
        assert failed.status is Status.FAILED and type(fault).__name__ in failed.message
        assert node.report().is_worker_alive


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_decoding_may_raise_anything(fault):
    with running_node(StepwisePerceiver()) as (node, log):
        node.put_image("image", make_broken_image(fault))
        node.submit(ask("a"))
        assert log.wait_for_final("a").status is Status.FAILED
        node.put_image("image", make_image(2))
        node.submit(ask("b"))
        assert log.wait_for_final("b").status is Status.OK


def test_listeners_may_raise_anything_on_worker_and_timekeeper():
    def fail(_: object) -> None:
        raise Panic("listener")

    with running_node(StepwisePerceiver()) as (node, log):
        node.submit(ask("late", deadline_s=0.01), on_answer=fail)
        assert log.wait_for_final("late").status is Status.EXPIRED
        node.put_image("image", make_image(1))
        node.submit(ask("a"), on_answer=fail, on_event=fail)
        assert log.wait_for_final("a").status is Status.OK
        node.submit(ask("later", deadline_s=0.01, camera=""), on_answer=fail)
        node.submit(ask("b"))
        assert log.wait_for_final("b").status is Status.OK


def test_a_fault_of_the_nodes_own_code_is_an_answer_too(monkeypatch):
    from vl2_ros.node.scheduling.schedule import Schedule

    settle, faults = Schedule.settle, [Panic("a bug of ours")]

    def fail_once(self, *given):
        if faults:
            raise faults.pop()
        return settle(self, *given)

    monkeypatch.setattr(Schedule, "settle", fail_once)
    with running_node(StepwisePerceiver()) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a"))
        answer = log.wait_for_final("a")
        assert answer.status is Status.FAILED and "a bug of ours" in answer.message
        node.submit(ask("b"))
        assert log.wait_for_final("b").status is Status.OK


def test_a_fault_of_the_timekeeper_does_not_end_it(monkeypatch):
    from vl2_ros.node.scheduling.schedule import Schedule

    take, faults = Schedule.take_overdue, [Panic("a bug of ours")]

    def fail_once(self, now_s):
        if faults:
            raise faults.pop()
        return take(self, now_s)

    monkeypatch.setattr(Schedule, "take_overdue", fail_once)
    with running_node(StepwisePerceiver()) as (node, log):
        node.submit(ask("a", deadline_s=0.01))
        assert log.wait_for_final("a").status is Status.EXPIRED
        assert not faults


def test_a_fault_of_the_supervisor_does_not_end_diagnostics(rig, monkeypatch):
    faults = [Panic("a bug of ours")]
    now_ns = rig.harness.open("probe").now_ns

    rig.start(diagnostics_period_s=0.1)
    inbox = Inbox(rig.client, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Qos())

    def fail_once():
        if faults:
            raise faults.pop()
        return now_ns()

    monkeypatch.setattr(rig._opened[0], "now_ns", fail_once)
    inbox.wait(3)
    assert not faults


def test_a_worker_that_has_ended_ends_the_process(rig, monkeypatch):
    from vl2_ros.node.perception import PerceptionNode

    reasons: list[str] = []
    monkeypatch.setattr(PerceptionNode, "_work", lambda self: None)
    # However rare the diagnostics are.
    rig.start(diagnostics_period_s=3600.0, on_failure=reasons.append)
    wait_until(lambda: reasons, "the failure is reported")
    assert "worker or its timekeeper has ended" in reasons[0]
    rig.server.stop()
    assert len(reasons) == 1


def test_a_watch_that_fails_is_one_traceback_and_a_count(caplog):
    perceiver = StepwisePerceiver({"break": ZeroDivisionError("division by zero")})
    with running_node(perceiver) as (node, log), caplog.at_level(logging.WARNING):
        node.submit(ask("w", "break", mode=Mode.WATCH))
        for stamp in range(1, 21):
            node.put_image("image", make_image(stamp))
            log.wait_for(stamp)
    assert sum(bool(record.exc_info) for record in caplog.records) == 1
    assert len([one for one in caplog.messages if "division by zero" in one]) == 2
    assert [status for _, status in log.statuses()] == [Status.FAILED] * 20 + [Status.ENDED]


def test_a_flood_of_refusals_is_one_line(rig, caplog):
    rig.start(queue_size=1)
    with caplog.at_level(logging.WARNING):
        for index in range(30):
            rig.command(f"c{index}")
        rig.results.wait(29, lambda message: message.status == Status.BUSY)
    assert len([one for one in caplog.messages if "BUSY" in one]) == 1

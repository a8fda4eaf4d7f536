"""Senders that ask again at once do not starve a watch."""

from __future__ import annotations

from dataclasses import replace

from tests.node.stepwise_perceiver import StepwisePerceiver, ask, make_image, running_node
from vl2_ros.node.clock import Moment
from vl2_ros.node.messages.diagnostic_messages import DiagnosticMessages, Level
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.request import Answer, Mode
from vl2_ros.node.scheduling.schedule import Schedule
from vl2_ros.structures import ModelInfo
from vl2_ros.transports.message_types import StoreMessageTypes


def test_two_senders_that_ask_again_at_once_leave_a_watch_every_second_turn():
    perceiver = StepwisePerceiver()
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        count = 0

        def again(answer: Answer) -> None:
            nonlocal count
            count += 1
            # A camera that is faster than the answers.
            node.put_image("image", make_image(count + 1))
            if count < 60:
                node.submit(ask(f"{answer.request_id}."), on_answer=again)

        node.submit(ask("watch", mode=Mode.WATCH))
        for name in "ab":
            node.submit(ask(name), on_answer=again)
        log.wait_for(100)
    order = [name == "watch" for name, _ in perceiver.runs][2:90]
    assert not any(one and after for one, after in zip(order, order[1:], strict=False))
    assert sum(order) >= 40


def make_schedule() -> Schedule:
    schedule = Schedule(NodeParameters(max_frame_age_s=1.0))
    schedule.is_open = True
    return schedule


def waits_s(schedule: Schedule, now_s: float) -> float:
    (state,) = schedule.describe_watches(now_s)
    return state.waits_s


def test_a_watch_waits_from_its_first_unseen_image_on():
    schedule = make_schedule()
    schedule.admit(ask("w", mode=Mode.WATCH), 100.0)
    assert waits_s(schedule, 100.5) == 0.0
    for tenth in range(20):
        schedule.put_image("image", make_image(tenth), 101.0 + tenth / 10)
    assert waits_s(schedule, 103.0) == 2.0
    task = schedule.take_next(Moment(103.0, 0.0))
    assert task is not None
    schedule.finish(task[0])
    assert waits_s(schedule, 103.0) == 0.0


def test_a_watch_does_not_wait_for_a_turn_while_its_camera_is_silent():
    schedule = make_schedule()
    schedule.admit(ask("w", mode=Mode.WATCH), 100.0)
    schedule.put_image("image", make_image(1), 100.0)
    schedule.put_image("image", make_image(2), 150.0)
    assert waits_s(schedule, 150.25) == 0.25


def test_a_watch_waits_for_its_camera_once_the_image_it_had_no_turn_for_is_old():
    schedule = make_schedule()
    schedule.admit(ask("w", mode=Mode.WATCH), 100.0)
    schedule.put_image("image", make_image(1), 100.0)
    assert waits_s(schedule, 100.75) == 0.75
    assert waits_s(schedule, 150.0) == 0.0


def test_a_watch_with_a_rate_waits_from_its_due_time_on():
    schedule = make_schedule()
    schedule.admit(ask("w", mode=Mode.WATCH, rate_hz=0.5), 100.0)
    schedule.put_image("image", make_image(1), 100.0)
    task = schedule.take_next(Moment(100.0, 0.0))
    assert task is not None
    schedule.finish(task[0])
    schedule.put_image("image", make_image(2), 100.5)
    schedule.put_image("image", make_image(3), 101.8)
    assert waits_s(schedule, 101.9) == 0.0
    assert waits_s(schedule, 102.5) == 0.5


def test_a_watch_without_a_turn_is_a_warning():
    maker = DiagnosticMessages(
        StoreMessageTypes(), "vl2", lambda: ModelInfo("embedded", "0123abcd", "torch", "cpu", ())
    )
    perceiver = StepwisePerceiver()
    perceiver.hold()
    with running_node(perceiver) as (node, _):
        node.put_image("image", make_image(1))
        node.submit(ask("long"))
        perceiver.wait_for_steps(1)
        node.submit(ask("starved", mode=Mode.WATCH))
        node.put_image("image", make_image(2))
        report = node.report()
        (watch,) = report.watches
        report = replace(report, watches=(replace(watch, waits_s=4.0),))
        status = maker.make_array(report, (), 0).status[0]
    assert status.level == Level.WARN
    assert "watch starved had no turn for 4.0 s" in status.message

"""Decisions at times that the test names; no thread runs."""

from __future__ import annotations

import logging
import math

import pytest

from tests.node.stepwise_perceiver import FrameCount, StepwisePerceiver, ask, make_image
from vl2_ros.errors import EngineError
from vl2_ros.node.clock import Moment
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.request import Mode, Request, Status
from vl2_ros.node.scheduling.attempt import Attempt
from vl2_ros.node.scheduling.jobs import GRACE_S, Job, Watch
from vl2_ros.node.scheduling.schedule import Schedule


@pytest.fixture
def schedule() -> Schedule:
    schedule = Schedule(NodeParameters(max_frame_age_s=2.0, command_deadline_s=10.0))
    schedule.is_open = True
    return schedule


def at(now_s: float, wall_s: float = 0.0) -> Moment:
    return Moment(now_s, wall_s)


def admit(schedule: Schedule, request: Request, now_s: float) -> Job:
    job, refusal = schedule.admit(request, now_s)
    assert refusal is None
    return job


def run(schedule: Schedule, now_s: float, *, is_stopped: bool = False) -> Attempt:
    task = schedule.take_next(at(now_s))
    assert task is not None
    attempt = Attempt(
        job=task[0],
        image=task[1],
        perceiver=StepwisePerceiver(),
        parameters=schedule.parameters,
        is_stopped=lambda: is_stopped,
        log=RepeatedLog(logging.getLogger(__name__)),
    )
    attempt.run()
    return attempt


def only_message(schedule: Schedule, now_s: float) -> str:
    ((_, answer),) = schedule.take_overdue(at(now_s))
    assert answer.status is Status.EXPIRED
    return answer.message


def test_an_expired_ask_reports_that_no_image_ever_came(schedule):
    admit(schedule, ask("a"), 100.0)
    assert schedule.find_next_deadline().s == 110.0
    assert schedule.take_overdue(at(109.9)) == []
    assert "no image came on image in the 10 s" in only_message(schedule, 110.0)
    assert schedule.find_next_deadline().s == math.inf


def test_an_expired_ask_reports_that_the_camera_fell_silent(schedule):
    admit(schedule, ask("a"), 100.0)
    schedule.put_image("image", make_image(1), 104.0)
    message = only_message(schedule, 110.0)
    assert "6.00 s old" in message and "max_frame_age_s of 2 s" in message


def test_an_expired_ask_reports_that_there_was_no_time(schedule):
    admit(schedule, ask("a"), 100.0)
    schedule.put_image("image", make_image(1), 109.0)
    message = only_message(schedule, 110.0)
    assert "no time" in message and "10 s" in message and "image" not in message


def test_an_ask_that_is_too_late_does_not_begin(schedule):
    admit(schedule, ask("late", deadline_s=1.0), 100.0)
    admit(schedule, ask("next"), 100.0)
    schedule.put_image("image", make_image(1), 100.5)
    task = schedule.take_next(at(101.0))
    assert task is not None and task[0].request.id == "next"


def test_the_image_must_be_fresh_when_the_turn_comes(schedule):
    schedule.put_image("image", make_image(1), 100.0)
    admit(schedule, ask("a"), 102.5)
    admit(schedule, ask("w", mode=Mode.WATCH), 102.5)
    assert schedule.take_next(at(102.5)) is None
    assert schedule.find_next_due_s(102.5) == math.inf
    schedule.put_image("image", make_image(2), 103.0)
    for name in ("a", "w"):
        task = schedule.take_next(at(103.5))
        assert task is not None and task[0].request.id == name
        assert task[1].image.stamp_ns == 2


def test_a_deadline_of_its_own_replaces_that_of_the_node_also_a_longer_one(schedule):
    admit(schedule, ask("a", deadline_s=60.0), 100.0)
    assert schedule.find_next_deadline().s == 160.0
    schedule.parameters = NodeParameters(command_deadline_s=5.0)
    admit(schedule, ask("b"), 100.0)
    assert schedule.find_next_deadline().s == 105.0


def test_a_result_in_time_is_ok_and_a_late_one_is_not(schedule):
    schedule.put_image("image", make_image(1), 100.0)
    for name, end_s, status in (("a", 109.9, Status.OK), ("b", 110.0, Status.EXPIRED)):
        admit(schedule, ask(name), 100.0)
        attempt = run(schedule, 101.0)
        answer = schedule.settle(attempt, None, end_s)
        assert answer is not None and answer.status is status
        assert (answer.result is None) is (status is Status.EXPIRED)
        assert schedule.finish(attempt.job) == []


def test_a_run_past_its_deadline_is_given_up_a_moment_later_on_the_wall(schedule):
    schedule.put_image("image", make_image(1), 100.0)
    admit(schedule, ask("a"), 100.0)
    schedule.take_next(at(100.0, wall_s=5.0))
    assert schedule.find_next_deadline() == (110.0, math.inf)
    # From here on the node's clock stands still.
    assert schedule.take_overdue(at(110.0, wall_s=50.0)) == []
    assert schedule.find_next_deadline() == (math.inf, 50.0 + GRACE_S)
    assert schedule.take_overdue(at(110.0, wall_s=50.0 + 0.9 * GRACE_S)) == []
    ((_, answer),) = schedule.take_overdue(at(110.0, wall_s=50.0 + GRACE_S))
    assert answer.status is Status.EXPIRED and answer.image.stamp_ns == 1
    assert schedule.find_next_deadline() == (math.inf, math.inf)


def test_cancel_goes_before_failure_and_failure_before_deadline(schedule):
    schedule.put_image("image", make_image(1), 100.0)
    failure = EngineError("torn")
    for name, is_canceled, status in (("a", True, Status.CANCELED), ("b", False, Status.FAILED)):
        admit(schedule, ask(name), 100.0)
        attempt = run(schedule, 101.0)
        if is_canceled:
            assert schedule.cancel(name, "enough", 101.0) == (1, [])
        answer = schedule.settle(attempt, failure, 200.0)
        assert answer is not None and answer.status is status
        schedule.finish(attempt.job)


def test_a_watch_stopped_while_its_result_is_handed_out_ends_after_it(schedule):
    schedule.put_image("image", make_image(1), 100.0)
    admit(schedule, ask("w", mode=Mode.WATCH), 100.0)
    attempt = run(schedule, 100.0)
    answer = schedule.settle(attempt, None, 100.1)
    assert answer is not None and answer.status is Status.OK
    assert schedule.cancel("w", "enough", 100.2) == (1, [])
    ((_, last),) = schedule.finish(attempt.job)
    assert (last.status, last.sequence, last.is_final) == (Status.ENDED, 1, True)


def test_waiting_time_of_a_watch_is_since_image_and_due_time(schedule):
    admit(schedule, ask("w", mode=Mode.WATCH, rate_hz=1.0), 100.0)
    schedule.put_image("image", make_image(1), 103.0)
    job = run(schedule, 103.25).job
    assert job.waits_since_s == 103.0
    schedule.put_image("image", make_image(2), 103.5)
    assert schedule.find_next_due_s(103.5) == 103.75


def test_stop_is_no_request(schedule):
    _, answer = schedule.admit(ask("a", mode=Mode.STOP), 100.0)
    assert answer is not None and answer.status is Status.INVALID


def test_a_watch_holds_its_memory_until_it_ends(schedule):
    schedule.put_image("image", make_image(1), 100.0)
    watch = admit(schedule, ask("w", mode=Mode.WATCH), 100.0)
    attempt = run(schedule, 100.0)
    assert isinstance(watch, Watch) and watch.memory is None
    schedule.settle(attempt, None, 100.1)
    assert watch.memory == FrameCount(1, "w")
    schedule.finish(watch)
    assert watch.memory == FrameCount(1, "w")
    schedule.cancel("w", "enough", 100.2)
    assert watch.memory is None


def test_what_comes_of_a_watch_that_was_given_up_is_not_kept(schedule):
    schedule.put_image("image", make_image(1), 100.0)
    watch = admit(schedule, ask("w", mode=Mode.WATCH), 100.0)
    attempt = run(schedule, 100.0)
    schedule.cancel("w", "enough", 100.1)
    assert schedule.give_up_running()
    assert schedule.settle(attempt, None, 100.2) is None
    assert isinstance(watch, Watch) and watch.memory is None

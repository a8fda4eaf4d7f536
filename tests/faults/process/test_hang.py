"""A perceiver that hangs: every command is answered on time, and it is said where it hangs."""

from __future__ import annotations

import time

import pytest

from tests.node.stepwise_perceiver import (
    PATIENCE_S,
    StepwisePerceiver,
    ask,
    make_image,
    running_node,
)
from tests.node.wire import wait_until
from vl2_ros.errors import ConfigError
from vl2_ros.node.request import Mode, Status
from vl2_ros.node.scheduling.jobs import GRACE_S


@pytest.fixture
def perceiver() -> StepwisePerceiver:
    perceiver = StepwisePerceiver()
    perceiver.hold()
    return perceiver


def test_a_running_ask_that_hangs_expires_and_what_comes_later_is_dropped(perceiver):
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a", deadline_s=0.1))
        answer = log.wait_for_final("a")
        assert (answer.status, answer.result) == (Status.EXPIRED, None)
        assert "in stage language" in answer.message
        assert log.threads[0].name == "vl2 timekeeper"
        node.submit(ask("b"))
        perceiver.go()
        assert log.wait_for_final("b").status is Status.OK
    assert log.statuses() == [("a", Status.EXPIRED), ("b", Status.OK)]


def test_a_running_ask_that_hangs_can_be_canceled(perceiver):
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a"))
        perceiver.wait_for_steps(1)
        assert node.cancel("a") == 1
        assert log.wait_for_final("a").status is Status.CANCELED
        assert node.cancel("a") == 0
        perceiver.go()
    assert log.statuses() == [("a", Status.CANCELED)]


def test_a_watch_that_hangs_can_be_stopped_and_its_id_used_again(perceiver):
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("w", mode=Mode.WATCH))
        perceiver.wait_for_steps(1)
        assert node.cancel("w") == 1
        last = log.wait_for_final("w")
        assert (last.status, last.sequence) == (Status.ENDED, 0)
        node.submit(ask("w", deadline_s=600.0))
        perceiver.go()
        log.wait_for(2)
    assert log.statuses() == [("w", Status.ENDED), ("w", Status.OK)]


def test_a_hanging_job_is_reported_with_its_stage(perceiver):
    with running_node(perceiver, stall_limit_s=0.1) as (node, log):
        node.put_image("image", make_image(1))
        assert not node.report().is_stalled
        node.submit(ask("a"))
        wait_until(lambda: node.report().is_stalled, "the hang is seen")
        report = node.report()
        assert (report.running_id, report.running_stage) == ("a", "language")
        assert report.idle_s > 0.1
        perceiver.go()
        log.wait_for_final("a")
        wait_until(lambda: not node.report().is_stalled, "it continues")


def test_a_job_that_gives_signs_does_not_hang(perceiver, clock):
    with running_node(perceiver, stall_limit_s=60.0) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a"))
        for step in (1, 2, 3):
            perceiver.wait_for_steps(step)
            clock.advance(30.0)
            assert not node.report().is_stalled
            perceiver.allow_step()
        log.wait_for_final("a")


def test_stop_waits_a_bounded_time_and_answers_everything(perceiver):
    with running_node(perceiver, cameras=("image", "dark")) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("runs"))
        perceiver.wait_for_steps(1)
        node.submit(ask("waits"))
        node.submit(ask("watches", mode=Mode.WATCH, camera="dark"))
        began_s = time.monotonic()
        assert node.stop(timeout_s=0.2) is False
        assert time.monotonic() - began_s < PATIENCE_S / 2
        assert sorted(log.statuses()) == [
            ("runs", Status.CANCELED),
            ("waits", Status.CANCELED),
            ("watches", Status.ENDED),
        ]
        with pytest.raises(ConfigError, match="hangs: command 'runs' .* stage language"):
            node.start()
        perceiver.go()
        assert node.stop() is True
        node.start()
        node.put_image("image", make_image(2))
        node.submit(ask("again"))
        assert log.wait_for_final("again").status is Status.OK
    assert [name for name, _ in log.statuses()].count("runs") == 1


def test_the_timekeeper_leaves_a_job_its_grace(perceiver):
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a", deadline_s=0.05))
        began_s = time.monotonic()
        log.wait_for_final("a")
        assert time.monotonic() - began_s >= GRACE_S

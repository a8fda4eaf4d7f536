"""Cancel and deadlines: of what waits, of what runs, and what is said about it."""

from __future__ import annotations

import threading

import pytest

from tests.node.stepwise_perceiver import (
    STEPS,
    AnswerLog,
    StepwisePerceiver,
    ask,
    make_image,
    running_node,
)
from tests.node.wire import wait_until
from vl2_ros.node.request import Answer, Mode, Status
from vl2_ros.structures import ProgressEvent, TextEvent


@pytest.fixture
def perceiver() -> StepwisePerceiver:
    return StepwisePerceiver()


def test_a_waiting_ask_is_canceled_before_cancel_returns(perceiver):
    perceiver.hold()
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        for name in "abc":
            node.submit(ask(name))
        perceiver.wait_for_steps(1)
        assert node.cancel("b") == 1
        assert log.statuses() == [("b", Status.CANCELED)]
        assert log.threads[0] is threading.current_thread()
        assert node.cancel("b") == node.cancel("unknown") == 0
        perceiver.go()
        log.wait_for(3)
    assert [name for name, _ in perceiver.runs] == ["a", "c"]


def test_a_running_ask_stops_before_its_next_step(perceiver):
    heard: list[object] = []
    perceiver.hold()
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a"), on_event=heard.append)
        perceiver.wait_for_steps(1)
        assert node.cancel("a") == 1
        assert node.cancel("a") == 0
        perceiver.allow_step()
        answer = log.wait_for_final("a")
        assert (perceiver.steps, perceiver.closed) == (1, 1)
        assert not any(isinstance(event, TextEvent) for event in heard)
    assert answer.status is Status.CANCELED and answer.result is None
    assert answer.frame is not None and answer.frame.stamp_ns == 1


def test_a_running_generation_stops_before_its_next_denoising_step():
    perceiver, heard = StepwisePerceiver(draws=True), []
    perceiver.hold()
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a"), on_event=heard.append)
        perceiver.allow_step()
        perceiver.wait_for_steps(2)
        assert node.cancel("a") == 1
        perceiver.allow_step()
        answer = log.wait_for_final("a")
        assert (perceiver.steps, perceiver.closed) == (2, 1)
    assert answer.status is Status.CANCELED and answer.result is None
    steps = [event for event in heard if isinstance(event, ProgressEvent)]
    assert steps == [ProgressEvent("diffusion", 1, STEPS)]


def test_a_generation_past_its_deadline_stops_before_its_next_denoising_step(clock):
    perceiver = StepwisePerceiver(draws=True)
    perceiver.hold()
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a", deadline_s=80.0))
        perceiver.wait_for_steps(1)
        clock.advance(81.0)
        perceiver.allow_step()
        answer = log.wait_for_final("a")
        # The timekeeper may have answered before the worker has stopped.
        wait_until(lambda: perceiver.closed == 1, "the run is closed")
        assert perceiver.steps == 1
    assert answer.status is Status.EXPIRED and "in stage diffusion" in answer.message


def test_a_cancel_during_the_last_step_still_counts(perceiver):
    perceiver.hold()
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a"))
        perceiver.allow_step()
        perceiver.allow_step()
        perceiver.wait_for_steps(3)
        assert node.cancel("a") == 1
        perceiver.go()
        assert log.wait_for_final("a").status is Status.CANCELED


def test_cancel_without_an_id_ends_everything(perceiver):
    perceiver.hold()
    with running_node(perceiver, cameras=("image", "dark")) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("runs"))
        perceiver.wait_for_steps(1)
        node.submit(ask("waits"))
        node.submit(ask("watches", mode=Mode.WATCH, camera="dark"))
        assert node.cancel("") == 3
        assert set(log.statuses()) == {("waits", Status.CANCELED), ("watches", Status.ENDED)}
        perceiver.allow_step()
        assert log.wait_for_final("runs").status is Status.CANCELED
        assert node.report().queue_length == 0 and node.list_watches() == ()


def test_a_running_watch_ends_once_and_its_id_is_free(perceiver):
    perceiver.hold()
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("w", mode=Mode.WATCH))
        perceiver.wait_for_steps(1)
        assert node.cancel("w") == 1 and node.cancel("w") == 0
        assert node.list_watches() == ()
        again = AnswerLog()
        node.submit(ask("w", "again", mode=Mode.WATCH), on_answer=again)
        perceiver.go()
        assert again.wait_for(1)[0].status is Status.OK
        assert [(a.text, a.status) for a in log.answers] == [
            ("find the mug", Status.ENDED),
            ("again", Status.OK),
        ]


def test_a_callback_can_cancel_its_own_watch(perceiver):
    with running_node(perceiver) as (node, log):
        counts: list[int] = []

        def cancel(answer: Answer) -> None:
            if answer.sequence == 1 and not answer.is_final:
                counts.append(node.cancel("w"))

        node.submit(ask("w", mode=Mode.WATCH), on_answer=cancel)
        for stamp in (1, 2):
            node.put_image("image", make_image(stamp))
            log.wait_for(stamp)
        last = log.wait_for_final("w")
    assert counts == [1] and (last.status, last.sequence) == (Status.ENDED, 2)
    assert [status for _, status in log.statuses()] == [Status.OK, Status.OK, Status.ENDED]


def test_an_answered_ask_cannot_be_canceled(perceiver):
    counts: list[int] = []
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a"), on_answer=lambda _: counts.append(node.cancel("a")))
        node.submit(ask("b"))
        log.wait_for(2)
    assert counts == [0]
    assert log.statuses() == [("a", Status.OK), ("b", Status.OK)]


def test_waiting_for_an_image_in_vain_expires_and_names_the_camera(perceiver):
    with running_node(perceiver, cameras=("/front/image_raw",)) as (node, log):
        node.submit(ask("a", deadline_s=0.05))
        answer = log.wait_for_final("a")
    assert answer.status is Status.EXPIRED and answer.frame is None
    assert "no image came on /front/image_raw" in answer.message and "0.05" in answer.message


def test_waiting_behind_others_expires_on_time_though_the_worker_is_busy(perceiver):
    perceiver.hold()
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("long"))
        perceiver.wait_for_steps(1)
        node.submit(ask("short", deadline_s=0.05))
        node.submit(ask("patient"))
        answer = log.wait_for(1)[0]
        assert (answer.request_id, answer.status) == ("short", Status.EXPIRED)
        assert "no time" in answer.message and "image" not in answer.message
        perceiver.go()
        log.wait_for(3)
    assert [name for name, _ in perceiver.runs] == ["long", "patient"]


def test_running_past_the_deadline_stops_and_expires(perceiver, clock):
    perceiver.hold()
    with running_node(perceiver, command_deadline_s=80.0) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a"))
        perceiver.wait_for_steps(1)
        clock.advance(81.0)
        perceiver.allow_step()
        answer = log.wait_for_final("a")
        # The timekeeper may have answered before the worker has stopped.
        wait_until(lambda: perceiver.closed == 1, "the run is closed")
        assert perceiver.steps == 1
    assert answer.status is Status.EXPIRED and answer.result is None
    assert "no time" in answer.message and "language" in answer.message and "80" in answer.message


def test_decoding_past_the_deadline_never_reaches_the_perceiver(perceiver, clock):
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1, on_decode=lambda: clock.advance(81.0)))
        node.submit(ask("a", deadline_s=80.0))
        answer = log.wait_for_final("a")
    assert answer.status is Status.EXPIRED and "decode" in answer.message
    assert perceiver.runs == []


def test_a_watch_has_no_deadline(perceiver, clock):
    with running_node(perceiver, command_deadline_s=80.0) as (node, log):
        node.submit(ask("w", mode=Mode.WATCH))
        clock.advance(800.0)
        node.put_image("image", make_image(1))
        assert log.wait_for(1)[0].status is Status.OK

"""Perceivers, images and listeners that fail; the node answers and lives on."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest

from tests.node.stepwise_perceiver import (
    AnswerLog,
    StepwisePerceiver,
    ask,
    make_broken_image,
    make_image,
    running_node,
)
from vl2_ros.errors import EngineError, InputError, RouteError, TransportError
from vl2_ros.node.request import Mode, Status
from vl2_ros.structures import Command, Event, Frame, PromptKind, StageEvent, VisualPrompt


@pytest.fixture
def perceiver() -> StepwisePerceiver:
    return StepwisePerceiver(
        {
            "break the engine": EngineError("the graph is torn"),
            "open a route": RouteError("[GEN] is not served"),
            "lose the line": TransportError("connection lost"),
            "be rude": InputError("say please"),
            "hit a bug": ZeroDivisionError("division by zero"),
        }
    )


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("break the engine", Status.FAILED, "the graph is torn"),
        ("open a route", Status.FAILED, "[GEN] is not served"),
        ("lose the line", Status.FAILED, "connection lost"),
        ("be rude", Status.INVALID, "say please"),
        ("hit a bug", Status.FAILED, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_failing_perceiver_is_reported_and_survived(perceiver, caplog, text, status, words):
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a", text))
        node.submit(ask("b"))
        failed, good = log.wait_for(2)
        report = node.report()
    assert (failed.status, good.status) == (status, Status.OK)
    assert words in failed.message and failed.is_final and failed.result is None
    assert failed.frame is not None and failed.frame.stamp_ns == 1
    assert report.is_worker_alive
    assert (words in report.last_error) is (status is Status.FAILED)
    tracebacks = [record for record in caplog.records if record.exc_info]
    assert len(tracebacks) == (text == "hit a bug")


def test_a_watch_goes_on_after_a_frame_that_failed(perceiver):
    with running_node(perceiver) as (node, log):
        node.submit(ask("w", "hit a bug", mode=Mode.WATCH))
        node.put_image("image", make_image(1))
        log.wait_for(1)
        node.put_image("image", make_broken_image(TransportError("step is 3")))
        log.wait_for(2)
        perceiver.failures.clear()
        node.put_image("image", make_image(3))
        answers = log.wait_for(3)
    assert [answer.status for answer in answers] == [Status.FAILED, Status.INVALID, Status.OK]
    assert [answer.sequence for answer in answers] == [0, 1, 2]
    assert not any(answer.is_final for answer in answers)


class SilentPerceiver(StepwisePerceiver):
    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        return iter([StageEvent("vision")])


def test_a_perceiver_that_ends_without_a_result_has_failed():
    with running_node(SilentPerceiver()) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a"))
        (answer,) = log.wait_for(1)
    assert answer.status is Status.FAILED and "without a result" in answer.message


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TransportError("image step is 3"), Status.INVALID),
        (InputError("image step is 3"), Status.INVALID),
        (MemoryError("image step is 3"), Status.FAILED),
    ],
)
def test_a_image_that_cannot_be_decoded_is_named(perceiver, error, status):
    with running_node(perceiver, cameras=("/front/image_raw",)) as (node, log):
        node.put_image("/front/image_raw", make_broken_image(error))
        node.submit(ask("a"))
        (answer,) = log.wait_for(1)
        assert answer.status is status and answer.frame is None
        assert "image step is 3" in answer.message
        assert ("camera /front/image_raw" in answer.message) is (status is Status.INVALID)
        node.put_image("/front/image_raw", make_image(2))
        node.submit(ask("b"))
        assert log.wait_for(2)[1].status is Status.OK


def test_a_further_image_that_cannot_be_decoded_is_named(perceiver):
    broken = make_broken_image(TransportError("0 bytes"))
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a", images=(make_image(2), broken)))
        (answer,) = log.wait_for(1)
    assert answer.status is Status.INVALID and "image 2 of the command" in answer.message
    assert "0 bytes" in answer.message and perceiver.runs == []


def point(x: float, y: float, image: int = 0) -> VisualPrompt:
    return VisualPrompt(PromptKind.POINT, np.array([[x, y]]), image=image)


def mask(height: int, width: int, image: int = 0) -> VisualPrompt:
    pixels = np.ones((height, width), np.bool_)
    return VisualPrompt(PromptKind.MASK, np.zeros((0, 2)), pixels, image)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (point(7.0, 1.0), "6x4"),
        (point(float("nan"), 1.0), "outside"),
        (mask(4, 5), "5x4"),
        (point(1.0, 1.0, image=2), "image 2"),
        (mask(4, 6, image=1), "9x8"),
    ],
)
def test_a_visual_prompt_that_does_not_fit_its_image_is_invalid(perceiver, prompt, words):
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1, hw=(4, 6)))
        node.submit(ask("a", visual_prompts=(prompt,), images=(make_image(2, hw=(8, 9)),)))
        (answer,) = log.wait_for(1)
    assert answer.status is Status.INVALID and words in answer.message
    assert perceiver.runs == []


def test_visual_prompts_that_fit_reach_the_perceiver(perceiver):
    prompts = (point(6.0, 4.0), mask(8, 9, image=1))
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1, hw=(4, 6)))
        node.submit(ask("a", visual_prompts=prompts, images=(make_image(2, hw=(8, 9)),)))
        assert log.wait_for(1)[0].status is Status.OK
    assert perceiver.commands[0].visual_prompts == prompts


@pytest.mark.parametrize("error", [RuntimeError("topic is closed"), TransportError("is closed")])
def test_a_failing_listener_harms_neither_the_answer_nor_the_node(perceiver, caplog, error):
    def fail(_: object) -> None:
        raise error

    with running_node(perceiver) as (node, log), caplog.at_level(logging.ERROR):
        node.put_image("image", make_image(1))
        node.submit(ask("a"), on_event=fail, on_answer=fail)
        node.submit(ask("b", text=" "), on_answer=fail)
        own = AnswerLog()
        node.submit(ask("c"), on_answer=own)
        assert own.wait_for(1)[0].status is Status.OK
        assert "is closed" in node.report().last_error
    assert set(log.statuses()) == {("a", Status.OK), ("b", Status.INVALID), ("c", Status.OK)}
    assert "listener" in caplog.text

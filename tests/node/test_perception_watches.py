from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from tests.node.stepwise_perceiver import (
    STEPS,
    AnswerLog,
    FrameCount,
    StepwisePerceiver,
    ask,
    make_broken_image,
    make_image,
    running_node,
)
from vl2_ros.errors import EngineError, InputError
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.request import Mode, Status
from vl2_ros.node.scheduling.jobs import Watch
from vl2_ros.structures import Branch, Detections, Result, Route, TrackingOptions


@pytest.fixture
def perceiver() -> StepwisePerceiver:
    return StepwisePerceiver()


def watch(name: str, **fields: object):
    return ask(name, mode=Mode.WATCH, **fields)


def stamps(log: AnswerLog, name: str = "w") -> list[int]:
    own = [answer for answer in log.answers if answer.request_id == name]
    return [answer.frame.stamp_ns for answer in own if answer.frame is not None]


def test_a_watch_answers_each_new_image_once(perceiver):
    with running_node(perceiver) as (node, log):
        node.submit(watch("w"))
        for stamp in range(1, 6):
            node.put_image("image", make_image(stamp))
            log.wait_for(stamp)
        node.submit(ask("later"))
        log.wait_for(6)
        results = [answer for answer in log.answers if answer.request_id == "w"]
    assert [answer.frame.stamp_ns for answer in results] == [1, 2, 3, 4, 5]
    assert [answer.sequence for answer in results] == [0, 1, 2, 3, 4]
    assert not any(answer.is_final for answer in results)
    assert perceiver.runs[-1] == ("later", 5)


def test_images_differ_by_identity_not_by_stamp(perceiver):
    own = AnswerLog()
    with running_node(perceiver) as (node, log):
        node.submit(watch("w"), on_answer=own)
        first, second = make_image(7), make_image(7)
        node.put_image("image", first)
        own.wait_for(1)
        node.put_image("image", first)
        for name in "abc":
            # After each ask the worker looks for a watch that could have a turn.
            node.submit(ask(name))
            log.wait_for_final(name)
        assert len(own.answers) == 1
        node.put_image("image", second)
        own.wait_for(2)
        node.put_image("image", make_image(8))
        own.wait_for(3)
    assert stamps(own) == [7, 7, 8]


def test_a_slow_watch_takes_the_newest_and_drops_are_counted(perceiver):
    perceiver.hold()
    with running_node(perceiver) as (node, log):
        node.submit(watch("w"))
        node.put_image("image", make_image(1))
        perceiver.wait_for_steps(1)
        for stamp in (2, 3, 4):
            node.put_image("image", make_image(stamp))
        perceiver.go()
        log.wait_for(2)
        camera = node.report().cameras[0]
    assert stamps(log) == [1, 4]
    assert (camera.received, camera.used, camera.dropped) == (4, 2, 2)


def test_asks_go_before_watches_but_a_due_watch_gets_every_second_turn(perceiver):
    perceiver.hold()
    with running_node(perceiver) as (node, log):
        node.submit(watch("w"))
        node.put_image("image", make_image(1))
        perceiver.wait_for_steps(1)
        node.put_image("image", make_image(2))
        for name in "abc":
            node.submit(ask(name))
        perceiver.go()
        log.wait_for(5)
    assert perceiver.runs == [("w", 1), ("a", 2), ("w", 2), ("b", 2), ("c", 2)]


def test_watches_share_the_worker_fairly(perceiver):
    perceiver.hold()
    with running_node(perceiver) as (node, log):
        for name in "abc":
            node.submit(watch(name))
        for stamp in range(1, 10):
            node.put_image("image", make_image(stamp))
            for _ in range(STEPS):
                perceiver.allow_step()
            log.wait_for(stamp)
    order = [name for name, _ in perceiver.runs[:9]]
    assert order == list("abc") * 3


def test_a_watch_keeps_its_rate_below_that_of_the_camera(perceiver):
    with running_node(perceiver) as (node, log):
        began_s = time.monotonic()
        node.submit(watch("w", rate_hz=20.0))
        stamp = 0
        while len(log.answers) < 8:
            stamp += 1
            node.put_image("image", make_image(stamp))
            time.sleep(0.004)
        elapsed_s = time.monotonic() - began_s
    # The k-th look is never before k periods: eight results need seven of them.
    assert elapsed_s >= 7 / 20.0
    used = stamps(log)
    assert used == sorted(set(used)) and len(perceiver.runs) <= elapsed_s * 20.0 + 2


def test_a_watch_waits_for_its_time_without_another_image(perceiver):
    with running_node(perceiver) as (node, log):
        node.submit(watch("w", rate_hz=10.0))
        node.put_image("image", make_image(1))
        log.wait_for(1)
        node.put_image("image", make_image(2))
        log.wait_for(2)
    assert stamps(log) == [1, 2]


def test_one_watch_too_many_is_busy_until_the_parameter_allows_it(perceiver):
    with running_node(perceiver, max_watches=1) as (node, log):
        node.submit(watch("a"))
        node.submit(watch("b"))
        assert log.statuses() == [("b", Status.BUSY)] and "at most 1" in log.answers[0].message
        node.change_parameters(
            NodeParameters(max_watches=2, max_frame_age_s=0.0, command_deadline_s=600.0)
        )
        node.submit(watch("b"))
        assert [state.id for state in node.list_watches()] == ["a", "b"]


def test_a_watch_ends_by_itself_without_any_image(perceiver):
    with running_node(perceiver) as (node, log):
        node.submit(watch("w", duration_s=0.05))
        answer = log.wait_for_final("w")
        assert node.list_watches() == () and node.cancel("w") == 0
    assert (answer.status, answer.sequence, answer.frame) == (Status.ENDED, 0, None)
    assert "0.05" in answer.message and len(log.answers) == 1


def test_a_watch_that_ends_while_it_runs_stops_before_the_next_step(perceiver):
    perceiver.hold()
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(watch("w", duration_s=1.0))
        perceiver.wait_for_steps(1)
        deadline_s = time.monotonic() + 10.0
        while node.list_watches() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        perceiver.allow_step()
        answer = log.wait_for_final("w")
        assert (perceiver.steps, perceiver.closed) == (1, 1)
    assert (answer.status, answer.sequence) == (Status.ENDED, 0)
    assert log.statuses() == [("w", Status.ENDED)]


def test_two_watches_on_two_cameras_see_their_own_images(perceiver):
    with running_node(perceiver, cameras=("left", "right")) as (node, log):
        node.submit(watch("l", camera="left"))
        node.submit(watch("r", camera="right"))
        for index in range(1, 4):
            node.put_image("left", make_image(index))
            node.put_image("right", make_image(100 + index))
            log.wait_for(2 * index)
    assert stamps(log, "l") == [1, 2, 3] and stamps(log, "r") == [101, 102, 103]


def memories_of(perceiver: StepwisePerceiver, name: str) -> list[object]:
    pairs = zip(perceiver.runs, perceiver.memories, strict=True)
    return [memory for (run, _), memory in pairs if run == name]


def test_each_watch_gets_its_own_memory_back_and_an_ask_gets_none(perceiver):
    with running_node(perceiver) as (node, log):
        node.submit(watch("a"))
        node.submit(watch("b"))
        for stamp in (1, 2, 3):
            node.put_image("image", make_image(stamp))
            log.wait_for(2 * stamp)
        for _ in range(2):
            node.submit(ask("once"), on_answer=(own := AnswerLog()))
            own.wait_for(1)
    for name in "ab":
        assert memories_of(perceiver, name) == [None, FrameCount(1, name), FrameCount(2, name)]
    assert memories_of(perceiver, "once") == [None, None]


def test_a_watch_of_two_cameras_shares_no_memory_with_another(perceiver):
    with running_node(perceiver, cameras=("left", "right")) as (node, log):
        for camera in ("left", "right"):
            node.submit(watch(camera, camera=camera))
        for stamp in (1, 2):
            for camera in ("left", "right"):
                node.put_image(camera, make_image(stamp))
            log.wait_for(2 * stamp)
    for camera in ("left", "right"):
        assert memories_of(perceiver, camera) == [None, FrameCount(1, camera)]


def test_a_watch_that_was_restarted_begins_anew(perceiver):
    with running_node(perceiver) as (node, log):
        for count in (1, 2):
            node.submit(watch("w"))
            node.put_image("image", make_image(count))
            log.wait_for(2 * count - 1)
            node.cancel("w")
            log.wait_for(2 * count)
    assert memories_of(perceiver, "w") == [None, None]


def test_a_frame_that_failed_leaves_the_memory_of_its_watch(perceiver):
    with running_node(perceiver) as (node, log):
        node.submit(watch("w", text="find the mug"))
        node.put_image("image", make_image(1))
        log.wait_for(1)
        perceiver.failures["find the mug"] = EngineError("torn")
        node.put_image("image", make_image(2))
        log.wait_for(2)
        perceiver.failures.clear()
        node.put_image("image", make_broken_image(InputError("step is 3")))
        log.wait_for(3)
        node.put_image("image", make_image(4))
        answers = log.wait_for(4)
    assert [one.status for one in answers] == [
        Status.OK,
        Status.FAILED,
        Status.INVALID,
        Status.OK,
    ]
    assert memories_of(perceiver, "w") == [None, FrameCount(1, "w"), FrameCount(1, "w")]


def test_watches_are_tracked_as_the_parameters_say_and_asks_are_not(perceiver):
    with running_node(perceiver, track_hidden_frames=4) as (node, log):
        node.submit(watch("w"))
        for stamp, tracking in ((1, True), (2, False), (3, True)):
            node.change_parameters(replace(node.parameters, tracking=tracking))
            node.put_image("image", make_image(stamp))
            log.wait_for(stamp)
        node.submit(ask("once"), on_answer=(own := AnswerLog()))
        own.wait_for(1)
    options = TrackingOptions(hidden_frames=4)
    assert [one.tracking for one in perceiver.commands] == [options, None, options, None]


def test_no_id_of_a_track_comes_again_when_the_perceiver_forgets():
    job = Watch(request=watch("w"), camera="image", waits_since_s=0.0)
    assert job.next_track_id == 1
    for ids, expected in (([3, 0], 4), ([2], 4), ([], 4), ([9], 10)):
        found = Detections(
            boxes_xyxy=np.zeros((len(ids), 4), np.float32),
            scores=np.ones(len(ids), np.float32),
            class_ids=np.zeros(len(ids), np.int64),
            labels=("mug",) * len(ids),
            track_ids=np.array(ids, np.int64),
        )
        job.keep(None, Result("w", 0, "", "", (Branch(Route.DETECT, ("mug",), found),)))
        assert job.next_track_id == expected
    job.keep("memory", Result("w", 0, "", "", (Branch(Route.DETECT, (), Detections.empty()),)))
    assert (job.memory, job.next_track_id) == ("memory", 10)

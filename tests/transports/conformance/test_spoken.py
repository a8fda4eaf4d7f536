"""Promises to speech: what was heard is done, about the image at the end of speech."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from tests.node.wire import Inbox, stamp_of, wait_until
from tests.transports.harness import Rig
from vl2_ros.node.hearing.heard_messages import HEARD_TYPE, ActionKind
from vl2_ros.node.hearing.vocabulary_output import VOCABULARY_TYPE
from vl2_ros.node.request import Mode, Status
from vl2_ros.node.transport import LATCHED, Qos

MS = 1_000_000


class Mouth:
    """Publishes what a hearing node would have heard.

    Args:
        rig: whose client speaks.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._publisher = rig.client.advertise(f"{rig.node_name}/heard", HEARD_TYPE, Qos(depth=100))
        wait_until(lambda: self._publisher.count_subscribers() > 0, "the node hears")

    def say(
        self,
        action: ActionKind,
        command: str = "",
        *,
        command_id: str = "spoken",
        end_ns: int = 0,
        **fields: Any,
    ) -> None:
        make = self._rig.client.types.make
        end = make("builtin_interfaces/msg/Time", sec=end_ns // 10**9, nanosec=end_ns % 10**9)
        values = {"accepted": True, "text": command or "words", "command": command} | fields
        self._publisher.publish(
            make(HEARD_TYPE, end=end, action=int(action), command_id=command_id, **values)
        )


@pytest.fixture
def mouth(rig: Rig) -> Mouth:
    rig.start()
    return Mouth(rig)


def test_spoken_question_is_answered_as_any_other(rig, mouth):
    rig.show(rig.open_camera(), 1 * MS)
    mouth.say(ActionKind.ASK, "find the red mug", command_id="heard-1")
    (result,) = rig.results.wait_for("heard-1")
    assert (result.status, result.is_final) == (Status.OK, True)
    assert result.command_text == "find the red mug"
    assert stamp_of(result) == 1 * MS


def test_what_is_not_accepted_is_not_done(rig, mouth):
    rig.show(rig.open_camera(), 1 * MS)
    mouth.say(ActionKind.ASK, "find the rat", command_id="no", accepted=False, reason="noise")
    mouth.say(ActionKind.ASK, "find the hat", command_id="yes")
    rig.results.wait_for("yes")
    assert [one.command_id for one in rig.results.list()] == ["yes"]
    assert [command.text for _, command in rig.perceiver.seen] == ["find the hat"]


def test_answer_is_about_the_image_at_the_end_of_speech(rig, mouth):
    camera, names = rig.open_camera(), map(str, itertools.count())

    def is_about_the_past() -> bool:
        name = next(names)
        rig.show(camera, 5 * MS)
        end_ns = rig.client.now_ns()
        time.sleep(0.05)
        rig.show(camera, 6 * MS)
        mouth.say(ActionKind.ASK, "find the mug", command_id=name, end_ns=end_ns)
        return stamp_of(rig.results.wait_for(name)[0]) == 5 * MS

    # Images are kept from when the node knows of a hearing node.
    wait_until(is_about_the_past, "an answer is about the image at the end of speech")
    mouth.say(ActionKind.ASK, "find the mug", command_id="now")
    assert stamp_of(rig.results.wait_for("now")[0]) == 6 * MS


def test_newest_image_counts_where_the_parameter_says_so(rig):
    rig.start(speech_frame="newest")
    mouth, camera = Mouth(rig), rig.open_camera()
    rig.show(camera, 5 * MS)
    end_ns = rig.client.now_ns()
    time.sleep(0.1)
    rig.show(camera, 6 * MS)
    mouth.say(ActionKind.ASK, "find the mug", command_id="past", end_ns=end_ns)
    assert stamp_of(rig.results.wait_for("past")[0]) == 6 * MS


def test_watch_begins_and_ends_by_words(rig, mouth):
    camera = rig.open_camera()
    rig.show(camera, 1 * MS)
    mouth.say(ActionKind.WATCH, "find the mugs", command_id="w1")
    mouth.say(ActionKind.WATCH, "find the bowls", command_id="w2")
    for name in ("w1", "w2"):
        rig.results.wait_for(name)
    mouth.say(ActionKind.STOP_WATCH, "mugs", command_id="end")
    last = rig.results.wait(1, lambda one: one.command_id == "w1" and one.is_final)[0]
    assert last.status == Status.ENDED
    assert [watch.id for watch in rig.server.node.list_watches()] == ["w2"]
    mouth.say(ActionKind.STOP_WATCH, "", command_id="end")
    rig.results.wait(1, lambda one: one.command_id == "w2" and one.is_final)
    mouth.say(ActionKind.STOP_WATCH, "mugs", command_id="none")
    (refused,) = rig.results.wait_for("none")
    assert refused.status == Status.INVALID
    assert "no watch of 'mugs' to stop" in refused.message


def test_stop_ends_all_that_runs(rig, mouth):
    rig.show(rig.open_camera(), 1 * MS)
    rig.command("written", mode=int(Mode.WATCH))
    rig.results.wait_for("written")
    mouth.say(ActionKind.STOP_ALL)
    rig.results.wait(1, lambda one: one.command_id == "written" and one.status == Status.ENDED)
    mouth.say(ActionKind.STOP_ALL, command_id="again")
    assert rig.results.wait_for("again")[0].status == Status.INVALID


def test_stop_ends_what_was_spoken_alone_where_no_one_may_stop_all(rig):
    rig.start(allow_stop_all=False)
    mouth = Mouth(rig)
    rig.show(rig.open_camera(), 1 * MS)
    rig.command("written", "find the mugs", mode=int(Mode.WATCH))
    mouth.say(ActionKind.WATCH, "find the mugs", command_id="spoken")
    for name in ("written", "spoken"):
        rig.results.wait_for(name)
    mouth.say(ActionKind.STOP_WATCH, "mugs", command_id="end")
    rig.results.wait(1, lambda one: one.command_id == "spoken" and one.is_final)
    assert [watch.id for watch in rig.server.node.list_watches()] == ["written"]
    mouth.say(ActionKind.STOP_ALL, command_id="end")
    assert rig.results.wait_for("end")[0].status == Status.INVALID
    assert [watch.id for watch in rig.server.node.list_watches()] == ["written"]


def test_again_asks_the_last_spoken_question(rig, mouth):
    camera = rig.open_camera()
    rig.show(camera, 1 * MS)
    mouth.say(ActionKind.REPEAT, command_id="early")
    (refused,) = rig.results.wait_for("early")
    assert refused.status == Status.INVALID
    assert "nothing was asked by speech before" in refused.message
    mouth.say(ActionKind.ASK, "find the red mug", command_id="first")
    rig.results.wait_for("first")
    rig.show(camera, 2 * MS)
    mouth.say(ActionKind.REPEAT, command_id="second")
    (result,) = rig.results.wait_for("second")
    assert (result.command_text, stamp_of(result)) == ("find the red mug", 2 * MS)
    mouth.say(ActionKind.WATCH, command_id="kept")
    assert rig.results.wait_for("kept")[0].command_text == "find the red mug"


def test_last_answer_is_said_again(rig, mouth):
    answers = rig.subscribe("~/answer")
    rig.show(rig.open_camera(), 1 * MS)
    mouth.say(ActionKind.SAY_AGAIN, command_id="early")
    assert rig.results.wait_for("early")[0].status == Status.INVALID
    mouth.say(ActionKind.ASK, "is there a mug", command_id="first")
    rig.results.wait_for("first")
    mouth.say(ActionKind.SAY_AGAIN, command_id="second")
    first, second = answers.wait(2)
    assert first.data == second.data == "answer to: is there a mug"


def test_new_question_cancels_the_one_before_where_the_parameter_says_so(rig):
    rig.start(barge_in=True)
    mouth = Mouth(rig)
    rig.show(rig.open_camera(), 1 * MS)
    rig.perceiver.may_answer.clear()
    mouth.say(ActionKind.ASK, "find the mug", command_id="first")
    assert rig.perceiver.is_running.wait(30.0)
    mouth.say(ActionKind.ASK, "find the bowl", command_id="second")
    assert rig.results.wait_for("first")[0].status == Status.CANCELED
    rig.perceiver.may_answer.set()
    assert rig.results.wait_for("second")[0].status == Status.OK


def test_without_it_both_are_answered(rig, mouth):
    rig.show(rig.open_camera(), 1 * MS)
    rig.perceiver.may_answer.clear()
    mouth.say(ActionKind.ASK, "find the mug", command_id="first")
    assert rig.perceiver.is_running.wait(30.0)
    mouth.say(ActionKind.ASK, "find the bowl", command_id="second")
    rig.perceiver.may_answer.set()
    for name in ("first", "second"):
        assert rig.results.wait_for(name)[0].status == Status.OK


@pytest.mark.parametrize("action", [0, 77])
def test_unknown_action_is_invalid_and_names_the_known_ones(rig, mouth, action):
    mouth.say(action, "find it", command_id="odd")
    (refused,) = rig.results.wait_for("odd")
    assert refused.status == Status.INVALID
    assert "1 (ASK), 2 (WATCH)" in refused.message and f"got {action}" in refused.message


def test_camera_is_named_in_the_sentence(rig):
    rig.start(cameras=("image", "/left/image_raw"), depth_topics=("", ""))
    mouth = Mouth(rig)
    rig.show(rig.open_camera(), 1 * MS)
    rig.show(rig.open_camera("/left/image_raw"), 2 * MS, name="/left/image_raw")
    mouth.say(ActionKind.ASK, "find the mug with the left camera", command_id="left")
    (result,) = rig.results.wait_for("left")
    assert (result.camera, stamp_of(result)) == ("/left/image_raw", 2 * MS)
    assert result.command_text == "find the mug"


def test_vocabulary_is_kept_for_late_hearers_and_renewed_with_each_watch(rig):
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    wait_until(lambda: rig.client.count_publishers(f"{rig.node_name}/vocabulary") > 0, "words")
    late = Inbox(rig.open("late"), f"{rig.node_name}/vocabulary", VOCABULARY_TYPE, LATCHED)
    first = late.wait()[0]
    assert (list(first.names), list(first.cameras)) == (["mug", "bowl"], ["image"])
    assert list(first.watches) == []
    rig.command("w", "find the red mugs", mode=int(Mode.WATCH))
    late.wait(1, lambda one: list(one.watches) == ["find the red mugs"])
    rig.stop_command("w")
    late.wait(2, lambda one: not list(one.watches))


def test_watch_of_one_camera_ends_by_its_name(rig):
    rig.start(cameras=("image", "/left/image_raw"), depth_topics=("", ""))
    mouth = Mouth(rig)
    mouth.say(ActionKind.WATCH, "find the mugs with the left camera", command_id="left")
    mouth.say(ActionKind.WATCH, "find the mugs", command_id="first")
    wait_until(lambda: len(rig.server.node.list_watches()) == 2, "both cameras are watched")
    mouth.say(ActionKind.STOP_WATCH, "the mugs with the left camera", command_id="end")
    rig.results.wait(1, lambda one: one.command_id == "left" and one.is_final)
    assert [watch.id for watch in rig.server.node.list_watches()] == ["first"]


def test_what_is_watched_already_is_not_watched_twice(rig, mouth):
    mouth.say(ActionKind.WATCH, "find the mugs", command_id="first")
    mouth.say(ActionKind.WATCH, "Find the mugs, please.", command_id="second")
    (refused,) = rig.results.wait_for("second")
    assert refused.status == Status.INVALID
    assert "'find the mugs' is watched already, as first" in refused.message
    assert [watch.id for watch in rig.server.node.list_watches()] == ["first"]


def test_stop_watching_ends_every_watch_that_has_the_thing(rig, mouth):
    for name, text in (("1", "find the mugs"), ("2", "find the mugs and the bowls"), ("3", "cats")):
        mouth.say(ActionKind.WATCH, text, command_id=name)
    wait_until(lambda: len(rig.server.node.list_watches()) == 3, "three watches")
    mouth.say(ActionKind.STOP_WATCH, "the mugs", command_id="end")
    wait_until(lambda: len(rig.server.node.list_watches()) == 1, "two have ended")
    assert [watch.id for watch in rig.server.node.list_watches()] == ["3"]


def test_question_about_an_image_that_is_gone_is_about_the_newest(rig, mouth):
    rig.show(rig.open_camera(), 7 * MS)
    end_ns = rig.client.now_ns() - 60_000 * MS
    mouth.say(ActionKind.ASK, "find the mug", command_id="late", end_ns=end_ns)
    (result,) = rig.results.wait_for("late")
    assert (result.status, stamp_of(result)) == (Status.OK, 7 * MS)

"""Promises to a robot that hears: audio topic -> what was heard -> result."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.node.hearing.scripted_ears import (
    make_audio,
    make_audio_stamped,
    make_ears,
    make_pause,
    make_voice,
)
from tests.node.wire import Inbox, wait_until
from tests.speech.scripted import ScriptedRecogniser
from tests.transports.harness import Rig
from vl2_ros.console.ros_node import load_ears
from vl2_ros.errors import ConfigError, SpeechError
from vl2_ros.node.hearing.audio_messages import AUDIO_STAMPED_TYPE, AUDIO_TYPE
from vl2_ros.node.hearing.heard_messages import HEARD_TYPE, read_time_ns
from vl2_ros.node.hearing.server import Ears, HearingServer
from vl2_ros.node.parameters import HearingParameters
from vl2_ros.node.request import Mode, Status
from vl2_ros.node.transport import Publisher, Qos
from vl2_ros.speech.audio import read_audio as read_sound

VOICE = Path(__file__).parents[2] / "speech" / "data" / "find_the_green_mug.flac"
MS = 1_000_000
CHUNK_S = 0.1


class Robot:
    """A node that sees, one that hears for it, and a microphone.

    Attributes:
        rig: the node that sees and its client.
        heard: what the client receives on ~/heard.
    """

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._server: HearingServer | None = None
        self._publisher: Publisher | None = None
        self._sent_s = 0.0

    def start(self, *sentences: str, ears: Ears | None = None, **parameters: Any) -> HearingServer:
        """Hear for the node; the sentences in turn, whatever is said, unless there are ears."""
        made = make_ears(*sentences)
        assert isinstance(made.recogniser, ScriptedRecogniser)
        self.recogniser = made.recogniser
        values = HearingParameters(**parameters)
        self.failures: list[str] = []
        self._server = HearingServer(
            ears or made, self.rig.open("vl2_hearing"), values, self.failures.append
        )
        self.heard = Inbox(self.rig.client, "/vl2/heard", HEARD_TYPE, Qos(depth=100))
        self._server.start()
        return self._server

    def open_microphone(
        self, type_name: str = AUDIO_TYPE, *, reliable: bool = True, is_heard: bool = True
    ) -> None:
        node = self.rig.open("microphone")
        self._publisher = node.advertise("/audio", type_name, Qos(reliable=reliable, depth=100))
        wait_until(
            lambda: self._publisher.count_subscribers() > 0, "the hearing node subscribes to /audio"
        )
        assert self._server is not None
        server = self._server
        hearers = 2 if is_heard else 0
        wait_until(lambda: server.count_hearers() == hearers, "node and client hear what it says")

    def say(
        self,
        seconds: float = 1.0,
        *,
        voice: np.ndarray | None = None,
        make: Callable[..., Any] = make_audio,
        rate: int = 16_000,
        ago_s: float = 2.0,
    ) -> None:
        """Publish speech between two pauses, in chunks with rising stamps."""
        said = make_voice(seconds, rate) if voice is None else voice
        sound = np.concatenate([make_pause(0.5, rate), said, make_pause(1.0, rate)])
        samples = (sound * 32_767).astype(np.int16)
        origin_ns = self.rig.client.now_ns() - int(ago_s * 1e9)
        size = round(CHUNK_S * rate)
        for first in range(0, len(samples), size):
            stamp_ns = origin_ns + first * 10**9 // rate
            chunk = samples[first : first + size]
            self.publish(make(self.rig.client.types, chunk, stamp_ns=stamp_ns, rate=rate))
        self.began_ns = origin_ns + int(0.5e9)

    def count_hearers(self) -> int:
        assert self._publisher is not None
        return self._publisher.count_subscribers()

    def publish(self, message: Any) -> None:
        assert self._publisher is not None
        self._publisher.publish(message)

    def close(self) -> None:
        if self._server is not None:
            self.recogniser.may_answer.set()
            self._server.stop()


@pytest.fixture
def robot(rig: Rig) -> Iterator[Robot]:
    rig.start()
    robot = Robot(rig)
    yield robot
    robot.close()


def test_spoken_question_is_heard_and_answered(robot):
    robot.start("find the red mug")
    robot.open_microphone()
    robot.rig.show(robot.rig.open_camera(), 1 * MS)
    robot.say(seconds=1.0)
    (heard,) = robot.heard.wait()
    assert (heard.text, heard.accepted, heard.reason) == ("find the red mug", True, "")
    assert heard.score > 0.5
    assert abs(read_time_ns(heard.start) - robot.began_ns) < 100 * MS
    assert abs(read_time_ns(heard.end) - robot.began_ns - 1000 * MS) < 100 * MS
    (result,) = robot.rig.results.wait_for(heard.command_id)
    assert (result.status, result.command_text) == (Status.OK, "find the red mug")


@pytest.mark.speech
def test_natural_voice_is_heard_and_answered(robot):
    robot.start(ears=load_ears(HearingParameters(speech_threads=1)))
    robot.open_microphone()
    robot.rig.show(robot.rig.open_camera(), 1 * MS)
    question = read_sound(VOICE)
    robot.say(voice=question.samples, rate=question.rate)
    (heard,) = robot.heard.wait()
    assert heard.text.lower().strip(" .") == "find the green mug"
    (result,) = robot.rig.results.wait_for(heard.command_id)
    assert (result.status, result.command_text) == (Status.OK, heard.command)


def test_what_is_no_command_is_heard_and_not_asked(robot):
    robot.start("the meeting was moved to friday", "find the mug")
    robot.open_microphone()
    robot.rig.show(robot.rig.open_camera(), 1 * MS)
    robot.say()
    robot.say()
    talk, command = robot.heard.wait(2)
    assert (talk.text, talk.accepted, talk.command_id) == (
        "the meeting was moved to friday",
        False,
        "",
    )
    assert talk.reason
    robot.rig.results.wait_for(command.command_id)
    assert len(robot.rig.results.list()) == 1


@pytest.mark.parametrize("reliable", [True, False])
def test_microphones_of_audio_common_are_heard(robot, reliable):
    if not robot.rig.client.types.has(AUDIO_STAMPED_TYPE):
        pytest.skip("ros: audio_common_msgs is not installed")
    robot.start("find the mug")
    robot.open_microphone(AUDIO_STAMPED_TYPE, reliable=reliable)
    robot.say(make=make_audio_stamped, rate=44_100)
    (heard,) = robot.heard.wait()
    assert heard.text == "find the mug"


def test_words_of_the_model_and_of_a_new_watch_are_expected(robot):
    robot.start()
    robot.open_microphone()
    robot.rig.show(robot.rig.open_camera(), 1 * MS)
    robot.rig.command("w", "find the purple teapots", mode=int(Mode.WATCH))
    robot.rig.results.wait_for("w")

    def is_expected() -> bool:
        before = len(robot.heard.list())
        robot.say()
        robot.heard.wait(before + 1)
        _, prompt, hot_words = robot.recogniser.heard[-1]
        return "Find the purple teapots." in prompt and hot_words == robot.rig.perceiver.info.names

    wait_until(is_expected, "the words of the watch and of the model are expected")


def test_audio_that_cannot_be_used_stops_nothing(robot):
    robot.start("find the mug", "find the bowl", "find the plate")
    robot.open_microphone()
    types = robot.rig.client.types
    robot.publish(types.make(AUDIO_TYPE, rate=16_000, channels=3, int16_data=np.zeros(4, np.int16)))
    robot.publish(types.make(AUDIO_TYPE, rate=0, channels=1, int16_data=np.zeros(4, np.int16)))
    nothing = np.full(1600, np.nan, np.float32)
    robot.publish(make_audio(types, nothing))
    robot.recogniser.failure = SpeechError("the model is broken")
    robot.say()
    wait_until(lambda: len(robot.recogniser.heard) == 1, "the first sentence is lost")
    robot.say()
    robot.say()
    # The words of the sentence that failed were not taken.
    assert [one.text for one in robot.heard.wait(2)] == ["find the mug", "find the bowl"]
    assert robot.failures == []


def test_a_sentence_that_fails_takes_no_other_of_its_chunk_with_it(robot):
    robot.start("find the bowl")
    robot.open_microphone()
    robot.recogniser.failure = SpeechError("the model is broken")
    parts = [make_voice(1.0), make_pause(1.0), make_voice(1.0), make_pause(1.0)]
    robot.publish(make_audio(robot.rig.client.types, np.concatenate(parts)))
    assert [one.text for one in robot.heard.wait()] == ["find the bowl"]
    assert len(robot.recogniser.heard) == 2


def test_a_microphone_that_is_switched_off_ends_the_sentence(robot):
    robot.start("find the mug")
    robot.open_microphone()
    types = robot.rig.client.types
    for _ in range(10):
        robot.publish(make_audio(types, make_voice(CHUNK_S)))
    (heard,) = robot.heard.wait()
    assert heard.text == "find the mug"


def test_hearing_goes_on_while_a_sentence_is_recognised(robot):
    robot.start("find the mug", "find the bowl")
    robot.open_microphone()
    robot.recogniser.may_answer.clear()
    robot.say()
    wait_until(lambda: len(robot.recogniser.heard) == 1, "the first one is being recognised")
    robot.say()
    robot.recogniser.may_answer.set()
    assert [one.text for one in robot.heard.wait(2)] == ["find the mug", "find the bowl"]


def test_stopped_and_started_again_it_hears(robot):
    server = robot.start("find the mug")
    assert server.is_active
    with pytest.raises(ConfigError, match="stop it before"):
        server.start()
    assert server.stop() and server.stop()
    assert not server.is_active
    server.start()
    robot.open_microphone()
    robot.say()
    assert robot.heard.wait()[0].text == "find the mug"


def test_what_is_recognised_after_the_end_is_not_done(robot):
    server = robot.start("find the mug", "find the bowl")
    robot.open_microphone()
    robot.recogniser.may_answer.clear()
    robot.say()
    wait_until(lambda: len(robot.recogniser.heard) == 1, "it is being recognised")
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    wait_until(lambda: robot.count_hearers() == 0, "it is being stopped")
    robot.recogniser.may_answer.set()
    stopping.join()
    server.start()
    wait_until(lambda: server.count_hearers() == 2, "it hears again")
    robot.say()
    assert [one.text for one in robot.heard.wait()] == ["find the bowl"]


def test_silence_of_the_microphone_is_reported(robot):
    robot.start(audio_timeout_s=0.2)
    inbox = Inbox(
        robot.rig.client, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Qos(depth=10)
    )

    def is_of_hearing(message: Any) -> bool:
        return message.status[0].name == "vl2_hearing: hearing" and bool(message.status[0].message)

    inbox.wait(
        1, lambda message: is_of_hearing(message) and "no audio" in message.status[0].message
    )


def test_what_no_node_does_is_reported(robot):
    robot.start(node="elsewhere", audio_timeout_s=0.5)
    robot.open_microphone(is_heard=False)
    inbox = Inbox(
        robot.rig.client, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Qos(depth=10)
    )

    def is_reported() -> bool:
        robot.publish(make_audio(robot.rig.client.types, make_pause(CHUNK_S)))
        words = "nothing subscribes to elsewhere/heard"
        return any(words in message.status[0].message for message in inbox.list())

    wait_until(is_reported, "it is reported")


def test_wake_phrase_is_asked_for(robot):
    robot.start("find the mug", "hey robot find the bowl", wake_phrase="hey robot")
    robot.open_microphone()
    robot.rig.show(robot.rig.open_camera(), 1 * MS)
    robot.say()
    robot.say()
    first, second = robot.heard.wait(2)
    assert (first.accepted, second.accepted) == (False, True)
    (result,) = robot.rig.results.wait_for(second.command_id)
    assert result.command_text == "find the bowl"


def get_texts(inbox: Inbox) -> list[str]:
    states = [one for message in inbox.list() for one in message.status]
    return [one.message for one in states if one.name == "vl2_hearing: hearing"]


def test_audio_that_cannot_be_read_is_a_fault_and_audio_without_samples_is_none(robot):
    robot.start(audio_timeout_s=1.0)
    robot.open_microphone()
    types = robot.rig.client.types
    inbox = Inbox(
        robot.rig.client, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Qos(depth=10)
    )
    broken = {"rate": 0, "channels": 1, "int16_data": np.zeros(4, np.int16)}

    def is_fault() -> bool:
        robot.publish(types.make(AUDIO_TYPE, **broken))
        return any("the rate of audio must be" in text for text in get_texts(inbox)[-1:])

    wait_until(is_fault, "the fault is reported")

    def is_silent() -> bool:
        robot.publish(types.make(AUDIO_TYPE, rate=16_000, channels=1))
        return any("no audio came" in text for text in get_texts(inbox)[-1:])

    wait_until(is_silent, "no samples are no audio")


def test_the_time_between_two_presses_of_a_key_is_no_gap(robot, caplog):
    robot.start("find the mug", "find the bowl")
    robot.open_microphone()
    robot.say(ago_s=8.0)
    robot.heard.wait(1)
    time.sleep(1.5)
    robot.say()
    assert [one.text for one in robot.heard.wait(2)] == ["find the mug", "find the bowl"]
    assert "are missing" not in caplog.text


def test_a_second_hearing_node_is_noted(robot, caplog):
    caplog.set_level(logging.INFO)
    robot.start()
    other = robot.rig.open("other_hearing")
    other.advertise("/vl2/heard", HEARD_TYPE, Qos(depth=100))
    wait_until(lambda: "2 nodes publish on" in caplog.text, "it is noted")
    other.close()
    wait_until(lambda: "this one alone hears" in caplog.text, "it is over")

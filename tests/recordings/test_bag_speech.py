"""What was said in a recording is asked about its images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.node.hearing.scripted_ears import (
    make_audio,
    make_audio_stamped,
    make_pause,
    make_voice,
)
from tests.node.scripted_perceiver import ScriptedPerceiver
from tests.node.wire import make_image, stamp_of
from tests.recordings.test_bag_results import read_recording
from tests.speech.scripted import LoudnessDetector, ScriptedRecogniser
from vl2_ros.errors import TransportError
from vl2_ros.node.request import Status
from vl2_ros.recordings.bag_results import BagQuestion, answer_bag
from vl2_ros.recordings.bag_speech import BagSpeech, hear_recording
from vl2_ros.recordings.mcap_writer import write_recording
from vl2_ros.speech.listener import Listener, Utterance
from vl2_ros.speech.segmenter import Segmenter
from vl2_ros.structures import Command
from vl2_ros.transports.message_types import StoreMessageTypes

S = 1_000_000_000
BEGIN_NS = 1_700_000_000 * S
RATE = 16_000
CHUNK = RATE // 10


def write_drive(
    path: Path, words_s: tuple[tuple[float, float], ...], *, seconds: float, make=make_audio
) -> Path:
    """Record a camera at 2 Hz and a microphone that hears a voice at these times."""
    types = StoreMessageTypes()
    samples = make_pause(seconds)
    for begin_s, end_s in words_s:
        begin = round(begin_s * RATE)
        samples[begin : begin + round((end_s - begin_s) * RATE)] = make_voice(end_s - begin_s)
    samples = (samples * 32_767).astype(np.int16)
    messages = []
    for index in range(round(2 * seconds)):
        stamp_ns = BEGIN_NS + index * S // 2
        image = make_image(types, stamp_ns)
        messages.append((stamp_ns, "/camera/image_raw", image))
    for first in range(0, len(samples), CHUNK):
        stamp_ns = BEGIN_NS + first * S // RATE
        audio = make(types, samples[first : first + CHUNK], stamp_ns=stamp_ns)
        messages.append((stamp_ns + S // 10, "/audio", audio))
    with write_recording(path, types.typestore) as recording:
        for time_ns, topic, message in sorted(messages, key=lambda one: one[0]):
            recording.add(topic, message.__msgtype__, message, time_ns)
    return path


def hear(source: Path, *sentences: str) -> list[Utterance]:
    listener = Listener(ScriptedRecogniser(*sentences), Segmenter(LoudnessDetector()))
    return list(hear_recording(source, "/audio", listener))


def answer(source: Path, heard: list[Utterance], *commands: str, **options):
    perceiver, out = ScriptedPerceiver(), source.with_name("results.mcap")
    asked = [Command(text, id=str(index)) for index, text in enumerate(commands)]
    speech = BagSpeech(heard, Command("-"))
    count = answer_bag(perceiver, source, out, BagQuestion(asked, speech=speech, **options))
    recorded = read_recording(out)
    results = [message for _, message in recorded.get("/vl2/result", [])]
    assert count == len(results)
    return results, recorded


def place(result) -> float:
    """Return the time of the image that a result is about, in seconds from the begin."""
    return (stamp_of(result) - BEGIN_NS) / S


@pytest.mark.parametrize("make", [make_audio, make_audio_stamped])
def test_question_is_about_the_image_at_the_end_of_its_speech(tmp_path, make):
    words = ((0.6, 1.2), (2.1, 3.3))
    source = write_drive(tmp_path / "drive.mcap", words, seconds=5.0, make=make)
    heard = hear(source, "find the mug", "find the bowl")
    for one, (begin_s, end_s) in zip(heard, words, strict=True):
        assert one.start_s - BEGIN_NS / S == pytest.approx(begin_s, abs=0.1)
        assert one.end_s - BEGIN_NS / S == pytest.approx(end_s, abs=0.1)
    results, recorded = answer(source, heard)
    assert [(one.command_text, place(one)) for one in results] == [
        ("find the mug", 1.0),
        ("find the bowl", 3.0),
    ]
    times_ns = [time_ns for time_ns, _ in recorded["/vl2/heard"]]
    assert [time_ns / S - BEGIN_NS / S for time_ns in times_ns] == pytest.approx(
        [1.2, 3.3], abs=0.1
    )
    said = [message for _, message in recorded["/vl2/heard"]]
    assert [one.command_id for one in said] == [one.command_id for one in results]


def test_what_is_not_accepted_is_recorded_and_not_asked(tmp_path):
    source = write_drive(tmp_path / "drive.mcap", ((0.6, 1.6),), seconds=3.0)
    results, recorded = answer(source, hear(source, "the meeting was moved"))
    assert results == []
    ((_, said),) = recorded["/vl2/heard"]
    assert (said.text, said.accepted) == ("the meeting was moved", False)


def test_dialogue_words_do_what_they_do_on_the_node(tmp_path):
    words = tuple((1.1 + 2 * index, 1.9 + 2 * index) for index in range(6))
    source = write_drive(tmp_path / "drive.mcap", words, seconds=14.0)
    heard = hear(
        source,
        "keep watching the mugs",
        "find the bowl",
        "stop watching the mugs",
        "again",
        "what did you say",
        "stop",
    )
    results, recorded = answer(source, heard)
    listed = [(one.command_text, place(one), Status(one.status)) for one in results]
    watched = [(at, status) for text, at, status in listed if text == "find the mugs"]
    assert watched[0] == (1.5, Status.OK)
    # Two images a second, from the one at its begin to the end of the words that stop it.
    assert [at for at, status in watched if status is Status.OK] == [
        1.5 + 0.5 * index for index in range(9)
    ]
    assert watched[-1][1] is Status.ENDED
    asked = [(text, at) for text, at, _ in listed if text == "find the bowl"]
    assert asked == [("find the bowl", 3.5), ("find the bowl", 7.5)]
    answers = [message.data for _, message in recorded["/vl2/answer"]]
    assert answers[-2:] == ["answer to: find the bowl", "answer to: find the bowl"]


def test_spoken_and_written_commands_go_together_and_the_rate_is_that_of_the_written(tmp_path):
    source = write_drive(tmp_path / "drive.mcap", ((1.1, 1.7),), seconds=4.0)
    results, _ = answer(source, hear(source, "find the mug"), "find the hat", rate_hz=0.5)
    assert [(one.command_text, place(one)) for one in results] == [
        ("find the hat", 0.0),
        ("find the mug", 1.5),
        ("find the hat", 2.0),
    ]


def test_topic_without_audio_is_refused_and_the_others_are_named(tmp_path):
    source = write_drive(tmp_path / "drive.mcap", (), seconds=1.0)
    listener = Listener(ScriptedRecogniser(), Segmenter(LoudnessDetector()))
    with pytest.raises(TransportError, match="no audio on '/mic'.*audio topics are: /audio"):
        list(hear_recording(source, "/mic", listener))

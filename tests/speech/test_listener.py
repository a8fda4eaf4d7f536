from __future__ import annotations

import logging
import tracemalloc

import numpy as np
import pytest

from tests.speech.scripted import LoudnessDetector, ScriptedRecogniser, make_stream, split
from vl2_ros.errors import ConfigError
from vl2_ros.speech.audio import AudioChunk
from vl2_ros.speech.dialogue import Ask, StopAll
from vl2_ros.speech.listener import Listener, ListenerConfig, Utterance, measure_score
from vl2_ros.speech.noise_reduction import reduce_noise
from vl2_ros.speech.recogniser import SAMPLE_RATE, Transcript
from vl2_ros.speech.segmenter import Segmenter
from vl2_ros.speech.vocabulary import Vocabulary

TWO_SENTENCES = make_stream([(0.5, 1.5), (2.5, 3.5)], 5.0)


def make_listener(*heard: str | Transcript, **config) -> tuple[Listener, ScriptedRecogniser]:
    recogniser = ScriptedRecogniser(*heard)
    segmenter = Segmenter(LoudnessDetector())
    return Listener(recogniser, segmenter, ListenerConfig(**config), pytest.fail), recogniser


def hear(listener: Listener, samples: np.ndarray) -> list[Utterance]:
    found = [one for chunk in split(samples) for one in listener.push(chunk)]
    return found + listener.flush()


def test_a_stream_becomes_utterances_with_times_and_actions():
    listener, _ = make_listener("Find the mug.", "Stop.")
    first, second = hear(listener, TWO_SENTENCES)
    assert (first.text, first.action) == ("Find the mug.", Ask("Find the mug."))
    assert (second.text, second.action) == ("Stop.", StopAll())
    assert first.accepted and second.accepted and not first.reason
    times = [first.start_s, first.end_s, second.start_s, second.end_s]
    np.testing.assert_allclose(times, [0.5, 1.5, 2.5, 3.5], atol=0.04)


def test_what_is_not_accepted_is_heard_with_its_reason():
    unsure = Transcript("Find the mug.", -2.0, 0.01)
    listener, _ = make_listener(unsure, "I like your hat.")
    first, second = hear(listener, TWO_SENTENCES)
    assert not first.accepted and first.action == Ask("Find the mug.")
    assert first.score == pytest.approx(0.12, abs=0.01) and "0.12 is below 0.50" in first.reason
    assert not second.accepted and second.action is None and second.score == 0.0
    assert second.reason == "it is no command and no question about what is seen"


def test_the_gate_is_a_parameter():
    listener, _ = make_listener(Transcript("Find the mug.", -2.0, 0.01), "Stop.", min_score=0.1)
    assert all(one.accepted for one in hear(listener, TWO_SENTENCES))


def test_the_score_falls_with_doubt_of_each_kind():
    sure = measure_score(Transcript("find it", 0.0, 0.0), 1.0)
    assert sure == 1.0
    assert measure_score(Transcript("find it", -0.7, 0.0), 1.0) == pytest.approx(0.5, abs=0.01)
    assert measure_score(Transcript("find it", 0.0, 0.4), 1.0) == pytest.approx(0.6)
    assert measure_score(Transcript("find it", 0.0, 0.0), 0.9) == pytest.approx(0.9)


def test_the_wake_phrase_is_a_parameter():
    listener, _ = make_listener("Hey robot, stop.", "Stop.", wake_phrase="hey robot")
    first, second = hear(listener, TWO_SENTENCES)
    assert first.accepted and first.action == StopAll() and first.text == "Hey robot, stop."
    assert not second.accepted and "hey robot" in second.reason


def test_after_the_wake_phrase_alone_the_next_sentence_needs_none():
    sentences = ("Hey robot.", "Find the mug.", "Find the bowl.", "Hey robot.", "Find the plate.")
    listener, _ = make_listener(*sentences, wake_phrase="hey, robot")
    spans = [(0.5, 1.5), (2.5, 3.5), (4.5, 5.5), (6.5, 7.5), (13.0, 14.0)]
    heard = hear(listener, make_stream(spans, 15.0))
    assert [one.accepted for one in heard] == [False, True, False, False, False]
    assert heard[1].action == Ask("Find the mug.")
    assert heard[0].reason == "it asks for nothing"
    assert heard[4].reason == "it does not begin with 'hey, robot'"


def test_the_vocabulary_is_the_prompt_from_the_next_sentence_on():
    listener, recogniser = make_listener("Stop.", "Stop.")
    chunks = split(TWO_SENTENCES)
    for chunk in chunks[:100]:
        listener.push(chunk)
    vocabulary = Vocabulary(("forklift",), watches=("find the pallets",))
    listener.set_vocabulary(vocabulary)
    for chunk in chunks[100:]:
        listener.push(chunk)
    (_, before, no_words), (_, after, words) = recogniser.heard
    assert "forklift" not in before and no_words == ()
    assert after == vocabulary.prompt and words == ("forklift",)


def test_segments_can_be_understood_on_another_thread():
    listener, recogniser = make_listener("Find the mug.", "Stop.")
    segments = [one for chunk in split(TWO_SENTENCES) for one in listener.segment(chunk)]
    segments += listener.flush_segments()
    assert len(segments) == 2 and not recogniser.heard
    assert [listener.understand(one).text for one in segments] == ["Find the mug.", "Stop."]
    np.testing.assert_array_equal(recogniser.heard[0][0], reduce_noise(segments[0].samples))


def test_level_and_voice_follow_the_stream():
    listener, _ = make_listener("Stop.")
    levels, voices = [], []
    for chunk in split(make_stream([(0.5, 1.5)], 3.0)):
        listener.push(chunk)
        levels.append(listener.level_db)
        voices.append(listener.is_speech)
    assert levels[10] == pytest.approx(-60.0, abs=1.0) and levels[50] == pytest.approx(
        -9.0, abs=0.2
    )
    assert not voices[10] and voices[50] and not voices[-1]


def test_the_words_so_far_can_be_seen_before_the_end():
    listener, recogniser = make_listener("Find the", "Find the mug.")
    chunks = split(make_stream([(0.5, 1.5)], 3.0))
    for chunk in chunks[:10]:
        listener.push(chunk)
    assert listener.preview() == "" and not recogniser.heard
    for chunk in chunks[10:50]:
        assert not listener.push(chunk)
    assert listener.preview() == "Find the"
    assert len(recogniser.heard[0][0]) == pytest.approx(0.8 * SAMPLE_RATE, abs=SAMPLE_RATE / 20)
    (heard,) = [one for chunk in chunks[50:] for one in listener.push(chunk)]
    assert heard.text == "Find the mug." and listener.preview() == ""


def test_a_faulty_stream_is_heard_and_its_faults_are_logged(caplog):
    samples = TWO_SENTENCES.copy()
    samples[::50] = np.nan
    chunks = [
        *split(samples[: 2 * SAMPLE_RATE]),
        # Two seconds are missing, the stamps jump by an hour, and the format changes.
        *split(samples[2 * SAMPLE_RATE :], start_s=3_600.0),
        *split(np.zeros((8_000, 2), np.int16), 8_000, start_s=3_603.0),
    ]
    listener = Listener(ScriptedRecogniser("Stop.", "Again."), Segmenter(LoudnessDetector()))
    with caplog.at_level(logging.WARNING):
        found = [one for chunk in chunks for one in listener.push(chunk)] + listener.flush()
    assert [one.text for one in found] == ["Stop.", "Again."]
    assert found[1].start_s == pytest.approx(3_600.5, abs=0.04)
    faults = " ".join(record.message for record in caplog.records)
    assert all(word in faults for word in ("NaN", "are missing", "audio changed from", "8000 Hz"))


def test_ten_minutes_of_silence_keep_memory_flat():
    listener, _ = make_listener()
    room = make_stream([], 3.0)  # a second at 48 kHz
    tracemalloc.start()
    try:
        for index in range(600):
            assert not listener.push(AudioChunk(room, 48_000, float(index)))
            if index == 10:
                before, _ = tracemalloc.get_traced_memory()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A second of audio is 64 kB.
    assert after - before < 20_000 and peak < 2_000_000


def test_nothing_is_heard_in_an_empty_stream():
    listener, _ = make_listener()
    assert not listener.push(AudioChunk(np.zeros(0, np.int16), 8_000, 0.0)) + listener.flush()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"min_score": 1.1}, r"min_score of speech must be 0\.\.1, got 1.1"),
        ({"min_score": float("nan")}, "got nan"),
        ({"wake_phrase": "..."}, r"such as \"hey robot\", got '...'"),
        ({"channel": -1}, "0 or more, got -1"),
    ],
)
def test_values_that_cannot_work_are_refused(values, text):
    with pytest.raises(ConfigError, match=text):
        ListenerConfig(**values)

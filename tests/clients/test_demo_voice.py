from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.speech.scripted import LoudnessDetector, ScriptedRecogniser
from vl2_ros.clients import demo_voice
from vl2_ros.clients.demo_voice import hear_questions
from vl2_ros.console.node_commands import DEMO_COMMANDS
from vl2_ros.console.terminal import read_sentences
from vl2_ros.processing.language.parse import understand
from vl2_ros.speech.recogniser import SAMPLE_RATE

SPOKEN = DEMO_COMMANDS.parent / "spoken"
MOST_BYTES = 200_000


@pytest.mark.speech
def test_three_spoken_questions_of_the_demo_are_heard():
    written = read_sentences(DEMO_COMMANDS)
    heard = hear_questions(written, SPOKEN)
    assert [understand(one) for one in heard.sentences] == [understand(one) for one in written]
    changed = [one for one, other in zip(heard.sentences, written, strict=True) if one != other]
    # As it was heard: with a capital, and a mark at the end.
    assert 1 <= len(changed) <= 3
    assert len(heard.notes) == 3 and all("by ear" in note for note in heard.notes)


def test_every_clip_is_a_question_of_the_demo_and_small():
    clips = sorted(SPOKEN.glob("*.flac"))
    assert len(clips) == 3 and all(clip.stat().st_size <= MOST_BYTES for clip in clips)
    words = {"".join(filter(str.isalnum, one.lower())) for one in read_sentences(DEMO_COMMANDS)}
    assert {"".join(filter(str.isalnum, clip.stem)) for clip in clips} <= words


def test_without_speech_the_questions_stay_written_and_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    written = read_sentences(DEMO_COMMANDS)
    heard = hear_questions(written, SPOKEN)
    assert heard.sentences == tuple(written)
    assert len(heard.notes) == 1
    assert heard.notes[0].startswith("3 of the questions would be asked by ear")


def test_sentences_without_a_clip_load_nothing(monkeypatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    heard = hear_questions(["find the mug", "stop"], tmp_path)
    assert heard.sentences == ("find the mug", "stop") and heard.notes == ()


def test_a_sentence_of_which_nothing_is_heard_is_asked_as_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_voice, "load_recogniser", lambda: ScriptedRecogniser("Good morning."))
    monkeypatch.setattr(demo_voice, "load_voice_detector", LoudnessDetector)
    tone = 0.3 * np.sin(np.arange(SAMPLE_RATE) / 5)
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "find-the-mug.flac", np.pad(tone, SAMPLE_RATE), SAMPLE_RATE)
    heard = hear_questions(["find the mug"], tmp_path)
    assert heard.sentences == ("find the mug",)
    assert '"Good morning." (score' in heard.notes[0] and "not asked" in heard.notes[0]

"""`vl2 listen` and `vl2 ask --audio` with scripted ears; the real ones are in tests/speech."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from PIL import Image

from tests.console.command_line import run
from tests.speech.scripted import LoudnessDetector, ScriptedRecogniser, make_stream, split
from vl2_ros.errors import SpeechError
from vl2_ros.speech.audio import AudioChunk
from vl2_ros.speech.recogniser import SAMPLE_RATE, Transcript
from vl2_ros.structures import Command, Event, Frame, ModelInfo, Result, ResultEvent

TWO_SENTENCES = make_stream([(0.5, 1.5), (2.5, 3.5)], 4.5)
WHISPER = "vl2_ros.speech.whisper"


class Ears:
    """What hears in place of Whisper.

    Attributes:
        recogniser: the scripted one.
        loaded: weights and threads of each load.
    """

    def __init__(self) -> None:
        self.recogniser = ScriptedRecogniser()
        self.loaded: list[tuple[str, int]] = []

    def say(self, *heard: str | Transcript) -> None:
        self.recogniser = ScriptedRecogniser(*heard)

    def load(self, weights: str, *, threads: int) -> ScriptedRecogniser:
        self.loaded.append((weights, threads))
        return self.recogniser


@pytest.fixture
def ears(monkeypatch) -> Ears:
    made = Ears()
    monkeypatch.setattr(f"{WHISPER}.load_recogniser", made.load)
    monkeypatch.setattr(f"{WHISPER}.load_voice_detector", LoudnessDetector)
    return made


@pytest.fixture
def audio(tmp_path) -> Path:
    path = tmp_path / "question.wav"
    soundfile.write(path, TWO_SENTENCES, SAMPLE_RATE)
    return path


def test_what_is_said_in_a_file_is_printed(ears, audio, capsys):
    ears.say("Find the red mug.", "The weather is nice.")
    assert run("listen", audio) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "   0.48 s  Find the red mug.  (0.85)  -> ask: Find the red mug."
    assert "The weather is nice." in second and "-> not accepted: it names nothing" in second


def test_json_has_a_document_for_each_sentence(ears, audio, capsys):
    ears.say("Keep watching the mugs.", Transcript("Stop.", -3.0, 0.0))
    assert run("listen", audio, "--json") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["action"], first["command"]) == ("start_watch", "find the mugs")
    assert first["accepted"] and first["reason"] == ""
    assert first["start_s"] == pytest.approx(0.5, abs=0.04)
    assert first["end_s"] == pytest.approx(1.5, abs=0.04)
    assert (second["action"], second["command"]) == ("stop_all", "")
    assert not second["accepted"] and "is below 0.50" in second["reason"]


def test_a_stream_on_standard_input_is_heard_with_the_options(ears, monkeypatch, capsys):
    stream = io.BytesIO()
    stereo = np.stack([np.zeros_like(TWO_SENTENCES), TWO_SENTENCES], axis=1)
    soundfile.write(stream, stereo, SAMPLE_RATE, format="WAV")
    stream.seek(0)
    stdin = SimpleNamespace(buffer=stream, isatty=lambda: False)
    monkeypatch.setattr(sys, "stdin", stdin)
    ears.say("Hey robot, find the mug.", Transcript("Hey robot, stop.", -1.0, 0.0))
    options = ["--channel", 1, "--wake-phrase", "hey robot", "--min-score", 0.2]
    options += ["--name", "mug", "--name", "bowl", "--speech-weights", "hub:base"]
    assert run("listen", "-", *options, "--speech-threads", 3) == 0
    assert [line.partition("-> ")[2] for line in capsys.readouterr().out.splitlines()] == [
        "ask: find the mug.",
        "stop_all",
    ]
    assert ears.loaded == [("hub:base", 3)]
    assert ears.recogniser.heard[0][2] == ("mug", "bowl")


def test_the_microphone_is_heard_until_the_end(ears, monkeypatch, capsys):
    opened = []

    def read_microphone(name: str, channels: int) -> Iterator[AudioChunk]:
        opened.append((name, channels))
        yield AudioChunk(TWO_SENTENCES, SAMPLE_RATE, 0.0)
        raise KeyboardInterrupt

    monkeypatch.setattr("vl2_ros.speech.sources.read_microphone", read_microphone)
    ears.say("Again.", "Stop.")
    assert run("listen", "--microphone", "usb", "--channel", 2) == 0
    assert opened == [("usb", 3)]
    assert [line.partition("-> ")[2] for line in capsys.readouterr().out.splitlines()] == [
        "repeat",
        "stop_all",
    ]


def test_the_words_of_a_live_source_are_shown_in_a_terminal_as_they_come(ears, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def read_microphone(name: str, channels: int) -> Iterator[AudioChunk]:
        yield from split(make_stream([(0.5, 3.0)], 4.0))

    terminal = Terminal()
    monkeypatch.setattr("vl2_ros.speech.sources.read_microphone", read_microphone)
    monkeypatch.setattr("vl2_ros.console.speech.meter.PERIOD_S", 0.0)
    ears.say("Find.", "Find the.", "Find the mug.")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", terminal)
        assert run("listen") == 0
    lines = [line.partition("speech")[2].strip() for line in terminal.getvalue().split("\r")]
    assert list(dict.fromkeys(lines)) == ["", "Find.", "Find the."]
    assert len(ears.recogniser.heard) == 3


def test_faults_of_the_audio_are_noted_and_hearing_goes_on(ears, tmp_path, capsys):
    path = tmp_path / "low.wav"
    soundfile.write(path, make_stream([(0.5, 1.5)], 2.5)[::2], 8_000)
    ears.say("Stop.")
    assert run("listen", path) == 0
    shown = capsys.readouterr()
    assert "stop_all" in shown.out and "audio at 8000 Hz has nothing above 4000 Hz" in shown.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("none.wav",), "none.wav, which is no file"),
        (("a.wav", "--microphone", "usb"), "expected a file or a microphone"),
        (("{audio}", "--min-score", "2"), "min_score of speech must be 0..1, got 2.0"),
    ],
)
def test_what_cannot_work_is_refused(ears, audio, capsys, arguments, text):
    assert run("listen", *(one.format(audio=audio) for one in arguments)) == 2
    assert text in capsys.readouterr().err
    assert not ears.loaded


@pytest.mark.parametrize("command", ["listen", "microphone"])
def test_a_terminal_is_no_stream(ears, monkeypatch, capsys, command):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    assert run(command, "-") == 2
    assert "arecord -f S16_LE" in capsys.readouterr().err


def test_silence_is_noted(ears, tmp_path, capsys):
    path = tmp_path / "silence.wav"
    soundfile.write(path, make_stream([], 1.0), SAMPLE_RATE)
    assert run("listen", path) == 0
    said = capsys.readouterr()
    assert not said.out and "no speech was found" in said.err


class EchoPipeline:
    """Answers with the sentence."""

    info = ModelInfo("echo", "0123", "numpy", "cpu", ())

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        yield ResultEvent(Result(command.id, 0, "", command.text))


@pytest.fixture
def image(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr("vl2_ros.loading.load_pipeline", lambda options, progress: EchoPipeline())
    path = tmp_path / "table.png"
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(path)
    return path


def test_a_spoken_question_is_asked_about_an_image(ears, image, audio, capsys):
    ears.say("Nice weather.", "Find the red mug.")
    assert run("ask", image, "--audio", audio, "--json") == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert (document["command"], document["text"]) == ("Find the red mug.", "Find the red mug.")
    assert "heard: Find the red mug. (score" in shown.err


def test_the_names_of_the_model_are_expected(ears, image, audio):
    ears.say("Find the banana.", "")
    assert run("ask", image, "--audio", audio, "--name", "spanner") == 0
    _, prompt, hot_words = ears.recogniser.heard[0]
    expected = f"{prompt} {' '.join(hot_words)}"
    assert "spanner" in expected and "banana" in expected


def test_a_spoken_watch_is_asked_once(ears, image, audio, capsys):
    ears.say("Keep watching the mugs.", "")
    assert run("ask", image, "--audio", audio) == 0
    assert "find the mugs" in capsys.readouterr().out


def test_an_image_may_be_drawn_by_word(ears, image, audio, capsys):
    ears.say("Draw a red mug.", "")
    assert run("ask", "--audio", audio) == 0
    assert "Draw a red mug." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("heard", "text"),
    [
        (("Nice weather.", "Stop."), "'Nice weather.': it names nothing that can be seen; 'Stop.'"),
        ((Transcript("Find it.", -4.0, 0.0), ""), "lower --min-score"),
    ],
)
def test_a_file_without_a_question_is_refused(ears, image, audio, capsys, heard, text):
    ears.say(*heard)
    assert run("ask", image, "--audio", audio) == 2
    assert text in capsys.readouterr().err


def test_a_file_without_speech_is_refused(ears, image, tmp_path, capsys):
    path = tmp_path / "quiet.wav"
    soundfile.write(path, make_stream([], 2.0), SAMPLE_RATE)
    assert run("ask", image, "--audio", path, "--json") == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["type"] == "InputError" and "no speech was found" in error["message"]


def test_nothing_is_asked_without_words(image, capsys):
    assert run("ask") == 2
    assert "expected images and then a sentence" in capsys.readouterr().err


def test_weights_that_cannot_be_used_are_an_error(ears, audio, monkeypatch, capsys):
    def fail(weights: str, *, threads: int) -> None:
        raise SpeechError("no weights of a speech recogniser are installed")

    monkeypatch.setattr(f"{WHISPER}.load_recogniser", fail)
    assert run("listen", audio, "--json") == 2
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "SpeechError"


def test_the_extra_is_named_where_a_package_is_missing(audio, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    assert run("listen", audio) == 2
    assert "pip install 'vl2_ros[speech]'" in capsys.readouterr().err

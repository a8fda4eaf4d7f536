"""Three minutes with twenty sentences by four voices, through the real voice detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vl2_ros.speech.audio import read_audio
from vl2_ros.speech.recogniser import SAMPLE_RATE
from vl2_ros.speech.segmenter import Segment, Segmenter
from vl2_ros.speech.whisper import load_voice_detector

CLIPS = sorted(Path(__file__).with_name("data").glob("*.flac"))
LENGTH_S, SENTENCES = 180, 20
TOLERANCE_S = 0.3
#: A sentence begins and ends where it is louder than this part of its loudest sample.
AUDIBLE = 0.03

pytestmark = pytest.mark.speech


@pytest.fixture(scope="module")
def said() -> tuple[np.ndarray, list[tuple[float, float]]]:
    """(N,) samples with start and end of each sentence: other pauses and levels, a quiet room."""
    random = np.random.default_rng(21)
    stream = 3e-4 * random.standard_normal(LENGTH_S * SAMPLE_RATE)
    spans = []
    for index in range(SENTENCES):
        clip = read_audio(CLIPS[index % len(CLIPS)]).samples * random.uniform(0.2, 1.5)
        start = int((index + random.uniform(0.05, 0.5)) * LENGTH_S / SENTENCES * SAMPLE_RATE)
        stream[start : start + len(clip)] += clip
        loud = np.flatnonzero(np.abs(clip) > AUDIBLE * np.abs(clip).max())
        spans.append(((start + loud[0]) / SAMPLE_RATE, (start + loud[-1]) / SAMPLE_RATE))
    return stream.astype(np.float32), spans


def cut(stream: np.ndarray, step: int) -> list[Segment]:
    segmenter, found = Segmenter(load_voice_detector()), []
    for start in range(0, len(stream), step):
        found += segmenter.push(stream[start : start + step], 50.0 + start / SAMPLE_RATE)
    return found + segmenter.flush()


def test_twenty_sentences_are_twenty_segments_however_the_stream_comes(said):
    stream, spans = said
    assert len(CLIPS) == 5
    at_once = cut(stream, len(stream))
    assert len(at_once) == SENTENCES
    for segment, (start_s, end_s) in zip(at_once, spans, strict=True):
        assert segment.start_s - 50.0 == pytest.approx(start_s, abs=TOLERANCE_S)
        assert segment.end_s - 50.0 == pytest.approx(end_s, abs=TOLERANCE_S)
    in_chunks = cut(stream, SAMPLE_RATE // 50)
    assert len(in_chunks) == SENTENCES
    for one, other in zip(at_once, in_chunks, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
        assert other.start_s == pytest.approx(one.start_s, abs=1e-6)
        assert other.end_s == pytest.approx(one.end_s, abs=1e-6)

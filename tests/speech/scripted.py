"""Sound and ears without a network: a voice is what is loud, the words are given in turn."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from vl2_ros.speech.audio import AudioChunk
from vl2_ros.speech.recogniser import SAMPLE_RATE, Transcript

#: Root mean square of a pause: the noise of a quiet room.
ROOM = 1e-3
PATIENCE_S = 30.0


class LoudnessDetector:
    """Takes every loud window for a voice.

    Attributes:
        reset_count: how often a stream began.
    """

    def __init__(self) -> None:
        self.reset_count = 0

    def detect(self, window: np.ndarray) -> float:
        return float(np.abs(window).mean() > 0.05)

    def reset(self) -> None:
        self.reset_count += 1


class ScriptedRecogniser:
    """Hears the given words in turn, whatever was said, and then none.

    Attributes:
        heard: samples, prompt and hot words of each call.
        may_answer: cleared, every call waits for it.
        failure: raised by the next call when set.
    """

    def __init__(self, *sentences: str | Transcript) -> None:
        self._sentences = list(sentences)
        self.heard: list[tuple[np.ndarray, str, tuple[str, ...]]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.failure: Exception | None = None

    def recognise(
        self, samples: np.ndarray, *, prompt: str = "", hot_words: Sequence[str] = ()
    ) -> Transcript:
        self.heard.append((samples, prompt, tuple(hot_words)))
        assert self.may_answer.wait(PATIENCE_S)
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        words = self._sentences.pop(0) if self._sentences else ""
        return words if isinstance(words, Transcript) else Transcript(words, -0.05, 0.01)


def make_stream(spans: Sequence[tuple[float, float]], seconds: float, seed: int = 0) -> np.ndarray:
    """(N,) float32 at 16 kHz: loud in the spans of seconds, a quiet room elsewhere."""
    random = np.random.default_rng(seed)
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    samples = ROOM * random.standard_normal(len(times))
    for start, end in spans:
        inside = (start <= times) & (times < end)
        samples[inside] += 0.5 * np.sin(2 * np.pi * 220 * times[inside])
    return samples.astype(np.float32)


def split(
    samples: np.ndarray, rate: int = SAMPLE_RATE, step_s: float = 0.02, start_s: float = 0.0
) -> list[AudioChunk]:
    """Cut samples into chunks as a device brings them."""
    step = round(step_s * rate)
    return [
        AudioChunk(samples[index : index + step], rate, start_s + index / rate)
        for index in range(0, len(samples), step)
    ]

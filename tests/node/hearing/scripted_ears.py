"""Ears without a network: a voice is what is loud, and the words are given in turn."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from vl2_ros.node.hearing.audio_messages import AUDIO_STAMPED_TYPE, AUDIO_TYPE
from vl2_ros.node.hearing.server import Ears
from vl2_ros.node.transport import MessageTypes
from vl2_ros.speech.recogniser import SAMPLE_RATE, Transcript

PATIENCE_S = 30.0


class LoudnessDetector:
    """Takes every window that is loud for a voice."""

    def detect(self, window: np.ndarray) -> float:
        return float(np.abs(window).mean() > 0.05)

    def reset(self) -> None:
        """Keep nothing."""


class ScriptedRecogniser:
    """Hears the given sentences in turn, whatever was said.

    Attributes:
        heard: samples, prompt and hot words of each call.
        may_answer: cleared, every call waits for it.
        failure: raised by the next call when set.
    """

    def __init__(self, *sentences: str) -> None:
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
        text = self._sentences.pop(0) if self._sentences else ""
        return Transcript(text, log_probability=-0.05, no_speech=0.01)


def make_ears(*sentences: str) -> Ears:
    return Ears(ScriptedRecogniser(*sentences), LoudnessDetector)


def make_voice(seconds: float, rate: int = SAMPLE_RATE) -> np.ndarray:
    """(N,) float32: a loud tone, which is speech for the detector."""
    times = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * 220 * times)).astype(np.float32)


def make_pause(seconds: float, rate: int = SAMPLE_RATE) -> np.ndarray:
    return np.zeros(round(seconds * rate), np.float32)


def make_audio(
    types: MessageTypes, samples: np.ndarray, *, stamp_ns: int = 0, rate: int = SAMPLE_RATE
) -> Any:
    """Make a vl2_ros/Audio of (N,) or (N, C) int16 or float32 samples."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    name = {"int16": "int16_data", "float32": "float32_data"}[samples.dtype.name]
    data = {name: np.ascontiguousarray(samples).reshape(-1)}
    header = _make_header(types, stamp_ns)
    return types.make(AUDIO_TYPE, header=header, rate=rate, channels=channels, **data)


def make_audio_stamped(
    types: MessageTypes,
    samples: np.ndarray,
    *,
    stamp_ns: int = 0,
    rate: int = SAMPLE_RATE,
    name: str = "int16_data",
) -> Any:
    """Make an audio_common_msgs/AudioStamped of (N,) or (N, C) samples of the field's dtype."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    data = types.make(
        "audio_common_msgs/msg/AudioData", **{name: np.ascontiguousarray(samples).reshape(-1)}
    )
    info = types.make(
        "audio_common_msgs/msg/AudioInfo", channels=channels, rate=rate, chunk=len(samples)
    )
    audio = types.make("audio_common_msgs/msg/Audio", audio_data=data, info=info)
    return types.make(AUDIO_STAMPED_TYPE, header=_make_header(types, stamp_ns), audio=audio)


def _make_header(types: MessageTypes, stamp_ns: int) -> Any:
    stamp = types.make(
        "builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
    )
    return types.make("std_msgs/msg/Header", stamp=stamp, frame_id="microphone")

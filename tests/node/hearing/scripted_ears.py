"""Scripted ears for a node, and audio messages."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.speech.scripted import LoudnessDetector, ScriptedRecogniser
from vl2_ros.node.hearing.audio_messages import AUDIO_STAMPED_TYPE, AUDIO_TYPE
from vl2_ros.node.hearing.server import Ears
from vl2_ros.node.transport import MessageTypes
from vl2_ros.speech.recogniser import SAMPLE_RATE


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

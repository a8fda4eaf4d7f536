"""Streams to hear: a spoken sentence in silence, noise or after music, and minutes without one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from hearing.noise import NOISES, RATE, Samples, make_colored, make_music, scale_rms
from hearing.sentences import name_clip
from vl2_ros.speech.audio import read_audio

#: Root mean square of speech, without its pauses: -26 dB of full scale.
_LEVEL = 0.05
_BEFORE_S, _AFTER_S, _MUSIC_S = 0.6, 1.0, 1.0
#: Speech is what is louder than this part of its loudest sample.
_PAUSE = 0.02
#: Condition -> ratio of speech to pink noise in decibels; None: no noise.
CONDITIONS: dict[str, float | None] = {"clean": None, "10db": 10.0, "5db": 5.0, "music": None}


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A sentence to hear.

    Attributes:
        samples: (N,) float32 at 16 kHz.
        end_s: time at which the speech ends.
    """

    samples: Samples
    end_s: float


def find_clip(folder: Path, voice: str, sentence: str) -> Path | None:
    """Return the file of a spoken sentence; None where it is missing."""
    clip = folder / voice / name_clip(sentence)
    return clip if clip.is_file() else None


def read_clip(clip: Path) -> Samples:
    """Read speech: mono, 16 kHz, at one level."""
    audio = read_audio(clip)
    samples = audio.samples.astype(np.float32)
    if audio.samples.dtype == np.int16:
        samples /= 32768
    mono = samples.reshape(len(samples), -1).mean(axis=1)
    resampled = soxr.resample(mono, audio.rate, RATE).astype(np.float32)
    loud = np.abs(resampled) > _PAUSE * np.abs(resampled).max()
    return resampled * (_LEVEL / np.sqrt(np.mean(np.square(resampled[loud]))))


def make_trial(speech: Samples, condition: str, seed: int) -> Trial:
    """Put a sentence into a condition; music plays for the second before it, as loud as it."""
    before = np.zeros(int((_MUSIC_S if condition == "music" else _BEFORE_S) * RATE), np.float32)
    if condition == "music":
        before += _LEVEL * make_music(len(before), seed)
    loud = np.flatnonzero(np.abs(speech) > _PAUSE * np.abs(speech).max())
    end_s = (len(before) + int(loud[-1])) / RATE
    after = np.zeros(int(_AFTER_S * RATE), np.float32)
    samples = np.concatenate([before, speech, after])
    ratio_db = CONDITIONS[condition]
    if ratio_db is not None:
        samples += _LEVEL * 10 ** (-ratio_db / 20) * make_colored(len(samples), seed)
    return Trial(samples, end_s)


def make_undirected(seconds: float, talk: list[Samples]) -> dict[str, Samples]:
    """Return what holds no command: noises, music and small talk, a third of the time each.

    Args:
        seconds: of all together.
        talk: spoken sentences; empty: noise and music only.
    """
    third = int(seconds / 3 * RATE)
    noises = [
        _LEVEL * make(third // len(NOISES), seed) for seed, make in enumerate(NOISES.values())
    ]
    tunes = [_LEVEL * make_music(third // 6, seed) for seed in range(6)]
    streams = {"noise": np.concatenate(noises), "music": np.concatenate(tunes)}
    if talk:
        streams["small talk"] = _join_talk(talk, third)
    return streams


def _join_talk(talk: list[Samples], count: int) -> Samples:
    """Return sentences one after the other, with short pauses, in a quiet room."""
    random = np.random.default_rng(0)
    parts: list[Samples] = []
    length = 0
    while length < count:
        for index in random.permutation(len(talk)):
            pause = np.zeros(int(random.uniform(0.3, 1.5) * RATE), np.float32)
            parts += [talk[index], pause]
            length += len(talk[index]) + len(pause)
    speech = np.concatenate(parts)[:count]
    return speech + 0.03 * _LEVEL * scale_rms(make_colored(len(speech), 1))

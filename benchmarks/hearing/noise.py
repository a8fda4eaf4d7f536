"""What is heard beside a command: pink noise, the noises of a room, and music made of notes.

All of it is synthesised from a seed, float32 at 16 kHz, with a root mean square of 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
Samples = NDArray[np.float32]

#: Roots of four chords as MIDI notes, with their thirds.
_CHORDS = ((57, 3), (53, 4), (48, 4), (55, 4))
_SCALE = (0, 2, 4, 7, 9, 12)
_BEAT_S = 0.25


def scale_rms(samples: Samples) -> Samples:
    """Return samples with a root mean square of 1; silence as it is."""
    return samples / max(float(np.sqrt(np.mean(np.square(samples)))), 1e-9)


def make_colored(count: int, seed: int, exponent: float = 1.0) -> Samples:
    """Return noise whose power falls with frequency ** exponent: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    frequency = np.fft.rfftfreq(count, 1 / RATE)
    # Below what a microphone hears, brown noise would be all there is.
    spectrum *= np.maximum(frequency, 40.0) ** (-exponent / 2) * (frequency > 20)
    return scale_rms(np.fft.irfft(spectrum, count).astype(np.float32))


def make_music(count: int, seed: int) -> Samples:
    """Return a small band: chords, a bass, a plucked melody and drums, another tune a seed."""
    random = np.random.default_rng(seed)
    mix = np.zeros(count + RATE, np.float32)
    for beat, start in enumerate(range(0, count, int(_BEAT_S * RATE))):
        root, third = _CHORDS[(beat // 8 + seed) % len(_CHORDS)]
        if beat % 8 == 0:
            for note in (root, root + third, root + 7):
                _add(mix, start, 0.5 * _play(note, 2.0, decay=0.8))
        if beat % 2 == 0:
            _add(mix, start, 1.2 * _play(root - 24, 0.5, decay=3.0))
        if random.random() < 0.6:
            note = 60 + seed % 5 + _SCALE[random.integers(len(_SCALE))]
            _add(mix, start, _play(note, 0.8, decay=4.0))
        _add(mix, start, 0.6 * _hit(random, 60 if beat % 4 == 2 else 200))
        if beat % 4 == 0:
            _add(mix, start, 2.0 * _kick())
    return scale_rms(mix[:count])


def _play(note: float, seconds: float, decay: float) -> Samples:
    """Return a note with eight harmonics that dies away."""
    time = np.arange(int(seconds * RATE)) / RATE
    frequency = 440.0 * 2 ** ((note - 69) / 12)
    harmonics = (
        np.sin(2 * np.pi * frequency * order * time) / order
        for order in range(1, 9)
        if frequency * order < RATE / 2
    )
    fade_in = np.minimum(time / 0.005, 1.0)
    return (sum(harmonics) * np.exp(-decay * time) * fade_in).astype(np.float32)


def _hit(random: np.random.Generator, decay: float) -> Samples:
    time = np.arange(RATE // 8) / RATE
    return (random.standard_normal(len(time)) * np.exp(-decay * time)).astype(np.float32)


def _kick() -> Samples:
    time = np.arange(RATE // 5) / RATE
    return (np.sin(2 * np.pi * (50 * time - 4 * np.exp(-30 * time))) * np.exp(-15 * time)).astype(
        np.float32
    )


def _add(mix: Samples, start: int, part: Samples) -> None:
    end = min(start + len(part), len(mix))
    mix[start:end] += part[: end - start]


def make_clatter(count: int, seed: int) -> Samples:
    """Return dishes, steps and doors: short noises that ring, two or three a second."""
    random = np.random.default_rng(seed)
    mix = 0.02 * make_colored(count + RATE, seed)
    for start in np.cumsum(random.exponential(RATE * 0.4, 4 * count // RATE)).astype(int):
        if start < count:
            rings = sum(_play(random.uniform(60, 110), 0.4, random.uniform(10, 60)) for _ in "xyz")
            _add(mix, start, random.uniform(0.2, 1.0) * rings)
            _add(mix, start, random.uniform(0.2, 2.0) * _hit(random, random.uniform(30, 200)))
    return scale_rms(mix[:count])


def make_motor(count: int, seed: int) -> Samples:
    """Return a robot's drive: a whine that goes up and down, over a fan."""
    time = np.arange(count) / RATE
    speed = 300 + 150 * np.sin(2 * np.pi * 0.2 * time + seed)
    phase = 2 * np.pi * np.cumsum(speed) / RATE
    whine = sum(np.sin(order * phase) / order for order in (1, 2, 3, 5))
    return scale_rms((whine + make_colored(count, seed, 0.5)).astype(np.float32))


def make_beeps(count: int, seed: int) -> Samples:
    """Return alarms and telephones: tones that come and go."""
    time = np.arange(count) / RATE
    gate = (time * (1 + seed % 3) % 1.0) < 0.4
    pitch = np.where((time * 4).astype(int) % 2, 950.0, 1250.0)
    tone = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * gate
    return scale_rms((tone + 0.05 * make_colored(count, seed)).astype(np.float32))


#: Noises of rooms by name: samples, seed -> noise.
NOISES: dict[str, Callable[[int, int], Samples]] = {
    "pink": make_colored,
    "white": lambda count, seed: make_colored(count, seed, 0.0),
    "brown": lambda count, seed: make_colored(count, seed, 2.0),
    "clatter": make_clatter,
    "motor": make_motor,
    "beeps": make_beeps,
}

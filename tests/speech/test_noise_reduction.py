from __future__ import annotations

import numpy as np

from vl2_ros.speech.noise_reduction import reduce_noise

RATE = 16_000


def make_tone() -> np.ndarray:
    """A second of tone between pauses of half a second."""
    tone = 0.1 * np.sin(2 * np.pi * 700 * np.arange(RATE) / RATE)
    return np.pad(tone, RATE // 2).astype(np.float32)


def test_steady_noise_is_weaker_and_the_voice_stays():
    noise = 0.02 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    reduced = reduce_noise(make_tone() + noise)
    assert reduced.shape == noise.shape and reduced.dtype == np.float32
    assert np.std(reduced[: RATE // 2 - 512]) < 0.35 * np.std(noise)
    inside = slice(RATE // 2 + 1024, RATE + RATE // 2 - 1024)
    error = reduced[inside] - make_tone()[inside]
    assert np.std(error) < 0.7 * np.std(noise)


def test_without_noise_nothing_changes():
    tone = make_tone()
    np.testing.assert_allclose(reduce_noise(tone), tone, atol=1e-4)
    silence = np.zeros(RATE, np.float32)
    np.testing.assert_array_equal(reduce_noise(silence), silence)


def test_what_is_shorter_than_two_frames_stays():
    short = np.ones(1000, np.float32)
    assert reduce_noise(short) is short
    assert len(reduce_noise(np.ones(1024, np.float32))) == 1024

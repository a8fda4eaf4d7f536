"""Reduction of steady noise in the samples of a sentence, before they are recognised."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.signal import istft, stft

_RATE = 16_000
#: Samples of a frame, and from one to the next.
_FRAME, _STEP = 512, 128
#: Share of the frames, the quietest, that are taken for noise: the pause around a sentence.
_QUIET = 0.15
#: Bins from which on frames are compared: below 250 Hz is more rumble than voice.
_VOICE = 8
#: The noise is subtracted so many times, and never more than down to this gain: what is left over
#: hides the rest, which a recogniser takes for words.
_TIMES, _LEAST_GAIN = 1.5, 0.15


def reduce_noise(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return samples in which steady noise is weaker; without noise they stay as they are.

    Args:
        samples: (N,) mono, 16 kHz, with a pause before or after the voice.

    Returns:
        (N,) float32.
    """
    if len(samples) < 2 * _FRAME:
        return samples
    spectrum = stft(samples, _RATE, nperseg=_FRAME, noverlap=_FRAME - _STEP)[2]
    power = np.square(np.abs(spectrum))
    loudness = power[_VOICE:].sum(axis=0)
    quiet = np.argsort(loudness)[: max(1, int(_QUIET * len(loudness)))]
    noise = power[:, quiet].mean(axis=1, keepdims=True)
    share = 1.0 - _TIMES * noise / np.maximum(power, 1e-12)
    # Smoothed, so that no single bins stand out as tones.
    gain = uniform_filter(np.sqrt(np.maximum(share, 0.0)), (3, 3))
    reduced = istft(
        spectrum * np.maximum(gain, _LEAST_GAIN), _RATE, nperseg=_FRAME, noverlap=_FRAME - _STEP
    )[1]
    return np.asarray(reduced[: len(samples)], dtype=np.float32)

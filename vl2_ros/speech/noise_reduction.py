"""Reduction of steady noise in the samples of a sentence, before they are recognised."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

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
    window = np.hanning(_FRAME + 1)[:-1].astype(np.float32)
    # Mirrored at both ends: zeros would be taken for the quietest frames.
    padded = np.pad(samples, (_FRAME, 2 * _FRAME), mode="reflect")
    frames = sliding_window_view(padded, _FRAME)[::_STEP] * window
    spectrum = np.fft.rfft(frames, axis=1)
    power = np.square(np.abs(spectrum))
    loudness = power[:, _VOICE:].sum(axis=1)
    quiet = np.argsort(loudness)[: max(1, int(_QUIET * len(loudness)))]
    share = 1.0 - _TIMES * power[quiet].mean(axis=0) / np.maximum(power, 1e-12)
    gain = np.maximum(_smooth(np.sqrt(np.maximum(share, 0.0))), _LEAST_GAIN)
    reduced = np.zeros(len(padded))
    for start, frame in enumerate(np.fft.irfft(spectrum * gain, axis=1) * window):
        reduced[start * _STEP : start * _STEP + _FRAME] += frame
    # Each sample is in four frames, whose squared windows add up to 1.5.
    return np.asarray(reduced[_FRAME : _FRAME + len(samples)] / 1.5, dtype=np.float32)


def _smooth(gain: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the means of 3 x 3 neighbours, so that no single bins stand out as tones."""
    around = np.pad(gain, 1, mode="edge")
    return np.asarray(sliding_window_view(around, (3, 3)).mean(axis=(2, 3)), dtype=np.float32)

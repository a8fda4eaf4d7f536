"""Faults of an audio stream that hearing survives: found in its samples, reported in words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vl2_ros.speech.recogniser import SAMPLE_RATE

#: A fault that lasts is reported once in so many seconds of audio.
REPEAT_S = 10.0
#: So much without any signal is a dead microphone: the quietest room has noise.
DEAD_S = 10.0
#: A sample from here on is at full scale.
_FULL_SCALE = 0.999
_CLIPPED_SHARE = 0.01
_CLIPPING_WINDOW_S = 1.0


class FaultReporter:
    """Reports each kind of fault at most once in ten seconds of audio.

    Args:
        report: called with one sentence.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._heard_s = 0.0
        self._due_s: dict[str, float] = {}

    def pass_time(self, seconds: float) -> None:
        """Count audio that was heard."""
        self._heard_s += seconds

    def report(self, kind: str, text: str) -> None:
        """Report a fault, unless one of its kind was reported a short while ago."""
        if self._heard_s >= self._due_s.get(kind, 0.0):
            self._due_s[kind] = self._heard_s + REPEAT_S
            self._report(text)


class SampleCheck:
    """Looks at the samples of a stream: values that are no numbers, clipping, a dead microphone.

    Args:
        faults: where they are reported.
    """

    def __init__(self, faults: FaultReporter) -> None:
        self._faults = faults
        self._zero_s = 0.0
        self._is_dead = False
        self._counted_s = 0.0
        self._clipped = 0
        self._counted = 0

    def clean(self, samples: NDArray, rate: int) -> NDArray[np.float32]:
        """Return samples as float32 in -1..1, in their shape, without NaN and infinity.

        Args:
            samples: (N,) or (N, C), int16 or float32.
            rate: samples a second.
        """
        if samples.dtype == np.int16:
            samples = samples.astype(np.float32) / np.float32(32_768.0)
        else:
            samples = self._remove_invalid(samples)
        self._watch_clipping(samples, rate)
        self._watch_silence(samples, rate)
        return np.clip(samples, -1.0, 1.0)

    def _remove_invalid(self, samples: NDArray) -> NDArray[np.float32]:
        valid = np.isfinite(samples)
        if valid.all():
            return samples
        count = int(samples.size - np.count_nonzero(valid))
        self._faults.report(
            "invalid",
            f"{count} of {samples.size} samples are NaN or infinite and are heard as silence; "
            "check the driver of the microphone",
        )
        return np.where(valid, samples, np.float32(0.0))

    def _watch_clipping(self, samples: NDArray[np.float32], rate: int) -> None:
        self._clipped += int(np.count_nonzero(np.abs(samples) >= _FULL_SCALE))
        self._counted += samples.size
        self._counted_s += len(samples) / rate
        if self._counted_s < _CLIPPING_WINDOW_S:
            return
        share = self._clipped / max(self._counted, 1)
        if share > _CLIPPED_SHARE:
            self._faults.report(
                "clipped",
                f"{share:.0%} of the samples are at full scale, words are heard worse; lower the "
                "gain of the microphone (float32 samples must lie in -1..1)",
            )
        self._clipped = self._counted = 0
        self._counted_s = 0.0

    def _watch_silence(self, samples: NDArray[np.float32], rate: int) -> None:
        if samples.any():
            self._zero_s, self._is_dead = 0.0, False
            return
        self._zero_s += len(samples) / rate
        if self._zero_s >= DEAD_S and not self._is_dead:
            self._is_dead = True
            self._faults.report(
                "dead",
                f"all samples were zero for {DEAD_S:.0f} s; check that the microphone is connected "
                "and not muted",
            )


def describe_low_rate(rate: int) -> str:
    """Say what a rate below that of the recogniser costs."""
    return (
        f"audio at {rate} Hz has nothing above {rate // 2} Hz and words are heard worse; record at "
        f"{SAMPLE_RATE} Hz or more where the microphone can"
    )

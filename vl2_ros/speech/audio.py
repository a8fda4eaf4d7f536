"""Audio of any rate, channels and type -> mono blocks at 16 kHz with the time of their samples.

Faults of a stream are reported and hearing goes on: gaps, stamps that jump, NaN, clipping, silence
of a dead microphone, a changed format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A piece of a stream as a device, file or message brings it.

    Attributes:
        samples: (N,) or (N, C), int16 or float32 in -1..1; N may be 0.
        rate: samples a second, 4000..384000.
        stamp_s: time of the first sample, in seconds of any clock.

    Raises:
        ShapeError: if the samples have another shape or dtype.
        InputError: if the rate or the stamp cannot be used.
    """

    samples: NDArray
    rate: int
    stamp_s: float


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """Converted audio.

    Attributes:
        samples: (N,) float32, mono, 16 kHz, -1..1.
        start_s: time of the first sample, in seconds of the chunks' clock.
    """

    samples: NDArray[np.float32]
    start_s: float


class AudioConverter:
    """Converts a stream; one for each stream, from one thread at a time.

    Args:
        report: called with one sentence for each fault of the stream: what came and what to do. A
            fault that lasts is reported once in ten seconds of audio.
        channel: index of the channel that is heard; None: the mean of all.
    """

    def __init__(self, report: Callable[[str], None], channel: int | None = None) -> None:
        raise NotImplementedError

    def push(self, chunk: AudioChunk) -> list[AudioBlock]:
        """Convert the next chunk; what is still in the resampler comes with a later one."""
        raise NotImplementedError

    def flush(self) -> list[AudioBlock]:
        """End the stream and return what is still in the resampler."""
        raise NotImplementedError


def measure_level(samples: NDArray[np.float32]) -> float:
    """Return the root mean square of samples in decibels of full scale, -100..0.

    Args:
        samples: (N,) in -1..1; N may be 0.
    """
    raise NotImplementedError


def read_audio(path: Path) -> AudioChunk:
    """Read a WAV or FLAC file as a whole, with the stamp 0.

    Raises:
        SpeechError: if it is missing, empty, too long or no audio.
    """
    raise NotImplementedError

"""A stream of samples -> segments of speech, by the probability that a voice is in each 32 ms.

The segments depend on the samples alone, not on how the stream is cut into pushes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

#: Samples that a voice detector looks at, 32 ms.
WINDOW = 512


@dataclass(frozen=True, slots=True)
class Segment:
    """What was said between two pauses.

    Attributes:
        samples: (N,) float32 at 16 kHz: the speech, with the pre-roll before it and the hang-over
            after it.
        start_s: time at which the speech itself begins, in seconds of the stream's clock.
        end_s: time at which it ends.
    """

    samples: NDArray[np.float32]
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class SegmenterConfig:
    """When speech begins and ends.

    Attributes:
        threshold: probability of a voice from which on a window is speech, in 0..1.
        pre_roll_s: audio before the first window of speech that belongs to the segment.
        hang_over_s: a pause of this length ends a segment.
        min_speech_s: a segment with less speech is dropped.
        max_length_s: a longer segment is cut, at most 30.

    Raises:
        ConfigError: if a value is out of its range.
    """

    threshold: float = 0.5
    pre_roll_s: float = 0.3
    hang_over_s: float = 0.4
    min_speech_s: float = 0.2
    max_length_s: float = 15.0


class VoiceDetector(Protocol):
    """Finds voices in consecutive windows of one stream."""

    def detect(self, window: NDArray[np.float32]) -> float:
        """Return the probability of a voice, 0..1, in the next (512,) samples at 16 kHz."""
        ...

    def reset(self) -> None:
        """Forget the stream so far; the next window begins another one."""
        ...


class Segmenter:
    """Cuts a stream into segments; one for each stream, from one thread at a time.

    Args:
        detector: of voices, of this stream alone.
        config: when speech begins and ends.
    """

    def __init__(self, detector: VoiceDetector, config: SegmenterConfig | None = None) -> None:
        raise NotImplementedError

    @property
    def is_speech(self) -> bool:
        """Return whether somebody speaks at the end of what was pushed."""
        raise NotImplementedError

    def push(self, samples: NDArray[np.float32], start_s: float) -> list[Segment]:
        """Continue the stream, and return the segments that ended.

        Args:
            samples: (N,) mono, 16 kHz, -1..1.
            start_s: time of the first one. More than 0.1 s away from the end of the last push, it
                begins a new stream; what was said before is returned.
        """
        raise NotImplementedError

    def flush(self) -> list[Segment]:
        """End the stream, and return the segment that was running."""
        raise NotImplementedError

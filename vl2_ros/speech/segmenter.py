"""A stream of samples -> segments of speech, by the probability that a voice is in each 32 ms.

The segments depend on the samples alone, not on how the stream is cut into pushes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vl2_ros.errors import ConfigError, ShapeError
from vl2_ros.speech.recogniser import MAX_SECONDS, SAMPLE_RATE

#: Samples that a voice detector looks at, 32 ms.
WINDOW = 512
#: A push that begins so far from the end of the one before begins a new stream.
MAX_STEP_S = 0.1
#: A voice goes on down to this much below the threshold.
_HYSTERESIS = 0.15


@dataclass(frozen=True, slots=True, eq=False)
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
        max_length_s: a longer segment is cut where it is most likely a pause, at most 30.

    Raises:
        ConfigError: if a value is out of its range.
    """

    threshold: float = 0.5
    pre_roll_s: float = 0.3
    hang_over_s: float = 0.36
    min_speech_s: float = 0.2
    max_length_s: float = 15.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, low, high in (
            ("threshold", 0.01, 0.99),
            ("pre_roll_s", 0.0, 2.0),
            ("hang_over_s", 0.1, 5.0),
            ("min_speech_s", 0.0, 5.0),
            ("max_length_s", 1.0, MAX_SECONDS),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} of speech must be {low}..{high}, got {value}")


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
        self._detector = detector
        self._config = config or SegmenterConfig()
        self._max_windows = _count_windows(self._config.max_length_s)
        self._hang_over = _count_windows(self._config.hang_over_s)
        self._restart()

    def _restart(self) -> None:
        self._detector.reset()
        #: Samples that do not fill a window yet.
        self._rest = np.zeros(0, dtype=np.float32)
        #: Windows of this stream that were looked at.
        self._passed = 0
        #: Time of the first sample of this stream, by the latest push.
        self._origin_s: float | None = None
        self._before: deque[NDArray[np.float32]] = deque(
            maxlen=_count_windows(self._config.pre_roll_s)
        )
        self._speech: _Speech | None = None

    @property
    def is_speech(self) -> bool:
        """Return whether speech is on at the end of what was pushed."""
        return self._speech is not None

    @property
    def running(self) -> NDArray[np.float32]:
        """Return what is being said so far, (N,) at 16 kHz; N is 0 where nobody speaks."""
        return np.zeros(0, dtype=np.float32) if self._speech is None else self._speech.join()

    def push(self, samples: NDArray[np.float32], start_s: float) -> list[Segment]:
        """Continue the stream, and return the segments that ended.

        Args:
            samples: (N,) mono, 16 kHz, -1..1.
            start_s: time of the first one. More than 0.1 s away from the end of the last push, it
                begins a new stream; what was said before is returned.

        Raises:
            ShapeError: if the samples have another shape or dtype.
        """
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise ShapeError(
                f"speech must be (N,) float32 at {SAMPLE_RATE} Hz, got {samples.shape} "
                f"{samples.dtype}; AudioConverter makes it so"
            )
        ended = []
        passed_s = (self._passed * WINDOW + len(self._rest)) / SAMPLE_RATE
        if self._origin_s is not None and abs(start_s - self._origin_s - passed_s) > MAX_STEP_S:
            ended = self.flush()
            passed_s = 0.0
        self._origin_s = start_s - passed_s
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) - len(samples) % WINDOW
        self._rest = samples[whole:].copy()
        for window in samples[:whole].reshape(-1, WINDOW):
            ended += self._look(window)
        return ended

    def flush(self) -> list[Segment]:
        """End the stream, and return the segment that was running."""
        ended = []
        if len(self._rest):
            ended += self._look(np.pad(self._rest, (0, WINDOW - len(self._rest))))
        if self._speech is not None:
            ended += self._end(self._speech)
        self._restart()
        return ended

    def _look(self, window: NDArray[np.float32]) -> list[Segment]:
        """Look at the next window, and return the segment that ends with it."""
        chance = self._detector.detect(window)
        self._passed += 1
        if self._speech is None:
            if chance < self._config.threshold:
                self._before.append(window)
                return []
            self._speech = _Speech(self._passed - 1, list(self._before), [])
        speech = self._speech
        limit = self._config.threshold - (0.0 if speech.pause else _HYSTERESIS)
        speech.looks.append(_Look(window, chance, chance >= limit))
        if speech.pause >= self._hang_over:
            self._speech = None
            # The words before the pause are not the pre-roll of what comes next.
            self._before.clear()
            self._before.extend(look.window for look in speech.looks[-speech.pause :])
            return self._end(speech)
        if speech.length >= self._max_windows:
            first, self._speech = speech.cut()
            return self._end(first)
        return []

    def _end(self, speech: _Speech) -> list[Segment]:
        """Return a segment, unless it is too short to be speech."""
        if speech.voiced * WINDOW < max(1, self._config.min_speech_s * SAMPLE_RATE):
            return []
        assert self._origin_s is not None
        start, end = (index * WINDOW / SAMPLE_RATE for index in (speech.start, speech.end))
        return [Segment(speech.join(), self._origin_s + start, self._origin_s + end)]


class _Look(NamedTuple):
    """A window of the running segment, and what the detector found in it."""

    window: NDArray[np.float32]
    chance: float
    is_voice: bool


@dataclass(frozen=True, slots=True)
class _Speech:
    """The segment that is running.

    Attributes:
        start: index of its first window of speech in the stream.
        before: windows of the pre-roll.
        looks: windows since its start.
    """

    start: int
    before: list[NDArray[np.float32]]
    looks: list[_Look]

    @property
    def length(self) -> int:
        """Return the number of its windows, the pre-roll included."""
        return len(self.before) + len(self.looks)

    @property
    def pause(self) -> int:
        """Return the number of windows since the last one with a voice."""
        return next(
            (count for count, look in enumerate(reversed(self.looks)) if look.is_voice),
            len(self.looks),
        )

    @property
    def end(self) -> int:
        """Return the index after the last window of speech in the stream."""
        return self.start + len(self.looks) - self.pause

    @property
    def voiced(self) -> int:
        """Return the number of windows with a voice."""
        return sum(look.is_voice for look in self.looks)

    def join(self) -> NDArray[np.float32]:
        """Return its samples."""
        return np.concatenate([*self.before, *(look.window for look in self.looks)])

    def cut(self) -> tuple[_Speech, _Speech]:
        """Cut it in two where, in its second half, a pause is most likely."""
        half = len(self.looks) // 2
        place = min(range(half, len(self.looks)), key=lambda index: self.looks[index].chance)
        first = _Speech(self.start, self.before, self.looks[:place])
        return first, _Speech(self.start + place, [], self.looks[place:])


def _count_windows(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE / WINDOW)

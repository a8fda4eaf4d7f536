"""Find how many images of a steady camera are missing, by their stamps.

Middleware rarely reports images that were lost on their way: Cyclone DDS none, and no other those
that a reliable sender gave up. Stamps show them where a camera is steady: gaps of two, three, ...
periods. Of a camera that is not, nothing is said.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

#: Images that are looked at, and fewest that say something.
_MOST_IMAGES, _LEAST_IMAGES = 64, 12
#: How far from whole periods the gaps of a steady camera are, in periods, and how many of them.
_STEADY_WITHIN, _STEADY_SHARE = 0.2, 0.9


@dataclass(frozen=True, slots=True)
class Missing:
    """Images that did not come, of the last ones.

    Attributes:
        missing: how many.
        sent: how many were sent, by their stamps.
        period_s: seconds between two images of the camera.
    """

    missing: int
    sent: int
    period_s: float


class StampGaps:
    """The stamps of a camera's last images. Thread-safe."""

    def __init__(self) -> None:
        """Start without an image."""
        self._lock = threading.Lock()
        self._stamps_ns: deque[int] = deque(maxlen=_MOST_IMAGES)

    def note(self, stamp_ns: int) -> None:
        """Note the stamp of an image that has come."""
        with self._lock:
            self._stamps_ns.append(stamp_ns)

    def clear(self) -> None:
        """Forget all, as images before and after belong to different senders."""
        with self._lock:
            self._stamps_ns.clear()

    def find_missing(self, longest_s: float) -> Missing | None:
        """Return how many images are missing; None of a camera that is not steady, or is new.

        Args:
            longest_s: a longer gap is a pause of the camera, as is a step back of its clock; only
                images after that count.
        """
        with self._lock:
            gaps_s = [(after - before) / 1e9 for before, after in pairwise(self._stamps_ns)]
        pauses = [index for index, gap_s in enumerate(gaps_s) if not 0.0 < gap_s <= longest_s]
        gaps = np.array(gaps_s[pauses[-1] + 1 if pauses else 0 :])
        if len(gaps) < _LEAST_IMAGES:
            return None
        shortest_s = np.quantile(gaps, 0.1)
        period_s = float(np.median(gaps[gaps < 1.5 * shortest_s]))
        periods = np.maximum(1, np.round(gaps / period_s))
        is_whole = np.abs(gaps / period_s - periods) < _STEADY_WITHIN
        if is_whole.mean() < _STEADY_SHARE:
            return None
        sent = int(periods.sum())
        return Missing(sent - len(gaps), sent, period_s)

"""Find how many images of a steady camera are missing, by their stamps.

Middleware rarely reports images that were lost on their way: Cyclone DDS none, and no other those
that a reliable sender gave up. Stamps show them where a camera is steady: gaps of two, three, ...
periods. Of a camera that is not, nothing is said.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

#: Images that are looked at, and fewest that say something.
_MOST_IMAGES, _LEAST_IMAGES = 64, 12
#: How far from whole periods the gaps of a steady camera are, in periods, and how many of them.
_STEADY_WITHIN, _STEADY_SHARE = 0.2, 0.9
#: Periods of which a longer gap is a pause of the camera, in which nothing was sent.
_PAUSE = 10
#: Parts of the last images, each of which must have images that follow each other.
_PARTS = 4


@dataclass(frozen=True, slots=True)
class Missing:
    """Images that did not come, of the last ones.

    Attributes:
        missing: how many, at least: a long gap counts as a pause.
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

    def find_missing(self) -> Missing | None:
        """Return how many images are missing; None of a camera that is not steady, or is new."""
        with self._lock:
            stamps_s = np.array(self._stamps_ns, np.float64) / 1e9
        gaps_s = stamps_s[1:] - stamps_s[:-1]
        gaps_s = gaps_s[gaps_s > 0.0]
        if len(gaps_s) < _LEAST_IMAGES:
            return None
        shortest_s = np.quantile(gaps_s, 0.1)
        period_s = float(np.median(gaps_s[gaps_s < 1.5 * shortest_s]))
        periods = np.round(gaps_s / period_s)
        is_pause = periods > _PAUSE
        periods = periods[~is_pause]
        is_whole = np.abs(gaps_s[~is_pause] / period_s - periods) < _STEADY_WITHIN
        # A camera that has changed its rate has the short gaps at one end only.
        has_short = [bool((part == 1).any()) for part in np.array_split(periods, _PARTS)]
        if is_whole.mean() < _STEADY_SHARE or not all(has_short):
            return None
        sent = int(periods.sum())
        return Missing(sent - len(periods), sent, period_s)

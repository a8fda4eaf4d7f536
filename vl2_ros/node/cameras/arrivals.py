"""Count what comes on a topic, and measure its age and its rate.

Knows neither threads nor clocks: the caller holds the lock and passes the time.
"""

from __future__ import annotations

import math
from collections import deque

#: Seconds over which the rate is measured.
RATE_WINDOW_S = 5.0
_KEPT = 64


class Arrivals:
    """What came on one topic.

    Attributes:
        count: of all that came.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.count = 0
        self._times_s: deque[float] = deque(maxlen=_KEPT)

    def add(self, now_s: float) -> None:
        """Count one that came now, in seconds of the node's clock."""
        self.count += 1
        self._times_s.append(now_s)

    def find_age_s(self, now_s: float) -> float:
        """Return seconds since the last one; infinite before the first one."""
        return now_s - self._times_s[-1] if self._times_s else math.inf

    def find_rate_hz(self, now_s: float) -> float:
        """Return how many came a second in the last seconds; 0 when fewer than two did."""
        recent_s = [time_s for time_s in self._times_s if now_s - time_s <= RATE_WINDOW_S]
        span_s = recent_s[-1] - recent_s[0] if recent_s else 0.0
        return (len(recent_s) - 1) / span_s if span_s > 0.0 else 0.0

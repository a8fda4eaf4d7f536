"""The node's clock: seconds that never go back, of real or of simulated time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

#: How often a thread that waits for simulated time looks at it, in seconds of the wall: nothing
#: else says when it has come, as it may pause, and run at any speed.
_LOOK_PERIOD_S = 0.01
#: Seconds of the wall for which simulated time stands still until that is reported.
STANDSTILL_S = 2.0


class Moment(NamedTuple):
    """One moment on both clocks, in seconds that never go back.

    Attributes:
        s: of the node's clock, for deadlines, durations, rates and ages. It stands still while
            simulated time does.
        wall_s: of the machine's monotonic clock, for what hangs.
    """

    s: float
    wall_s: float


def _is_real() -> None:
    return None


class NodeClock:
    """Counts the seconds of a node; thread-safe.

    Real time is the machine's monotonic clock, whatever happens to the time of day. Of simulated
    time it counts what goes forward: neither a pause, nor a jump back, nor the jump from 0, which
    is no time, to the first one. So no age is negative, and nothing waits for a time that is over.

    Args:
        find_simulated_ns: returns the simulated time in nanoseconds, 0 before it begins; None
            while time is real.
    """

    def __init__(self, find_simulated_ns: Callable[[], int | None] = _is_real) -> None:
        """Begin to count at the wall's seconds."""
        self._find_simulated_ns = find_simulated_ns
        self._lock = threading.Lock()
        self._s = self._moved_wall_s = time.monotonic()
        self._ahead_of_wall_s = 0.0
        self._simulated_ns = find_simulated_ns()

    def now(self) -> Moment:
        """Return the time."""
        with self._lock:
            wall_s, simulated_ns = time.monotonic(), self._find_simulated_ns()
            last_ns, self._simulated_ns = self._simulated_ns, simulated_ns
            if simulated_ns is None or simulated_ns != last_ns:
                self._moved_wall_s = wall_s
            if simulated_ns is None:
                if last_ns is not None:
                    self._ahead_of_wall_s = self._s - wall_s
                # The sum may be rounded down.
                self._s = max(self._s, wall_s + self._ahead_of_wall_s)
            elif last_ns:
                self._s += max(0, simulated_ns - last_ns) * 1e-9
            return Moment(self._s, wall_s)

    def wait(self, condition: threading.Condition, until: Moment) -> None:
        """Wait for a notification, or until one of the two clocks says so; it may end earlier.

        Args:
            condition: held by the caller.
            until: the end on either clock; infinite where there is none.
        """
        now = self.now()
        pause_s, wall_pause_s = until.s - now.s, until.wall_s - now.wall_s
        if self._simulated_ns is not None and not math.isinf(pause_s):
            pause_s = _LOOK_PERIOD_S
        timeout_s = min(pause_s, wall_pause_s)
        # A thread cannot wait for longer than TIMEOUT_MAX, and forever is a wait without a timeout.
        condition.wait(None if math.isinf(timeout_s) else min(timeout_s, threading.TIMEOUT_MAX))

    def explain_standstill(self) -> str:
        """Return that simulated time does not run and what that means; empty while time runs."""
        stood_s = self.now().wall_s - self._moved_wall_s
        if stood_s < STANDSTILL_S:
            return ""
        if self.is_unset:
            return (
                "use_sim_time is set, but no time has come on /clock: no deadline, duration or "
                "rate runs until one does; start the simulator, play the recording with --clock, "
                "or set use_sim_time to false"
            )
        return "it stands still: no deadline, duration or rate runs until it goes on"

    @property
    def is_unset(self) -> bool:
        """Return whether time is simulated and has not begun."""
        return self._simulated_ns == 0

"""The clock of a run: when a line is shown and a state written, and where the time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

#: Seconds between two status lines.
STATUS_PERIOD_S = 10.0
#: Seconds between two states, the first included; longer where writing one takes long.
STATE_PERIOD_S = 25.0
#: Largest share of the time for states.
_STATE_SHARE = 0.05


class Pace:
    """Times of one run of the process.

    Args:
        step: steps that were done before.
        steps: of the whole run.
    """

    def __init__(self, step: int, steps: int) -> None:
        """Start the clock."""
        self._steps = steps
        self._began = self._shown = self._saved = time.monotonic()
        self._shown_step = step
        self._waited_s = self._saving_s = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time of the body as waiting for data."""
        began = time.monotonic()
        yield
        self._waited_s += time.monotonic() - began

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Count the time of the body as writing a state."""
        began = time.monotonic()
        yield
        self._saved = time.monotonic()
        self._saving_s = self._saved - began

    def is_state_due(self) -> bool:
        """Return whether a state is to be written."""
        period = max(STATE_PERIOD_S, self._saving_s / _STATE_SHARE)
        return time.monotonic() - self._saved >= period

    def is_status_due(self) -> bool:
        """Return whether a line is to be shown, at most once a period."""
        return time.monotonic() - self._shown >= STATUS_PERIOD_S

    def describe(self, step: int, loss: float) -> str:
        """Return the status line, and start the next period."""
        now = time.monotonic()
        rate = (step - self._shown_step) / (now - self._shown)
        self._shown, self._shown_step = now, step
        left = (self._steps - step) / rate
        return (
            f"step {step} of {self._steps}, loss {loss:.4g}, {rate:.3g} steps/s, "
            f"{self._waited_s / (now - self._began):.0%} waiting for data, {_write_time(left)} left"
        )

    def numbers(self) -> dict[str, float]:
        """Return the seconds since the start, and those of them that data was waited for."""
        return {
            "seconds": round(time.monotonic() - self._began, 3),
            "waited_s": round(self._waited_s, 3),
        }


def _write_time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

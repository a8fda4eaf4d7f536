"""Compute the share done and the time left of a build with nested phases.

Knows no inference library; the clock is an argument.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """The progress of a build.

    Attributes:
        stage: the present phase, in the builder's words.
        share: of the build that is done, 0 to 1.
        eta_s: seconds left at the present speed; None while nothing is done.
    """

    stage: str
    share: float
    eta_s: float | None


@dataclass(slots=True)
class _Phase:
    name: str
    steps: int
    done: int = 0


class PhaseTree:
    """The open phases of one build.

    A phase inside another counts as one step of it. Builders open further phases at the root; each
    counts as the rest of what is left, so the share never falls.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the clock."""
        self._clock = clock
        self._began = clock()
        self._open: list[_Phase] = []
        self._share = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> BuildProgress:
        """Open a phase of `steps` steps inside another, or at the root if that is not open."""
        names = [phase.name for phase in self._open]
        depth = names.index(parent) + 1 if parent in names else 0
        del self._open[depth:]
        self._open.append(_Phase(name, max(1, steps)))
        return self._report(name)

    def step(self, name: str, step: int) -> BuildProgress:
        """Count a step, numbered from 0, of an open phase as done."""
        for phase in self._open:
            if phase.name == name:
                phase.done = min(phase.steps, step + 1)
        return self._report(name)

    def finish(self, name: str) -> BuildProgress:
        """Close a phase and what is open in it."""
        names = [phase.name for phase in self._open]
        if name in names:
            depth = names.index(name)
            if depth == 0:
                self._open[0].done = self._open[0].steps
                progress = self._report(name)
                self._open.clear()
                return progress
            del self._open[depth:]
        return self._report(name)

    def _report(self, stage: str) -> BuildProgress:
        share, weight = 0.0, 1.0
        for phase in self._open:
            share += weight * phase.done / phase.steps
            weight /= phase.steps
        self._share = max(self._share, min(1.0, share))
        elapsed = self._clock() - self._began
        eta = elapsed * (1 - self._share) / self._share if self._share > 0 else None
        return BuildProgress(stage, self._share, eta)

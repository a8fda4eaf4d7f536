"""Interrupts of a run: the first one is noted, so that the step ends and its state is written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: What asks a run to end.
INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Whether the run was asked to end.

    Attributes:
        is_set: true after the first SIGINT or SIGTERM.
    """

    def __init__(self) -> None:
        """Begin without one."""
        self.is_set = False

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note interrupts while the body runs; a second one ends the process as usual.

        Python delivers signals to the main thread alone; elsewhere nothing is noted.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {name: signal.getsignal(name) for name in INTERRUPTS}

        def note(number: int, frame: FrameType | None) -> None:
            self.is_set = True
            for name in INTERRUPTS:
                signal.signal(name, signal.SIG_DFL)

        for name in INTERRUPTS:
            signal.signal(name, note)
        try:
            yield
        finally:
            for name, former in before.items():
                signal.signal(name, former)

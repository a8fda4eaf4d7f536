"""Handles of what stays in the perceiver's process: the memory of watches, and frames."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from vl2_ros.errors import InputError


class MemoryHandle:
    """Stands for what is in the process; the process frees it with the last reference to this."""

    def __init__(self, number: int, freed: queue.SimpleQueue[int | None]) -> None:
        self.number = number
        self._freed = freed

    def __del__(self) -> None:
        # On any thread and at any time: put is the one call that the queue allows here.
        self._freed.put(self.number)


class MemoryHandles:
    """Makes the handles of one perceiver and reports those that are not referred to any more.

    Args:
        forget: called with the number of each such handle, on a thread that may wait for long.
    """

    def __init__(self, forget: Callable[[int], None]) -> None:
        self._forget = forget
        self._freed: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        threading.Thread(target=self._report, name="vl2 memories", daemon=True).start()

    def make(self, number: int) -> MemoryHandle:
        """Return the handle of the memory that the run of this number gave, or of a frame."""
        return MemoryHandle(number, self._freed)

    def close(self) -> None:
        """End the thread; twice is harmless."""
        self._freed.put(None)

    def _report(self) -> None:
        while (number := self._freed.get()) is not None:
            self._forget(number)


def read_number(memory: object) -> int | None:
    """Return the number that the process knows a memory by; None where a run begins anew.

    Raises:
        InputError: if it is no handle.
    """
    if memory is None:
        return None
    if not isinstance(memory, MemoryHandle):
        raise InputError(
            f"memory must be None or that of the watch's last result, got {type(memory).__name__}"
        )
    return memory.number

"""Chunks of audio between the thread that receives and the one that hears."""

from __future__ import annotations

import threading
from collections import deque

from vl2_ros.speech.audio import AudioChunk

#: Most seconds of audio that wait; the oldest is dropped.
MOST_WAITING_S = 30.0


class AudioQueue:
    """Keeps chunks in order; when full, the oldest is dropped and counted.

    Attributes:
        dropped_s: seconds of audio that were dropped.
    """

    def __init__(self) -> None:
        """Start empty and open."""
        self._chunks: deque[AudioChunk] = deque()
        self._waiting_s = 0.0
        self._changed = threading.Condition()
        self._is_open = True
        self.dropped_s = 0.0

    @property
    def waiting_s(self) -> float:
        """Return the seconds of audio that wait."""
        return self._waiting_s

    def put(self, chunk: AudioChunk) -> None:
        """Add a chunk; never blocks."""
        with self._changed:
            self._chunks.append(chunk)
            self._waiting_s += _measure_s(chunk)
            # A chunk that is longer than all that may wait is still heard.
            while self._waiting_s > MOST_WAITING_S and len(self._chunks) > 1:
                dropped_s = _measure_s(self._chunks.popleft())
                self._waiting_s -= dropped_s
                self.dropped_s += dropped_s
            self._changed.notify()

    def take(self, timeout_s: float) -> AudioChunk | None:
        """Remove the oldest chunk; None when none comes within the time, or it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._chunks or not self._is_open, timeout_s)
            if not self._chunks or not self._is_open:
                return None
            chunk = self._chunks.popleft()
            self._waiting_s = max(0.0, self._waiting_s - _measure_s(chunk))
            return chunk

    def close(self) -> None:
        """Drop what waits, and end the wait of `take`."""
        with self._changed:
            self._is_open = False
            self._chunks.clear()
            self._waiting_s = 0.0
            self._changed.notify_all()


def _measure_s(chunk: AudioChunk) -> float:
    return len(chunk.samples) / chunk.rate

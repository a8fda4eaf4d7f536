"""What was computed about a frame, kept for further commands about it and dropped with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import TypeVar, cast
from weakref import WeakKeyDictionary, ref

from vl2_ros.structures import Frame

T = TypeVar("T")

#: Frames that something is kept of at most: a caller may hold a whole recording, and what is kept
#: of one frame at the released size takes most of a gigabyte.
MOST_FRAMES = 4


class FrameMemory:
    """Values by frame and key; nothing outlives its frame.

    A frame is known by its identity, so its pixels must not change. A value must not refer to
    its frame, which would then never be dropped. Belongs to one pipeline, and is used by the one
    thread that uses it, the node's worker; frames may end on any thread.

    Args:
        most_frames: frames that something is kept of; the one stored first is dropped first.
    """

    def __init__(self, most_frames: int = MOST_FRAMES) -> None:
        """Start with nothing."""
        self._most_frames = most_frames
        self._values: WeakKeyDictionary[Frame, dict[Hashable, object]] = WeakKeyDictionary()
        self._stored: deque[ref[Frame]] = deque()

    def __len__(self) -> int:
        """Return of how many frames something is kept."""
        return len(self._values)

    def get(self, frame: Frame | None, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is kept under a key; make and keep it where there is nothing.

        Args:
            frame: that it is about; None: it is made and not kept.
            key: names it and all that it depends on beside the frame.
            make: returns the value, never None.
        """
        kept = self.find(frame, key)
        if kept is not None:
            return cast(T, kept)
        value = make()
        self.put(frame, key, value)
        return value

    def find(self, frame: Frame | None, key: Hashable) -> object | None:
        """Return what is kept under a key; None where there is nothing."""
        return None if frame is None else self._values.get(frame, {}).get(key)

    def put(self, frame: Frame | None, key: Hashable, value: object) -> None:
        """Keep a value as long as its frame is there; nothing without a frame."""
        if frame is None:
            return
        if frame not in self._values:
            self._make_room()
            self._stored.append(ref(frame))
        self._values.setdefault(frame, {})[key] = value

    def _make_room(self) -> None:
        """Drop what is kept of the frames stored first, until another one may be."""
        self._stored = deque(one for one in self._stored if one() is not None)
        while len(self._stored) >= self._most_frames:
            first = self._stored.popleft()()
            if first is not None:
                self._values.pop(first, None)

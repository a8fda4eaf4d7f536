"""What was computed about a frame, kept for further commands about it and dropped with it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar, cast
from weakref import WeakKeyDictionary, ref

from vl2_ros.structures import Frame

T = TypeVar("T")

#: Frames that something is kept of at most, as a caller may hold a whole recording.
MOST_FRAMES = 4
#: Bytes from which on only one frame is kept: at the released size it takes a gigabyte or more.
MOST_BYTES = 256_000_000


class FrameMemory:
    """Values by frame and key; nothing outlives its frame.

    A frame is known by its identity, so its pixels must not change. A value must not refer to
    its frame, which would then never be dropped. Belongs to one pipeline, and is used by the one
    thread that uses it, the node's worker; frames may end on any thread.

    Args:
        most_frames: frames that something is kept of; the one stored first is dropped first.
        most_bytes: of all values together, where they are of more than one frame.
    """

    def __init__(self, most_frames: int = MOST_FRAMES, most_bytes: int = MOST_BYTES) -> None:
        """Start with nothing."""
        self._most_frames = most_frames
        self._most_bytes = most_bytes
        #: Of each frame the values with their sizes.
        self._kept: WeakKeyDictionary[Frame, dict[Hashable, tuple[object, int]]]
        self._kept = WeakKeyDictionary()
        self._stored: list[ref[Frame]] = []

    def __len__(self) -> int:
        """Return of how many frames something is kept."""
        return len(self._kept)

    def get(
        self,
        frame: Frame | None,
        key: Hashable,
        make: Callable[[], T],
        measure: Callable[[T], int] | None = None,
    ) -> T:
        """Return what is kept under a key; make and keep it where there is nothing.

        Args:
            frame: that it is about; None: it is made and not kept.
            key: names it and all that it depends on beside the frame.
            make: returns the value, never None.
            measure: returns its bytes; None where they do not matter.
        """
        kept = self.find(frame, key)
        if kept is not None:
            return cast(T, kept)
        value = make()
        self.put(frame, key, value, 0 if measure is None else measure(value))
        return value

    def find(self, frame: Frame | None, key: Hashable) -> object | None:
        """Return what is kept under a key; None where there is nothing."""
        if frame is None:
            return None
        value, _ = self._kept.get(frame, {}).get(key, (None, 0))
        return value

    def put(self, frame: Frame | None, key: Hashable, value: object, nbytes: int = 0) -> None:
        """Keep a value as long as its frame is there; nothing without a frame.

        Args:
            frame: that it is about.
            key: as for `get`.
            value: what is kept.
            nbytes: its size, where that matters.
        """
        if frame is None:
            return
        if frame not in self._kept:
            self._stored.append(ref(frame))
        self._kept.setdefault(frame, {})[key] = (value, nbytes)
        self._make_room(frame)

    def _make_room(self, last: Frame) -> None:
        """Drop what is kept of the frames stored first, but not of the last one."""
        frames = [frame for one in self._stored if (frame := one()) is not None]
        sizes = [sum(nbytes for _, nbytes in self._kept[one].values()) for one in frames]
        total, count = sum(sizes), len(frames)
        for frame, nbytes in zip(frames, sizes, strict=True):
            if count <= self._most_frames and total <= self._most_bytes:
                break
            if frame is not last:
                del self._kept[frame]
                total, count = total - nbytes, count - 1
        self._stored = [ref(one) for one in frames if one in self._kept]

"""What the flow keeps from one frame of a watch for the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vl2_ros.errors import InputError
from vl2_ros.structures import Branch, Command, Frame
from vl2_ros.tracking.tracks import Tracks, track_branches


@dataclass(frozen=True, slots=True)
class WatchMemory:
    """What the flow keeps from one frame of a watch for the next.

    Attributes:
        tracks: of the objects; None where they are not tracked.
    """

    tracks: Tracks | None = None


def read_memory(memory: object) -> WatchMemory:
    """Return the memory of the frame before; an empty one where there was none.

    Raises:
        InputError: if it is not what the flow returned.
    """
    if memory is None:
        return WatchMemory()
    if not isinstance(memory, WatchMemory):
        raise InputError(
            "memory must be None or that of the watch's last ResultEvent, got "
            f"{type(memory).__name__}"
        )
    return memory


def remember_tracks(
    frame: Frame | None, command: Command, branches: Sequence[Branch], memory: WatchMemory
) -> tuple[tuple[Branch, ...], WatchMemory]:
    """Give the instances of a watched frame the ids of their tracks.

    Returns:
        The branches, with `track_ids` where the command tracks, and the memory for the next frame.
    """
    if frame is None or command.tracking is None:
        return tuple(branches), WatchMemory()
    tracked, tracks = track_branches(branches, memory.tracks, frame.stamp_ns, command.tracking)
    return tracked, WatchMemory(tracks)

"""Give the instances of a frame the ids of their tracks, and end the tracks of lost objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vl2_ros.structures import Branch, Route, TrackingOptions
from vl2_ros.tracking.association import associate
from vl2_ros.tracking.motion import Motion, start_motion

#: Seconds between two frames without stamps.
_UNSTAMPED_S = 0.1
#: Width and height of a box are at least so many pixels.
_LEAST_SIDE = 1.0

#: What does not change in a track: the route and the phrase that find its object.
Name = tuple[Route, str]


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """The M tracks of a watch after a frame; no frame changes them, each makes others.

    Attributes:
        stamp_ns: of that frame.
        next_id: of the next new track.
        ids: (M,) int64, 1 or more.
        names: M routes and phrases.
        motion: of the M boxes when they were last seen.
        unseen_s: (M,) seconds since then.
        hidden: (M,) frames since then.
    """

    stamp_ns: int
    next_id: int
    ids: np.ndarray
    names: tuple[Name, ...]
    motion: Motion
    unseen_s: np.ndarray
    hidden: np.ndarray

    def __repr__(self) -> str:
        """Show the ids, no arrays."""
        return f"Tracks({self.ids.tolist()}, next_id={self.next_id})"

    @classmethod
    def start(cls) -> Tracks:
        """Return the tracks before the first frame."""
        nothing = np.zeros(0)
        return cls(
            stamp_ns=0,
            next_id=1,
            ids=np.zeros(0, np.int64),
            names=(),
            motion=start_motion(np.zeros((0, 4))),
            unseen_s=nothing,
            hidden=np.zeros(0, np.int64),
        )


def track_branches(
    branches: Sequence[Branch],
    tracks: Tracks | None,
    stamp_ns: int,
    options: TrackingOptions,
) -> tuple[tuple[Branch, ...], Tracks]:
    """Give every instance of a frame a track: that of the same object before, or a new one.

    A track belongs to one route and one phrase. Time passes by the stamps; where they stand still
    or go back, none has passed.

    Args:
        branches: of the frame's answer.
        tracks: after the frame before; None for the first frame of a watch.
        stamp_ns: of the frame; 0 when unknown.
        options: when tracks end, and the least id of a new one.

    Returns:
        The branches with `track_ids`, and the tracks after this frame.
    """
    before = Tracks.start() if tracks is None else tracks
    found = _to_cxcywh([branch.detections.boxes_xyxy for branch in branches])
    names = [(one.route, label) for one in branches for label in one.detections.labels]
    unseen_s = before.unseen_s + _find_elapsed_s(before.stamp_ns, stamp_ns)
    expected = before.motion.predict(unseen_s)
    rows, columns = associate(expected, found, _compare_names(before.names, names))

    ids = np.zeros(len(names), np.int64)
    ids[columns] = before.ids[rows]
    new = np.flatnonzero(ids == 0)
    first_id = max(before.next_id, options.first_id)
    ids[new] = np.arange(first_id, first_id + len(new))

    is_hidden = np.ones(len(before.ids), np.bool_)
    is_hidden[rows] = False
    kept = np.flatnonzero(is_hidden & (before.hidden < options.hidden_frames))
    seen = expected.take(rows).correct(found[columns])
    after = Tracks(
        stamp_ns=stamp_ns,
        next_id=first_id + len(new),
        ids=np.concatenate([before.ids[rows], ids[new], before.ids[kept]]),
        names=(
            *(before.names[row] for row in rows),
            *(names[index] for index in new),
            *(before.names[row] for row in kept),
        ),
        motion=seen.join(start_motion(found[new])).join(before.motion.take(kept)),
        unseen_s=np.concatenate([np.zeros(len(names)), unseen_s[kept]]),
        hidden=np.concatenate([np.zeros(len(names), np.int64), before.hidden[kept] + 1]),
    )
    return _with_ids(branches, ids), after


def _to_cxcywh(boxes_xyxy: Sequence[np.ndarray]) -> np.ndarray:
    corners = np.concatenate([np.zeros((0, 4)), *boxes_xyxy])
    sides = np.maximum(corners[:, 2:] - corners[:, :2], _LEAST_SIDE)
    return np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, sides], axis=1)


def _find_elapsed_s(before_ns: int, stamp_ns: int) -> float:
    if before_ns == 0 and stamp_ns == 0:
        return _UNSTAMPED_S
    return max(0.0, (stamp_ns - before_ns) * 1e-9)


def _compare_names(first: Sequence[Name], second: Sequence[Name]) -> np.ndarray:
    """Return (M, N) bool, whether names are the same."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys([*first, *second]))}
    return np.equal.outer(
        np.array([numbers[name] for name in first], np.int64),
        np.array([numbers[name] for name in second], np.int64),
    )


def _with_ids(branches: Sequence[Branch], ids: np.ndarray) -> tuple[Branch, ...]:
    ends = np.cumsum([len(branch.detections) for branch in branches])
    parts = np.split(ids, ends[:-1]) if len(ends) else []
    return tuple(
        replace(branch, detections=replace(branch.detections, track_ids=part))
        for branch, part in zip(branches, parts, strict=True)
    )

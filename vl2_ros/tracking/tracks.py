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
#: Sum of the scores of an object's first sightings in a row from which on it is tracked; a false
#: find of a low score seldom comes twice at one place.
_LEAST_EVIDENCE = 0.8
#: Hidden objects are forgotten early where there are more tracks than this.
_MOST_TRACKS = 1_000
#: Where a corner counts as that is nowhere, in pixels.
_FAR = 1e6
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
        ids: (M,) int64, 1 or more; 0 while there is too little evidence of the object.
        evidence: (M,) sum of its scores.
        names: M routes and phrases.
        motion: of the M boxes when they were last seen.
        unseen_s: (M,) seconds since then.
        hidden: (M,) frames since then.
    """

    stamp_ns: int
    next_id: int
    ids: np.ndarray
    evidence: np.ndarray
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
            evidence=nothing,
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
    found = [branch.detections for branch in branches]
    boxes = _to_cxcywh([one.boxes_xyxy for one in found])
    names = [(branch.route, label) for branch in branches for label in branch.detections.labels]
    unseen_s = before.unseen_s + _find_elapsed_s(before.stamp_ns, stamp_ns)
    expected = before.motion.predict(unseen_s)
    rows, columns = associate(expected, boxes, _compare_names(before.names, names))

    new = np.setdiff1d(np.arange(len(names)), columns)
    seen = np.concatenate([columns, new])  # tracks of this frame, by the index of their instance
    evidence = np.concatenate([np.zeros(0), *(one.scores for one in found)])[seen]
    evidence[: len(rows)] += before.evidence[rows]
    seen_ids = np.concatenate([before.ids[rows], np.zeros(len(new), np.int64)])
    first_id = max(before.next_id, options.first_id)
    next_id = _start_ids(seen_ids, evidence, seen, first_id)
    ids = np.empty(len(names), np.int64)
    ids[seen] = seen_ids

    kept = _find_kept(before, rows, options.hidden_frames, _MOST_TRACKS - len(seen))
    motion = expected.take(rows).correct(boxes[columns]).join(start_motion(boxes[new]))
    after = Tracks(
        stamp_ns=stamp_ns,
        next_id=next_id,
        ids=np.concatenate([seen_ids, before.ids[kept]]),
        evidence=np.concatenate([evidence, before.evidence[kept]]),
        names=(*(names[index] for index in seen), *(before.names[row] for row in kept)),
        motion=motion.join(before.motion.take(kept)),
        unseen_s=np.concatenate([np.zeros(len(seen)), unseen_s[kept]]),
        hidden=np.concatenate([np.zeros(len(seen), np.int64), before.hidden[kept] + 1]),
    )
    return _with_ids(branches, ids), after


def _start_ids(ids: np.ndarray, evidence: np.ndarray, order: np.ndarray, first_id: int) -> int:
    """Set the ids of tracks that have none and enough evidence; return the next free one.

    They are numbered in the order of the answer, which has the best score first.
    """
    started = np.flatnonzero((ids == 0) & (evidence >= _LEAST_EVIDENCE))
    ids[started[np.argsort(order[started])]] = np.arange(first_id, first_id + len(started))
    return first_id + len(started)


def _find_kept(before: Tracks, seen: np.ndarray, hidden_frames: int, most: int) -> np.ndarray:
    """Return the tracks whose objects are hidden and that do not end, the last seen ones first."""
    lost = np.setdiff1d(np.arange(len(before.ids)), seen)
    kept = lost[(before.ids[lost] > 0) & (before.hidden[lost] < hidden_frames)]
    last_seen_first = np.argsort(before.hidden[kept], kind="stable")
    return np.asarray(kept[last_seen_first[: max(0, most)]])


def _to_cxcywh(boxes_xyxy: Sequence[np.ndarray]) -> np.ndarray:
    corners = np.concatenate([np.zeros((0, 4)), *boxes_xyxy])
    corners = np.nan_to_num(corners, posinf=_FAR, neginf=-_FAR)
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

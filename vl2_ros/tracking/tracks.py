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
    started = np.flatnonzero((seen_ids == 0) & (evidence >= _LEAST_EVIDENCE))
    first_id = max(before.next_id, options.first_id)
    # In the order of the answer, the best score first.
    seen_ids[started[np.argsort(seen[started])]] = np.arange(first_id, first_id + len(started))
    ids = np.empty(len(names), np.int64)
    ids[seen] = seen_ids

    lost = np.setdiff1d(np.arange(len(before.ids)), rows)
    kept = lost[(before.ids[lost] > 0) & (before.hidden[lost] < options.hidden_frames)]
    motion = expected.take(rows).correct(boxes[columns]).join(start_motion(boxes[new]))
    after = Tracks(
        stamp_ns=stamp_ns,
        next_id=first_id + len(started),
        ids=np.concatenate([seen_ids, before.ids[kept]]),
        evidence=np.concatenate([evidence, before.evidence[kept]]),
        names=(*(names[index] for index in seen), *(before.names[row] for row in kept)),
        motion=motion.join(before.motion.take(kept)),
        unseen_s=np.concatenate([np.zeros(len(seen)), unseen_s[kept]]),
        hidden=np.concatenate([np.zeros(len(seen), np.int64), before.hidden[kept] + 1]),
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

"""Score poses on labelled scenes: the share of named keypoints that lie near enough (PCK@0.2).

Each kind of a scene is asked for alone, with all keypoints that it has. A true thing takes the
best-scored pose whose box has an IoU of a half with its own; without one all its keypoints are
wrong. Keypoints that are seen count, near is 0.2 of the longer side of the true box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vl2_ros.evaluation.keypoints import PckScorer
from vl2_ros.geometry import box_iou
from vl2_ros.sim.kinds import list_keypoints
from vl2_ros.sim.tabletop import TabletopFrame, TabletopObject
from vl2_ros.structures import Branch, Detections, Frame

FIGURE = "figure"
_LEAST_IOU = 0.5
_MAX_INSTANCES = 100


class PosePipeline(Protocol):
    """The evaluated model."""

    def pose(
        self,
        frame: Frame,
        objects: Sequence[str],
        keypoints: Sequence[str],
        *,
        score_threshold: float = ...,
        max_instances: int = ...,
    ) -> Branch:
        """Find named keypoints without generating an answer."""


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One true thing: its keypoints (K, 3), its box (4,), and what was found (K, 2) or None."""

    keypoints: np.ndarray
    box_xyxy: np.ndarray
    found_xy: np.ndarray | None


@dataclass(slots=True)
class ScenePoseScores:
    """Collects the poses of scenes, by kind."""

    _rows: dict[str, list[_Row]] = field(default_factory=dict)

    def add(self, pipeline: PosePipeline, frame: Frame, view: TabletopFrame) -> None:
        """Ask for every kind that the view shows."""
        for kind in sorted({item.kind for item in view.objects}):
            names = list_keypoints(kind)
            branch = pipeline.pose(
                frame, [kind], names, score_threshold=0.0, max_instances=_MAX_INSTANCES
            )
            for item in view.objects:
                if item.kind == kind:
                    self._rows.setdefault(kind, []).append(
                        _Row(
                            _list_points(item, names),
                            np.array(item.box_xyxy),
                            _find_pose(branch.detections, item),
                        )
                    )

    def to_dict(self) -> dict[str, float]:
        """Return PCK of the figure, and the mean of all other kinds, where there are any.

        Chance is the best that needs no look at the thing: each keypoint at the place in the true
        box where it is on average.
        """
        scores: dict[str, float] = {}
        others = [kind for kind in self._rows if kind != FIGURE]
        for name, kinds in (("pck_figure", [FIGURE]), ("pck_objects", others)):
            rows = [self._rows[kind] for kind in kinds if kind in self._rows]
            rows = [one for one in rows if any(row.keypoints[:, 2].any() for row in one)]
            if rows:
                scores[name] = float(np.mean([_score(one) for one in rows]))
                fixed = [_score(_place_on_average(one)) for one in rows]
                scores[f"{name}_chance"] = float(np.mean(fixed))
        return scores


def _list_points(item: TabletopObject, names: Sequence[str]) -> np.ndarray:
    points = [item.keypoints[name] for name in names]
    return np.array([(x, y, 2 if visible else 0) for x, y, visible in points], np.float64)


def _find_pose(found: Detections, item: TabletopObject) -> np.ndarray | None:
    """Return the keypoints of the best-scored pose that is the thing's."""
    if found.keypoints is None or not len(found):
        return None
    ious = box_iou(np.array([item.box_xyxy], np.float64), found.boxes_xyxy.astype(np.float64))[0]
    fits = np.flatnonzero(ious >= _LEAST_IOU)
    if not len(fits):
        return None
    best = fits[np.argmax(found.scores[fits])]
    return np.asarray(found.keypoints.points_xy[best], np.float64)


def _score(rows: Sequence[_Row]) -> float:
    scorer = PckScorer()
    for row in rows:
        scorer.add(row.keypoints, row.box_xyxy, row.found_xy)
    return scorer.score()


def _place_on_average(rows: Sequence[_Row]) -> list[_Row]:
    """Put each keypoint where it is on average in the true boxes."""
    corners = np.array([row.box_xyxy[:2] for row in rows])[:, None]
    sides = np.array([row.box_xyxy[2:] - row.box_xyxy[:2] for row in rows])[:, None]
    points = np.array([row.keypoints for row in rows])
    seen = points[:, :, 2:] > 0
    places = np.where(seen, (points[:, :, :2] - corners) / sides, 0.0).sum(axis=0)
    places = places / np.maximum(seen.sum(axis=0), 1)
    return [
        _Row(row.keypoints, row.box_xyxy, corner[0] + places * side[0])
        for row, corner, side in zip(rows, corners, sides, strict=True)
    ]

"""Score keypoints: average precision over OKS, and the share of correct keypoints (PCK).

OKS numbers come from faster-coco-eval alone. PCK is counted here: it is a distance and a mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.evaluation.coco.tool import CocoKind, CocoScores, score_coco


@dataclass(frozen=True, slots=True, eq=False)
class KeypointTruth:
    """Ground truth of one frame.

    Attributes:
        keypoints: (N, K, 3) x and y in camera pixels and visibility: 0 not labelled, 1 hidden,
            2 visible.
        boxes_xyxy: (N, 4) corners in camera pixels.
        areas: (N,) pixels of each instance, which OKS is relative to.
        class_ids: (N,) int, index into the class names of the scorer.
        is_crowd: (N,) bool, instances that are groups: what lies in them is neither right nor
            wrong; None when there are none.
    """

    keypoints: np.ndarray
    boxes_xyxy: np.ndarray
    areas: np.ndarray
    class_ids: np.ndarray
    is_crowd: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check that the arrays are parallel."""
        count = len(self.keypoints)
        shapes = (self.boxes_xyxy.shape, self.areas.shape, self.class_ids.shape)
        if self.keypoints.ndim != 3 or self.keypoints.shape[2] != 3:
            raise ShapeError(f"keypoints must be (N, K, 3), got {self.keypoints.shape}")
        if shapes != ((count, 4), (count,), (count,)):
            raise ShapeError(
                f"boxes_xyxy, areas and class_ids must have {count} entries, got {shapes}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class FoundKeypoints:
    """Results in one frame.

    Attributes:
        keypoints_xy: (M, K, 2) camera pixels.
        scores: (M,) of the instances, 0..1.
        class_ids: (M,) int, index into the class names of the scorer.
    """

    keypoints_xy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray

    def __post_init__(self) -> None:
        """Check that the arrays are parallel."""
        count = len(self.scores)
        if self.keypoints_xy.ndim != 3 or self.keypoints_xy.shape[::2] != (count, 2):
            raise ShapeError(f"keypoints_xy must be ({count}, K, 2), got {self.keypoints_xy.shape}")
        if self.class_ids.shape != (count,):
            raise ShapeError(f"class_ids must be ({count},), got {self.class_ids.shape}")


@dataclass(slots=True)
class OksScorer:
    """Collects frames and scores them by object keypoint similarity.

    Attributes:
        class_names: what the class ids stand for.
        sigmas: falloff of each keypoint; its length is K.
    """

    class_names: Sequence[str]
    sigmas: Sequence[float]
    _frames: int = 0
    _truth: list[dict[str, Any]] = field(default_factory=list)
    _found: list[dict[str, Any]] = field(default_factory=list)

    def add(self, truth: KeypointTruth, found: FoundKeypoints) -> None:
        """Add one frame.

        Raises:
            InputError: if keypoints and sigmas differ in number.
        """
        for kind, points in (("truth", truth.keypoints), ("found", found.keypoints_xy)):
            if len(points) and points.shape[1] != len(self.sigmas):
                raise InputError(
                    f"{kind} has {points.shape[1]} keypoints an instance, expected "
                    f"{len(self.sigmas)}, one for each sigma"
                )
        self._frames += 1
        crowds = np.zeros(len(truth.areas), int) if truth.is_crowd is None else truth.is_crowd
        for points, box, area, class_id, crowd in zip(
            truth.keypoints, truth.boxes_xyxy, truth.areas, truth.class_ids, crowds, strict=True
        ):
            x1, y1, x2, y2 = (float(value) for value in box)
            row = {
                "id": len(self._truth) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": float(area),
                "iscrowd": int(crowd),
                "num_keypoints": int((points[:, 2] > 0).sum()),
            }
            self._truth.append(self._row(points, class_id) | row)
        for points_xy, score, class_id in zip(
            found.keypoints_xy, found.scores, found.class_ids, strict=True
        ):
            points = np.concatenate([points_xy, np.ones((len(points_xy), 1))], axis=1)
            self._found.append(self._row(points, class_id) | {"score": float(score)})

    def _row(self, points: np.ndarray, class_id: int) -> dict[str, Any]:
        return {
            "image_id": self._frames,
            "category_id": int(class_id) + 1,
            "keypoints": [float(value) for value in points.reshape(-1)],
        }

    def score(self) -> CocoScores:
        """Score all frames added so far.

        Raises:
            InputError: if no frame has an instance, or nothing was found in any.
        """
        if not self._truth or not self._found:
            raise InputError(
                f"expected instances to compare, got {len(self._truth)} true and "
                f"{len(self._found)} found ones"
            )
        names = [str(index) for index in range(len(self.sigmas))]
        document = {
            "images": [{"id": index + 1} for index in range(self._frames)],
            "categories": [
                {"id": index + 1, "name": name, "keypoints": names}
                for index, name in enumerate(self.class_names)
            ],
            "annotations": self._truth,
        }
        return score_coco(document, self._found, CocoKind.KEYPOINTS, sigmas=self.sigmas)


@dataclass(slots=True)
class PckScorer:
    """Counts keypoints that lie near enough to the truth.

    Near is `share` times the longer side of the true box; the published numbers of faces and
    small animals take 0.2 and the best-scored instance of each image.

    Attributes:
        share: of the longer side.
    """

    share: float = 0.2
    _near: list[np.ndarray] = field(default_factory=list)
    _counted: list[np.ndarray] = field(default_factory=list)

    def add(self, keypoints: np.ndarray, box_xyxy: np.ndarray, found_xy: np.ndarray | None) -> None:
        """Add one instance.

        Args:
            keypoints: (K, 3) true x, y in camera pixels and visibility, 0 not labelled.
            box_xyxy: (4,) true corners in camera pixels.
            found_xy: (K, 2) in camera pixels; None when nothing was found, which counts as wrong.

        Raises:
            ShapeError: if the arrays do not fit together.
        """
        if found_xy is not None and found_xy.shape != (len(keypoints), 2):
            raise ShapeError(f"found_xy must be ({len(keypoints)}, 2), got {found_xy.shape}")
        labelled = keypoints[:, 2] > 0
        near = np.zeros(len(keypoints), np.bool_)
        if found_xy is not None:
            longer = max(box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1])
            distance = np.linalg.norm(found_xy - keypoints[:, :2], axis=1)
            near = distance <= self.share * longer
        self._near.append(near & labelled)
        self._counted.append(labelled)

    def by_keypoint(self) -> np.ndarray:
        """Return (K,) the share of each keypoint that is right; NaN where it never occurs.

        Raises:
            InputError: if no instance was added, or their keypoints differ in number.
        """
        if len({len(row) for row in self._counted}) != 1:
            raise InputError(
                f"expected instances with one number of keypoints, got {len(self._counted)} "
                "instances"
            )
        counted = np.stack(self._counted).sum(axis=0)  # (K,)
        near = np.stack(self._near).sum(axis=0, dtype=np.float64)
        return np.divide(near, counted, out=np.full(len(near), np.nan), where=counted > 0)

    def score(self) -> float:
        """Return the mean over keypoints that occur, 0..1; raises as `by_keypoint` does."""
        shares = self.by_keypoint()
        if np.isnan(shares).all():
            raise InputError("expected at least one labelled keypoint, got none")
        return float(np.nanmean(shares))

"""Instances found in a frame, and the class of each of its pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vl2_ros.errors import ShapeError

#: Class of a pixel that no class was found for; the number is vision_msgs' own for 16 bit.
UNLABELLED = 65_535


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints:
    """K named points of N instances, in camera pixels.

    Attributes:
        names: K names, in the order in which they were asked for.
        points_xy: (N, K, 2) float32 camera pixels.
        scores: (N, K) float32 in 0..1. The network learns no score of a keypoint by itself, so it
            is the instance's.
        edges: pairs of indices into the names, to be joined by lines; () where none are known.
    """

    names: tuple[str, ...]
    points_xy: np.ndarray
    scores: np.ndarray
    edges: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """Check that the arrays are parallel and the edges inside."""
        shape = (len(self.scores), len(self.names))
        if self.scores.shape != shape or self.points_xy.shape != (*shape, 2):
            raise ShapeError(
                f"expected scores (N, {shape[1]}) and points_xy (N, {shape[1]}, 2), got "
                f"{self.scores.shape} and {self.points_xy.shape}"
            )
        if any(not 0 <= index < shape[1] for edge in self.edges for index in edge):
            raise ShapeError(f"edges must join two of {shape[1]} keypoints, got {self.edges}")


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """N instances as parallel arrays, best score first, in camera pixels.

    Attributes:
        boxes_xyxy: (N, 4) float32 corners in camera pixels.
        scores: (N,) float32 in 0..1.
        class_ids: (N,) int64 index into the phrases of the branch.
        labels: N phrases, `labels[i]` is the phrase of `class_ids[i]`.
        masks: (N, H, W) bool on the camera frame, or None when none were asked for.
        keypoints: of a POSE branch, or None.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    labels: tuple[str, ...]
    masks: np.ndarray | None = None
    keypoints: Keypoints | None = None

    def __post_init__(self) -> None:
        """Check that the arrays are parallel."""
        count = len(self.scores)
        if self.boxes_xyxy.shape != (count, 4):
            raise ShapeError(f"boxes_xyxy must be ({count}, 4), got {self.boxes_xyxy.shape}")
        if self.class_ids.shape != (count,) or len(self.labels) != count:
            raise ShapeError(
                f"class_ids and labels must hold {count} entries, got "
                f"{self.class_ids.shape} and {len(self.labels)}"
            )
        if self.masks is not None and (self.masks.ndim != 3 or len(self.masks) != count):
            raise ShapeError(f"masks must be ({count}, H, W), got {self.masks.shape}")
        if self.keypoints is not None and len(self.keypoints.scores) != count:
            raise ShapeError(
                f"keypoints must be of {count} instances, got {len(self.keypoints.scores)}"
            )

    def __len__(self) -> int:
        """Return N."""
        return len(self.scores)

    def __iter__(self) -> Iterator[tuple[np.ndarray, float, str]]:
        """Yield (box_xyxy, score, label) of each instance."""
        for box, score, label in zip(self.boxes_xyxy, self.scores, self.labels, strict=True):
            yield box, float(score), label

    @classmethod
    def empty(cls) -> Detections:
        """Make a result with no instance."""
        return cls(
            boxes_xyxy=np.zeros((0, 4), np.float32),
            scores=np.zeros(0, np.float32),
            class_ids=np.zeros(0, np.int64),
            labels=(),
        )


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """Which class each pixel of the frame belongs to.

    Attributes:
        class_ids: (H, W) uint16 index into the phrases of the branch; `UNLABELLED` elsewhere.
        threshold: a pixel whose best class scores no higher is unlabelled; 0 labels every pixel.
    """

    class_ids: np.ndarray
    threshold: float

    def __post_init__(self) -> None:
        """Check shape and dtype."""
        ids = self.class_ids
        if ids.ndim != 2 or ids.dtype != np.uint16:
            raise ShapeError(f"class_ids must be (H, W) uint16, got {ids.shape} {ids.dtype}")

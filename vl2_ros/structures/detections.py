"""Instances found in a frame, and the class of each of its pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.structures.masks import Masks
from vl2_ros.structures.route import Route

#: Class of a pixel without a class; the number is vision_msgs' own for 16 bit.
UNLABELLED = 65_535

#: What `Detections` can be indexed with.
DetectionIndex = str | int | np.integer | slice | Sequence[int] | Sequence[bool] | np.ndarray

#: Instances, names and characters of a label that a repr shows.
_SHOWN = 6
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints:
    """K named points of N instances, in camera pixels.

    Attributes:
        names: K names, in the requested order.
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

    def __repr__(self) -> str:
        """Show the names, no arrays."""
        return f"Keypoints({len(self.scores)} instances of {_list_some(self.names)})"

    def take(self, index: np.ndarray | slice) -> Keypoints:
        """Return the keypoints of the instances that `index` selects, in its order."""
        return Keypoints(self.names, self.points_xy[index], self.scores[index], self.edges)


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """N instances as parallel arrays, best score first, in camera pixels.

    Indexing selects instances and returns Detections: by label, by position (negative positions
    count from the end), by slice, by a sequence of positions, or by a boolean mask of length N.

    Attributes:
        boxes_xyxy: (N, 4) float32 corners in camera pixels.
        scores: (N,) float32 in 0..1.
        class_ids: (N,) int64 index into the phrases of the branch.
        labels: N phrases, `labels[i]` is the phrase of `class_ids[i]`.
        masks: N on the camera frame, or None when none were requested; `np.asarray(masks)` is
            (N, H, W) bool.
        keypoints: of a POSE branch, or None.
        track_ids: (N,) int64 track of each instance, the same in every frame of a watch; 1 or
            more, 0 for an instance without a track. None when nothing was tracked.
        routes: N routes where several branches are joined (`Result.detections`); None within a
            branch, which has one.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    labels: tuple[str, ...]
    masks: Masks | None = None
    keypoints: Keypoints | None = None
    track_ids: np.ndarray | None = None
    routes: tuple[Route, ...] | None = None

    def __post_init__(self) -> None:
        """Check that the arrays are parallel."""
        count = len(self.scores)
        if self.boxes_xyxy.shape != (count, 4):
            raise ShapeError(f"boxes_xyxy must be ({count}, 4), got {self.boxes_xyxy.shape}")
        if self.class_ids.shape != (count,) or len(self.labels) != count:
            raise ShapeError(
                f"class_ids and labels must have {count} entries, got "
                f"{self.class_ids.shape} and {len(self.labels)}"
            )
        if self.masks is not None and not isinstance(self.masks, Masks):
            raise InputError(
                f"masks must be Masks, got {type(self.masks).__name__}; make them of an (N, H, W) "
                "bool array by Masks.cut"
            )
        if self.masks is not None and len(self.masks) != count:
            raise ShapeError(f"masks must be of {count} instances, got {self.masks.shape}")
        if self.keypoints is not None and len(self.keypoints.scores) != count:
            raise ShapeError(
                f"keypoints must be of {count} instances, got {len(self.keypoints.scores)}"
            )
        if self.routes is not None and len(self.routes) != count:
            raise ShapeError(f"routes must have {count} entries, got {len(self.routes)}")
        tracks = self.track_ids
        if tracks is not None and (tracks.shape != (count,) or tracks.dtype != np.int64):
            raise ShapeError(
                f"track_ids must be ({count},) int64, got {tracks.shape} {tracks.dtype}"
            )

    def __len__(self) -> int:
        """Return N."""
        return len(self.scores)

    def __iter__(self) -> Iterator[tuple[np.ndarray, float, str]]:
        """Yield (box_xyxy, score, label) of each instance."""
        for box, score, label in zip(self.boxes_xyxy, self.scores, self.labels, strict=True):
            yield box, float(score), label

    def get_track_id(self, index: int) -> int:
        """Return the track of an instance; 0 where it has none."""
        return 0 if self.track_ids is None else int(self.track_ids[index])

    def get_title(self, index: int) -> str:
        """Return the label with its track, such as `red mug #3`; alone where it has none."""
        track_id = self.get_track_id(index)
        return f"{self.labels[index]} #{track_id}" if track_id else self.labels[index]

    def __getitem__(self, key: DetectionIndex) -> Detections:
        """Return the instances that `key` selects, in its order.

        Raises:
            InputError: if no instance has the label, a position is outside, or the key is of
                another kind.
            ShapeError: if a boolean mask is not of length N, or the positions are not a list.
        """
        index = self._find(key)
        numbers = np.arange(len(self))[index]
        routes = self.routes
        return Detections(
            boxes_xyxy=self.boxes_xyxy[index],
            scores=self.scores[index],
            class_ids=self.class_ids[index],
            labels=tuple(self.labels[number] for number in numbers),
            masks=None if self.masks is None else self.masks.take(numbers),
            keypoints=None if self.keypoints is None else self.keypoints.take(index),
            track_ids=None if self.track_ids is None else self.track_ids[index],
            routes=None if routes is None else tuple(routes[number] for number in numbers),
        )

    def _find(self, key: DetectionIndex) -> np.ndarray | slice:
        if isinstance(key, slice):
            return key
        if isinstance(key, str):
            return self._find_label(key)
        try:
            positions = np.asarray(key)
        except ValueError as error:  # rows of different lengths
            raise InputError(f"detections cannot be indexed by {key!r}: {error}") from error
        if positions.dtype == np.bool_:
            if positions.shape != (len(self),):
                raise ShapeError(
                    f"a mask of detections must be ({len(self)},) bool, got {positions.shape}; "
                    "compare scores or labels of the same Detections"
                )
            return np.flatnonzero(positions)
        if positions.size == 0 and positions.ndim == 1:
            return np.zeros(0, np.int64)  # an empty list has no dtype of its own
        if not np.issubdtype(positions.dtype, np.integer):
            raise InputError(
                "detections are indexed by a label, a position, a slice, positions or a boolean "
                f"mask; got {type(key).__name__}"
            )
        if positions.ndim > 1:
            raise ShapeError(f"positions of detections must be (K,), got {positions.shape}")
        return self._check_positions(np.atleast_1d(positions))

    def _find_label(self, label: str) -> np.ndarray:
        found = np.flatnonzero([one == label for one in self.labels])
        if not len(found):
            names = _list_some(tuple(dict.fromkeys(self.labels))) or "nothing"
            raise InputError(f"no detection is labelled {label!r}; found were: {names}")
        return found

    def _check_positions(self, positions: np.ndarray) -> np.ndarray:
        outside = positions[(positions < -len(self)) | (positions >= len(self))]
        if len(outside):
            raise InputError(
                f"there is no detection {outside[0]}; expected a position below {len(self)}"
            )
        return positions

    def __repr__(self) -> str:
        """Show number, labels and scores, no arrays."""
        shown = [
            f"{_shorten(label)} {score:.2f}"
            for label, score in zip(self.labels[:_SHOWN], self.scores[:_SHOWN], strict=True)
        ]
        if len(self) > _SHOWN:
            shown.append(f"{len(self) - _SHOWN} more")
        words = f"{len(self)}: {', '.join(shown)}" if shown else "0"
        if self.masks is not None:
            words += f"; masks {self.masks.shape[2]}x{self.masks.shape[1]}"
        if self.keypoints is not None:
            words += f"; {len(self.keypoints.names)} keypoints"
        if self.track_ids is not None:
            words += "; tracked"
        return f"Detections({words})"

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

    def __repr__(self) -> str:
        """Show size and threshold, no arrays."""
        height, width = self.class_ids.shape
        return f"LabelMap({width}x{height}, threshold={self.threshold:g})"


def _list_some(names: Sequence[str]) -> str:
    shown = [_shorten(name) for name in names[:_SHOWN]]
    if len(names) > _SHOWN:
        shown.append(f"{len(names) - _SHOWN} more")
    return ", ".join(shown)


def _shorten(words: str) -> str:
    cut = _SHOWN_CHARACTERS - 3
    return words if len(words) <= _SHOWN_CHARACTERS else f"{words[:cut]}..."

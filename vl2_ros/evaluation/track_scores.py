"""Score tracks against the true ones: IDF1 and identity switches.

Knows boxes, labels and ids; no image and no tracker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from vl2_ros.errors import ShapeError
from vl2_ros.geometry import box_iou

#: Boxes that overlap at least so much are of one object.
MATCH_IOU = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class TrackedBoxes:
    """N boxes of one frame with their ids.

    Attributes:
        ids: N numbers, each once; the same object has the same one in every frame.
        boxes_xyxy: (N, 4) corners in pixels.
        labels: N words; boxes of different ones are never of one object.
    """

    ids: Sequence[int]
    boxes_xyxy: np.ndarray
    labels: Sequence[str]

    def __post_init__(self) -> None:
        """Check that the fields are parallel."""
        count = len(self.ids)
        if self.boxes_xyxy.shape != (count, 4) or len(self.labels) != count:
            raise ShapeError(
                f"expected boxes_xyxy ({count}, 4) and {count} labels, got "
                f"{self.boxes_xyxy.shape} and {len(self.labels)}"
            )


@dataclass(slots=True)
class TrackScorer:
    """Running totals over the frames of sequences; `add` is called for them in order.

    Attributes:
        truth_count: true boxes so far.
        found_count: found boxes so far.
        switches: how often a true object is found under another id than when it was found last.
    """

    truth_count: int = 0
    found_count: int = 0
    switches: int = 0
    _sequence: int = 0
    _boxes_right: int = 0
    _together: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    _last: dict[int, int] = field(default_factory=dict)

    def begin(self) -> None:
        """Begin another sequence, whose ids have nothing to do with those before."""
        self._sequence += 1
        self._last.clear()

    def add(self, truth: TrackedBoxes, found: TrackedBoxes) -> None:
        """Compare one frame."""
        self.truth_count += len(truth.ids)
        self.found_count += len(found.ids)
        overlaps = box_iou(truth.boxes_xyxy, found.boxes_xyxy)
        is_same_label = np.array(
            [[one == other for other in found.labels] for one in truth.labels], np.bool_
        ).reshape(overlaps.shape)
        is_match = is_same_label & (overlaps >= MATCH_IOU)
        for row, column in np.argwhere(is_match):
            self._together[self._sequence, truth.ids[row], found.ids[column]] += 1
        self._count_switches(truth, found, np.where(is_match, overlaps, 0.0))

    def _count_switches(
        self, truth: TrackedBoxes, found: TrackedBoxes, overlaps: np.ndarray
    ) -> None:
        # As CLEAR MOT counts: where an object may keep its id, it does.
        for row, number in enumerate(truth.ids):
            for column, found_id in enumerate(found.ids):
                if overlaps[row, column] and self._last.get(number) == found_id:
                    overlaps[row, column] += 1.0
        for row, column in zip(*linear_sum_assignment(overlaps, maximize=True), strict=True):
            if overlaps[row, column]:
                self._boxes_right += 1
                number, found_id = truth.ids[row], found.ids[column]
                self.switches += self._last.get(number, found_id) != found_id
                self._last[number] = found_id

    @property
    def idf1(self) -> float:
        """Return the F1 of boxes under the best one-to-one assignment of found to true tracks.

        1 when there is nothing and nothing was found.
        """
        count = self.truth_count + self.found_count
        return 2 * self._count_right() / count if count else 1.0

    @property
    def box_f1(self) -> float:
        """Return the F1 of boxes whatever their ids, which no IDF1 exceeds."""
        count = self.truth_count + self.found_count
        return 2 * self._boxes_right / count if count else 1.0

    def _count_right(self) -> int:
        """Return the boxes that are right when each true track is given its best found one."""
        truths = _number({(sequence, truth) for sequence, truth, _ in self._together})
        founds = _number({(sequence, found) for sequence, _, found in self._together})
        together = np.zeros((len(truths), len(founds)), np.int64)
        for (sequence, truth, found), count in self._together.items():
            together[truths[sequence, truth], founds[sequence, found]] = count
        return int(together[linear_sum_assignment(together, maximize=True)].sum())


def _number(keys: set[tuple[int, int]]) -> dict[tuple[int, int], int]:
    return {key: number for number, key in enumerate(sorted(keys))}

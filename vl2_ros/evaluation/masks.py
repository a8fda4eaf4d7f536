"""Score masks and label maps against ground truth: cIoU and gIoU of referring, mIoU of classes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.structures import UNLABELLED


@dataclass(slots=True)
class ReferringScorer:
    """Compares one mask per sentence.

    A sentence that speaks of nothing in the image is right (IoU 1) when nothing was marked, and
    wrong (IoU 0) otherwise; what was marked then counts to the union of cIoU.
    """

    _overlaps: list[int] = field(default_factory=list)
    _unions: list[int] = field(default_factory=list)

    def add(self, truth: np.ndarray, found: np.ndarray) -> None:
        """Add one sentence.

        Args:
            truth: (H, W) bool; empty when the thing is not there.
            found: (H, W) bool; empty when nothing was found.

        Raises:
            ShapeError: if the masks are not (H, W) bool of one size.
        """
        is_bool = truth.dtype == found.dtype == np.bool_
        if truth.shape != found.shape or truth.ndim != 2 or not is_bool:
            raise ShapeError(
                f"masks must be (H, W) bool of one size, got {truth.shape} {truth.dtype} and "
                f"{found.shape} {found.dtype}"
            )
        self.add_counts(int(np.count_nonzero(truth & found)), int(np.count_nonzero(truth | found)))

    def add_counts(self, overlap: int, union: int) -> None:
        """Add one sentence whose pixels are counted already.

        Args:
            overlap: pixels of both masks.
            union: pixels of either mask.

        Raises:
            InputError: if the overlap is larger than the union, or below 0.
        """
        if not 0 <= overlap <= union:
            raise InputError(f"overlap must lie in 0..{union} (the union), got {overlap}")
        self._overlaps.append(overlap)
        self._unions.append(union)

    def __len__(self) -> int:
        """Return the number of sentences."""
        return len(self._unions)

    def ious(self) -> np.ndarray:
        """Return the IoU of each sentence, (N,) float64.

        Raises:
            InputError: if no sentence was added.
        """
        if not self._unions:
            raise InputError("expected at least one pair of masks, got none")
        overlaps, unions = np.array(self._overlaps, float), np.array(self._unions, float)
        return np.divide(overlaps, unions, out=np.ones_like(unions), where=unions > 0)

    def ciou(self) -> float:
        """Return the cumulative IoU: all overlaps over all unions, so that large things count more.

        Raises:
            InputError: if no sentence was added.
        """
        self.ious()
        total = sum(self._unions)
        return sum(self._overlaps) / total if total else 1.0

    def giou(self) -> float:
        """Return the mean IoU over the sentences; raises as `ious` does."""
        return float(self.ious().mean())


@dataclass(slots=True)
class LabelScorer:
    """Compares label maps, pixel by pixel over all images.

    Attributes:
        num_classes: classes 0 to num_classes - 1.
        ignored: true class of the pixels that do not count.
    """

    num_classes: int
    ignored: int = UNLABELLED
    _confusion: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Start with no pixel; the last column counts unlabelled pixels."""
        self._confusion = np.zeros((self.num_classes, self.num_classes + 1), np.int64)

    def add(self, truth: np.ndarray, found: np.ndarray) -> None:
        """Add one image.

        Args:
            truth: (H, W) int class of each pixel, or `ignored`.
            found: (H, W) int class of each pixel; `UNLABELLED` is a class that is never right.

        Raises:
            ShapeError: if the maps differ in size.
            InputError: if a class is out of range.
        """
        self.add_pairs(count_pairs(truth, found, self.ignored))

    def add_pairs(self, pairs: np.ndarray) -> None:
        """Add one image whose pixels are counted already.

        Args:
            pairs: (n, 3) int64 of `count_pairs`.

        Raises:
            ShapeError: if it is of another shape.
            InputError: if a class is out of range.
        """
        if pairs.ndim != 2 or pairs.shape[1] != 3:
            raise ShapeError(f"pairs must be (n, 3), got {pairs.shape}")
        true_ids, found_ids, counts = pairs.T
        found_ids = np.where(found_ids == UNLABELLED, self.num_classes, found_ids)
        for name, ids, most in (
            ("true", true_ids, self.num_classes - 1),
            ("found", found_ids, self.num_classes),
        ):
            if ids.size and not 0 <= ids.min() <= ids.max() <= most:
                raise InputError(
                    f"{name} classes must lie in 0..{self.num_classes - 1}, got {ids.min()} to "
                    f"{ids.max()}"
                )
        np.add.at(self._confusion, (true_ids, found_ids), counts)

    def ious(self) -> np.ndarray:
        """Return (C,) the IoU of each class over all images; NaN for one that never occurs."""
        overlap = np.diag(self._confusion).astype(np.float64)
        union = self._confusion.sum(axis=1) + self._confusion[:, :-1].sum(axis=0) - overlap
        return np.divide(overlap, union, out=np.full(self.num_classes, np.nan), where=union > 0)

    def miou(self) -> float:
        """Return the mean over the classes that occur in truth or result.

        Raises:
            InputError: if no pixel was added.
        """
        ious = self.ious()
        if np.isnan(ious).all():
            raise InputError("expected label maps with at least one pixel that counts, got none")
        return float(np.nanmean(ious))

    def pixel_accuracy(self) -> float:
        """Return the share of counted pixels whose class is right; NaN without any."""
        total = self._confusion.sum()
        return float(np.trace(self._confusion[:, :-1]) / total) if total else float("nan")


def count_pairs(truth: np.ndarray, found: np.ndarray, ignored: int = UNLABELLED) -> np.ndarray:
    """Count the pixels of each pair of classes.

    Args:
        truth: (H, W) int class of each pixel, or `ignored`.
        found: (H, W) int class of each pixel.
        ignored: true class of the pixels that do not count.

    Returns:
        (n, 3) int64 of true class, found class and pixels, ordered.

    Raises:
        ShapeError: if the maps differ in size.
    """
    if truth.shape != found.shape or truth.ndim != 2:
        raise ShapeError(f"maps must be (H, W) of one size, got {truth.shape}, {found.shape}")
    counted = truth != ignored
    both = truth[counted].astype(np.int64) << 32 | found[counted].astype(np.int64)
    codes, counts = np.unique(both, return_counts=True)
    return np.stack([codes >> 32, codes & 0xFFFFFFFF, counts], axis=1).astype(np.int64)

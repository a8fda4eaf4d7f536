"""Masks of instances on one frame, each kept as the rectangle that it covers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vl2_ros.errors import ShapeError
from vl2_ros.structures.run_lengths import RunLengths


@dataclass(frozen=True, slots=True, eq=False)
class MaskCrop:
    """The rectangle that a mask covers; no side of it is without a pixel inside.

    Attributes:
        top: first row of the frame that has a pixel inside; 0 for an empty mask.
        left: first column likewise.
        pixels: (h, w) bool; (0, 0) for an empty mask.
    """

    top: int
    left: int
    pixels: np.ndarray

    @classmethod
    def empty(cls) -> MaskCrop:
        """Make a mask without a pixel inside."""
        return cls(0, 0, np.zeros((0, 0), np.bool_))

    @classmethod
    def cut(cls, part: np.ndarray, top: int = 0, left: int = 0) -> MaskCrop:
        """Cut out what a mask covers.

        Args:
            part: (h, w) bool; the mask is False elsewhere. Not kept.
            top: row of the frame where it begins.
            left: column likewise.
        """
        rows = np.flatnonzero(part.any(axis=1))
        if not len(rows):
            return cls.empty()
        part = part[rows[0] : rows[-1] + 1]
        columns = np.flatnonzero(part.any(axis=0))
        # A view would keep all of the part.
        pixels = part[:, columns[0] : columns[-1] + 1].copy()
        return cls(top + int(rows[0]), left + int(columns[0]), pixels)

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the frame that it covers."""
        height, width = self.pixels.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def area(self) -> int:
        """Pixels inside."""
        return int(np.count_nonzero(self.pixels))

    def look_up(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return (R, C) bool of the mask at R rows and C columns of the frame."""
        found = np.zeros((len(rows), len(columns)), np.bool_)
        height, width = self.pixels.shape
        rows_in = np.flatnonzero((rows >= self.top) & (rows < self.top + height))
        columns_in = np.flatnonzero((columns >= self.left) & (columns < self.left + width))
        found[np.ix_(rows_in, columns_in)] = self.pixels[
            np.ix_(rows[rows_in] - self.top, columns[columns_in] - self.left)
        ]
        return found

    def encode(self, frame_hw: tuple[int, int]) -> RunLengths:
        """Return the run lengths of the mask on its frame."""
        height, width = frame_hw
        rows, columns = self.pixels.shape
        if not columns:
            return RunLengths(frame_hw, np.array([height * width], np.uint32))
        # Whether each pixel differs from the one above, with rows outside before and after.
        changes = np.empty((rows + 1, columns), np.bool_)
        changes[0], changes[-1] = self.pixels[0], self.pixels[-1]
        np.not_equal(self.pixels[1:], self.pixels[:-1], out=changes[1:-1])
        row, column = np.divmod(changes.ravel().nonzero()[0], columns)
        borders = (column + self.left) * height + row + self.top
        # Down the columns, one after the other: few borders are sorted faster than pixels turned.
        borders.sort()
        if rows == height:
            # A run that ends with its column and goes on in the next has two borders there.
            twice = np.flatnonzero(borders[1:] == borders[:-1])
            borders = np.delete(borders, np.concatenate([twice, twice + 1]))
        if len(borders) and borders[-1] == height * width:
            borders = borders[:-1]
        ends = np.empty(len(borders) + 2, np.int64)
        ends[0], ends[1:-1], ends[-1] = 0, borders, height * width
        return RunLengths(frame_hw, (ends[1:] - ends[:-1]).astype(np.uint32))


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """N masks on one frame; they take the memory of the rectangles that they cover.

    `np.asarray(masks)` makes the (N, H, W) bool array of all of them, and indexing is that of this
    array; `masks[i]` makes one mask, (H, W) bool.

    Attributes:
        frame_hw: height and width of the frame in pixels.
        crops: N rectangles within it.
    """

    frame_hw: tuple[int, int]
    crops: tuple[MaskCrop, ...]

    def __post_init__(self) -> None:
        """Check that the rectangles lie in the frame."""
        height, width = self.frame_hw
        for crop in self.crops:
            rows, columns = crop.place
            if min(crop.top, crop.left) < 0 or rows.stop > height or columns.stop > width:
                raise ShapeError(
                    f"a mask over rows {rows.start}..{rows.stop} and columns {columns.start}.."
                    f"{columns.stop} does not lie in its frame of {width}x{height} pixels"
                )

    @classmethod
    def cut(cls, dense: np.ndarray) -> Masks:
        """Cut out what each mask covers.

        Args:
            dense: (N, H, W) bool. Not kept.

        Raises:
            ShapeError: if it is of another shape or dtype.
        """
        if dense.ndim != 3 or dense.dtype != np.bool_:
            raise ShapeError(f"masks must be (N, H, W) bool, got {dense.shape} {dense.dtype}")
        height, width = dense.shape[1:]
        return cls((height, width), tuple(MaskCrop.cut(mask) for mask in dense))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W)."""
        return len(self.crops), *self.frame_hw

    def __len__(self) -> int:
        """Return N."""
        return len(self.crops)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield each mask, (H, W) bool."""
        return map(self._fill, self.crops)

    def __getitem__(self, key: Any) -> Any:
        """Return what the (N, H, W) bool array has there; one mask is made without the others."""
        first, *others = key if isinstance(key, tuple) else (key,)
        if isinstance(first, int | np.integer):
            return self._fill(self.crops[first])[tuple(others)]
        return np.asarray(self)[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return all masks, (N, H, W) bool; numpy calls it."""
        if copy is False:
            raise ValueError("masks are kept as rectangles; their array is always a new one")
        dense = np.zeros(self.shape, np.bool_)
        for mask, crop in zip(dense, self.crops, strict=True):
            mask[crop.place] = crop.pixels
        return dense if dtype is None else dense.astype(dtype, copy=False)

    def __repr__(self) -> str:
        """Show number and size, no arrays."""
        height, width = self.frame_hw
        return f"Masks({len(self)} of {width}x{height})"

    def take(self, numbers: Sequence[int] | np.ndarray) -> Masks:
        """Return the masks with some numbers, in the order of these."""
        return Masks(self.frame_hw, tuple(self.crops[number] for number in numbers))

    def pick_pixels(self, rows: np.ndarray, columns: np.ndarray) -> Masks:
        """Return smaller masks of some pixels of the frame.

        Args:
            rows: (R,) rows of the frame, in ascending order.
            columns: (C,) columns likewise.
        """
        crops = []
        for crop in self.crops:
            covered_rows, covered_columns = crop.place
            y = slice(*np.searchsorted(rows, (covered_rows.start, covered_rows.stop)))
            x = slice(*np.searchsorted(columns, (covered_columns.start, covered_columns.stop)))
            part = crop.pixels[np.ix_(rows[y] - crop.top, columns[x] - crop.left)]
            crops.append(MaskCrop.cut(part, y.start, x.start))
        return Masks((len(rows), len(columns)), tuple(crops))

    def _fill(self, crop: MaskCrop) -> np.ndarray:
        mask = np.zeros(self.frame_hw, np.bool_)
        mask[crop.place] = crop.pixels
        return mask

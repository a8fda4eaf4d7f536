"""Find what each cell of a grid over an image shows, from an instance map.

A cell belongs to the object that fills enough of it, or shows nothing, or is mixed. Each object has
one centre cell, so that what is counted over centres is a number of objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from vl2_ros.datasets.token_labels.label_table import UNKNOWN, color_row, kind_row

#: Samples along each side of a cell.
_SAMPLES = 8
#: Share of a cell that its object fills at least, and that all objects fill at most where it shows
#: nothing.
_FILLED, _EMPTY = 0.3, 0.1
#: Share of a cell that an object fills where its centre may be, unless it fills no cell so far.
_CENTRE = 0.2


class Labelled(Protocol):
    """An object with words for its kind and its colour."""

    @property
    def kind(self) -> str:
        """Return the kind."""

    @property
    def color(self) -> str:
        """Return the colour; empty where it has none with a name."""


@dataclass(frozen=True, slots=True, eq=False)
class GridLabels:
    """Labels of the cells of a square grid, row by row.

    Attributes:
        instances: (M,) int64: 0 = nothing, i + 1 = object i, -1 = mixed.
        kinds: (M,) int64 rows of the label table: 0 = nothing, -1 = mixed or without a word.
        colors: (M,) int64, likewise.
        centres: (M,) bool: the centre of an object.
        centre_cells: (n,) int64 cell of each object; -1 of one that fills none, or whose cell is
            the centre of a later object.
    """

    instances: np.ndarray
    kinds: np.ndarray
    colors: np.ndarray
    centres: np.ndarray
    centre_cells: np.ndarray


def label_grid(instance_map: np.ndarray, objects: Sequence[Labelled], side: int) -> GridLabels:
    """Label the cells of a `side` x `side` grid over the whole image.

    Args:
        instance_map: (H, W) uint8, 0 = none, i + 1 = `objects[i]`.
        objects: what the map shows.
        side: cells along each side.
    """
    shares = measure_shares(instance_map, len(objects), side)
    instances = _choose_instances(shares)
    centre_cells = np.full(len(objects), -1, dtype=np.int64)
    for index in range(len(objects)):
        cell = _find_centre(shares[:, index], side)
        if cell >= 0:
            centre_cells[centre_cells == cell] = -1
            centre_cells[index], instances[cell] = cell, index + 1
    centres = np.zeros(side * side, dtype=bool)
    centres[centre_cells[centre_cells >= 0]] = True
    kinds = np.array([0, *(kind_row(one.kind) for one in objects), UNKNOWN], dtype=np.int64)
    colors = np.array([0, *(color_row(one.color) for one in objects), UNKNOWN], dtype=np.int64)
    # Index -1, of mixed cells, is the last entry.
    return GridLabels(instances, kinds[instances], colors[instances], centres, centre_cells)


def measure_shares(instance_map: np.ndarray, count: int, side: int) -> np.ndarray:
    """Return (M, n) float64: the share of each cell that each of n objects fills."""
    fine = side * _SAMPLES
    seen = cv2.resize(instance_map, (fine, fine), interpolation=cv2.INTER_NEAREST_EXACT)
    cells = np.arange(fine) // _SAMPLES
    flat = (cells[:, None] * side + cells) * (count + 1) + seen
    found = np.bincount(flat.ravel(), minlength=side * side * (count + 1))
    return found.reshape(side * side, count + 1)[:, 1:] / _SAMPLES**2


def _choose_instances(shares: np.ndarray) -> np.ndarray:
    if not shares.shape[1]:
        return np.zeros(len(shares), dtype=np.int64)
    largest = shares.max(axis=1)
    others = np.where(shares.sum(axis=1) <= _EMPTY, 0, -1)
    return np.where(largest >= _FILLED, shares.argmax(axis=1) + 1, others).astype(np.int64)


def _find_centre(share: np.ndarray, side: int) -> int:
    """Return the cell next to the centroid among those that the object fills enough of; or -1."""
    total = share.sum()
    if not total:
        return -1
    rows, columns = np.divmod(np.arange(side * side), side)
    row, column = share @ rows / total, share @ columns / total
    candidates = np.flatnonzero(share >= min(_CENTRE, share.max()))
    distance = (rows[candidates] - row) ** 2 + (columns[candidates] - column) ** 2
    return int(candidates[distance.argmin()])

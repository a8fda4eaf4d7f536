"""Scenes as labels of cells alone: what the tower would say about an image, without one.

Kinds and colours may be drawn anew, so that three and four of a kind are not rare, and the grid may
be mirrored and turned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vl2_ros.datasets.scene_questions.relations import PlacedThing
from vl2_ros.datasets.token_labels.grid import GridLabels, Labelled
from vl2_ros.datasets.token_labels.label_table import color_row, kind_row
from vl2_ros.datasets.wording import chance, pick
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS
from vl2_ros.training.eyes.directions import CellLabels, LabelDirections, label_coefficients

#: Share of the scenes whose kinds and colours are drawn anew.
_REDRAWN = 0.6
#: Noise of coefficients and of tokens; share of cells that are mixed with another, and how much.
_COEFFICIENT_NOISE, _TOKEN_NOISE = 0.08, 0.1
_MIXED, _MOST_MIXED = 0.1, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class LabelScene:
    """Cells of a scene and its objects.

    Attributes:
        instances: (g, g) int64: 0 = nothing, i + 1 = object i, -1 = mixed.
        kinds: (g, g) int64 rows of the label table, 0 = nothing, -1 = mixed.
        colors: (g, g) int64, likewise.
        centre_cells: (n,) int64, row by row; -1 of an object without a centre of its own.
        objects: with the places of their centres.
    """

    instances: np.ndarray
    kinds: np.ndarray
    colors: np.ndarray
    centre_cells: np.ndarray
    objects: tuple[PlacedThing, ...]


def make_scene(labels: GridLabels, objects: Sequence[Labelled]) -> LabelScene:
    """Return the scene of labelled cells.

    An object that shares its centre cell is placed at the mean of its cells.
    """
    side = round(len(labels.instances) ** 0.5)
    placed = []
    for index, (item, cell) in enumerate(zip(objects, labels.centre_cells, strict=True)):
        cells = np.array([cell]) if cell >= 0 else np.flatnonzero(labels.instances == index + 1)
        rows, columns = np.divmod(cells, side) if len(cells) else (np.zeros(1), np.zeros(1))
        x, y = (columns.mean() + 0.5) / side, (rows.mean() + 0.5) / side
        placed.append(PlacedThing(item.kind, item.color, float(x), float(y)))
    return LabelScene(
        labels.instances.reshape(side, side),
        labels.kinds.reshape(side, side),
        labels.colors.reshape(side, side),
        labels.centre_cells,
        tuple(placed),
    )


def vary_scene(scene: LabelScene, rng: np.random.Generator) -> LabelScene:
    """Draw kinds and colours of most scenes anew, and mirror and turn the grid."""
    if chance(rng, _REDRAWN):
        scene = redraw_objects(scene, rng)
    return turn_scene(
        scene, flip_x=chance(rng, 0.5), flip_y=chance(rng, 0.5), transpose=chance(rng, 0.5)
    )


def redraw_objects(scene: LabelScene, rng: np.random.Generator) -> LabelScene:
    """Give the objects other kinds and colours, from few of each so that many are alike."""
    kinds = rng.permutation(len(KINDS))[: rng.integers(1, 6)].tolist()
    colors = rng.permutation(len(COLORS))[: rng.integers(1, 7)].tolist()
    objects = tuple(
        replace(item, kind=KINDS[pick(rng, kinds)], color=COLORS[pick(rng, colors)])
        for item in scene.objects
    )
    # The last entry is that of index -1, of mixed cells.
    kind_rows = np.array([0, *(kind_row(item.kind) for item in objects), -1])
    color_rows = np.array([0, *(color_row(item.color) for item in objects), -1])
    return replace(
        scene,
        kinds=kind_rows[scene.instances],
        colors=color_rows[scene.instances],
        objects=objects,
    )


def turn_scene(scene: LabelScene, *, flip_x: bool, flip_y: bool, transpose: bool) -> LabelScene:
    """Mirror a scene left to right, top to bottom, and at its diagonal."""
    side = len(scene.instances)

    def turn(grid: np.ndarray) -> np.ndarray:
        grid = grid[:, ::-1] if flip_x else grid
        grid = grid[::-1] if flip_y else grid
        return np.ascontiguousarray(grid.T if transpose else grid)

    def place(item: PlacedThing) -> PlacedThing:
        x, y = (1.0 - item.x if flip_x else item.x), (1.0 - item.y if flip_y else item.y)
        return replace(item, x=y, y=x) if transpose else replace(item, x=x, y=y)

    moved = turn(np.arange(side * side).reshape(side, side)).ravel().argsort()
    return LabelScene(
        turn(scene.instances),
        turn(scene.kinds),
        turn(scene.colors),
        np.where(scene.centre_cells >= 0, moved[scene.centre_cells], -1),
        tuple(map(place, scene.objects)),
    )


def stack_scenes(scenes: Sequence[LabelScene]) -> CellLabels:
    """Return the labels of the cells of several scenes."""
    centres = np.zeros((len(scenes), scenes[0].instances.size), dtype=bool)
    for index, scene in enumerate(scenes):
        centres[index, scene.centre_cells[scene.centre_cells >= 0]] = True
    return CellLabels(
        torch.from_numpy(np.stack([one.kinds.ravel() for one in scenes])),
        torch.from_numpy(np.stack([one.colors.ravel() for one in scenes])),
        torch.from_numpy(centres),
    )


def make_label_tokens(directions: LabelDirections, labels: CellLabels, *, noisy: bool) -> Tensor:
    """Return the tower's tokens (B, M, C) of labels; with noise, as unsure as a tower is."""
    coefficients = label_coefficients(labels)
    if not noisy:
        return directions.make_tokens(coefficients)
    count, cells = coefficients.shape[:2]
    device = coefficients.device
    mixed = (torch.rand(count, cells, 1, device=device) < _MIXED) * torch.rand(
        count, cells, 1, device=device
    )
    mixed = _MOST_MIXED * mixed
    others = coefficients[:, torch.randperm(cells, device=device)]
    coefficients = (1.0 - mixed) * coefficients + mixed * others
    coefficients = coefficients + _COEFFICIENT_NOISE * torch.randn_like(coefficients)
    tokens = directions.make_tokens(coefficients)
    return tokens + _TOKEN_NOISE * torch.randn_like(tokens)

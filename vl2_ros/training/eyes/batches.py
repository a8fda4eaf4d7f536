"""Batches for the vision tower: augmented frames with labels of their cells.

Frames come from the tabletop's cache and from further sources of labelled scenes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vl2_ros.datasets.sources.source_table import open_source
from vl2_ros.datasets.token_labels.grid import GridLabels, Labelled, label_grid
from vl2_ros.documents import shorten
from vl2_ros.errors import ConfigError
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import preprocess_vision
from vl2_ros.structures import Frame
from vl2_ros.training.embedded.tabletop_batches import augment
from vl2_ros.training.eyes.directions import CellLabels
from vl2_ros.training.recipes.recipe import Recipe


class LabelledScene(Protocol):
    """An image with an instance map and the objects of it."""

    @property
    def rgb(self) -> np.ndarray:
        """Return (H, W, 3) uint8."""

    @property
    def instance_map(self) -> np.ndarray:
        """Return (H, W) uint8, 0 = none, i + 1 = `objects[i]`."""

    @property
    def objects(self) -> Sequence[Labelled]:
        """Return what is labelled."""


class SceneSource(Protocol):
    """Labelled scenes by number, such as the source `simulator`."""

    def __len__(self) -> int:
        """Return the number of scenes."""

    def read_scene(self, index: int) -> LabelledScene:
        """Return one."""


@dataclass(frozen=True, slots=True)
class ScenePart:
    """A source of a mixture, and how often it is drawn."""

    source: SceneSource
    weight: float


@dataclass(frozen=True, slots=True, eq=False)
class EyesBatch:
    """Images and what the cells of their tokens show.

    Attributes:
        vision_pixels: (B, 3, S, S) float32.
        labels: of the patch tokens, before they are merged.
    """

    vision_pixels: Tensor
    labels: CellLabels


class EyesBatches:
    """Batches by number.

    Args:
        parts: sources with their weights.
        processing: of the network.
        grid: patch tokens along each side of an image.
        size: images of a batch.
        seed: of every batch, before its number.
        augmented: crop, mirror and relight the images.
    """

    def __init__(
        self,
        parts: Sequence[ScenePart],
        processing: ProcessingConfig,
        grid: int,
        size: int,
        seed: tuple[int, ...],
        *,
        augmented: bool = True,
    ) -> None:
        """Keep the sources."""
        self._parts = list(parts)
        self._shares = np.array([part.weight for part in parts])
        self._shares /= self._shares.sum()
        self._processing, self._grid, self._size = processing, grid, size
        self._seed, self._augmented = seed, augmented

    def __getitem__(self, number: int) -> EyesBatch:
        """Draw one batch."""
        rng = np.random.default_rng((*self._seed, number))
        frames, labels = zip(*(self._draw(rng) for _ in range(self._size)), strict=True)
        return EyesBatch(
            torch.from_numpy(
                np.concatenate([preprocess_vision(one, self._processing) for one in frames])
            ),
            stack_labels(labels),
        )

    def _draw(self, rng: np.random.Generator) -> tuple[Frame, GridLabels]:
        source = self._parts[int(rng.choice(len(self._parts), p=self._shares))].source
        scene = source.read_scene(int(rng.integers(len(source))))
        if not self._augmented:
            return Frame(scene.rgb), label_grid(scene.instance_map, scene.objects, self._grid)
        view = augment(scene.rgb, scene.instance_map, scene.objects, rng)
        return view.frame, label_grid(view.instance_map, view.objects, self._grid)


def stack_labels(labels: Sequence[GridLabels]) -> CellLabels:
    """Put the labels of several images into one batch."""
    return CellLabels(
        torch.from_numpy(np.stack([one.kinds for one in labels])),
        torch.from_numpy(np.stack([one.colors for one in labels])),
        torch.from_numpy(np.stack([one.centres for one in labels])),
    )


def open_parts(recipe: Recipe, tabletop: Path, *, held_out: bool) -> list[ScenePart]:
    """Open the tabletop's cache and the sources of a recipe.

    Args:
        recipe: with `EyesSettings`; sources with `held_out: true` are only measured.
        tabletop: cache of the frames to train on, or to measure on.
        held_out: which of the sources are opened.

    Raises:
        ConfigError: if a source cannot be opened or has no labelled scenes.
    """
    own = open_source({"kind": "simulator", "path": str(tabletop.absolute())}, Path())
    parts = [_check_part(own, recipe.options.tabletop_weight)]
    for entry in recipe.sources:
        values: dict[str, Any] = dict(entry)
        weight, is_held_out = float(values.pop("weight", 1.0)), values.pop("held_out", False)
        if not isinstance(is_held_out, bool):
            raise ConfigError(
                f"held_out of a source must be true or false, got {shorten(is_held_out)}"
            )
        if is_held_out == held_out:
            parts.append(_check_part(open_source(values, Path()), weight, entry))
    return parts


def _check_part(source: Any, weight: float, entry: Mapping[str, Any] | None = None) -> ScenePart:
    if not hasattr(source, "read_scene"):
        raise ConfigError(
            f"expected sources of scenes with instance maps, such as simulator, got "
            f"{shorten((entry or {}).get('kind'))}"
        )
    return ScenePart(source, weight)

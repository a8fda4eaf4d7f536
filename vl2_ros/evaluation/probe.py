"""Measure what a linear layer reads from the patch tokens of the vision tower.

A layer for the kind and one for the colour are fitted on tokens of some held-out frames and
measured on those of others, on cells that belong to an object. Cells without one take part in the
fit, as what shows nothing.

    kind_accuracy, color_accuracy           over all cells of objects
    centre_kind_accuracy, centre_color_...  over the cell of each object's centre alone
    ..._chance                              what the most frequent answer scores there
    kind_accuracy_mug ...                   over the cells of one kind
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vl2_ros.datasets.token_labels.grid import GridLabels, label_grid
from vl2_ros.datasets.token_labels.label_table import COLOR_ROWS, KIND_ROWS, KIND_WORDS
from vl2_ros.errors import InputError
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import preprocess_vision
from vl2_ros.sim.tabletop import TabletopFrame, TabletopSimulator
from vl2_ros.structures import Frame

#: First scene to fit on; neither training nor the reported scenes come here.
FIT_SEED = 2_000_000
#: Of the cells that show nothing, this share takes part in the fit.
_EMPTY_SHARE = 0.15
_STEPS, _ROWS, _RATE = 600, 1024, 3e-3
_BATCH = 16

#: Called with frames that are done, and all of them.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class ProbedTokens:
    """Tokens of several frames with the labels of their cells.

    Attributes:
        tokens: (n, C) float32.
        kinds: (n,) int64 rows of the label table: 0 = nothing, -1 = mixed.
        colors: (n,) int64, likewise.
        centres: (n,) bool.
    """

    tokens: Tensor
    kinds: Tensor
    colors: Tensor
    centres: Tensor


def probe_tower(
    network: VisionLLM,
    processing: ProcessingConfig,
    *,
    seeds: range,
    fit_frames: int,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Render frames, fit on some, and measure on the scenes of `seeds`.

    Args:
        network: whose tower is measured.
        processing: of the network; one tile shows the whole image.
        seeds: scenes to measure on.
        fit_frames: scenes to fit on, from `FIT_SEED` on.
        progress: called after each batch of frames.

    Returns:
        The numbers of the module's table, and `tokens`: the cells of objects.

    Raises:
        InputError: if scenes are fitted and measured on alike, or there is nothing to measure.
        SimulationError: if frames cannot be rendered here.
    """
    fit_seeds = range(FIT_SEED, FIT_SEED + fit_frames)
    if seeds.start < fit_seeds.stop and fit_seeds.start < seeds.stop:
        raise InputError(
            f"expected scenes outside of {fit_seeds.start}..{fit_seeds.stop - 1}, which the probe "
            f"is fitted on, got {seeds.start}..{seeds.stop - 1}; choose other --seeds"
        )
    total = len(fit_seeds) + len(seeds)

    def report(done: int) -> None:
        if progress is not None:
            progress(done, total)

    with TabletopSimulator() as simulator:
        fitted = encode_frames(network, processing, map(simulator.render, fit_seeds), report)
        measured = encode_frames(
            network,
            processing,
            map(simulator.render, seeds),
            lambda done: report(len(fit_seeds) + done),
        )
    return measure_probe(fitted, measured)


@torch.no_grad()
def encode_frames(
    network: VisionLLM,
    processing: ProcessingConfig,
    views: Iterator[TabletopFrame],
    report: Callable[[int], None] = lambda done: None,
) -> ProbedTokens:
    """Return the tokens of frames and the labels of their cells."""
    network.vision_encoder.eval()
    tokens: list[Tensor] = []
    labels: list[GridLabels] = []
    for batch in _batches(views):
        pixels = [preprocess_vision(Frame(view.rgb), processing)[-1:] for view in batch]
        tokens += network.encode_patches(torch.from_numpy(np.concatenate(pixels))).float()
        labels += [
            label_grid(view.instance_map, view.objects, network.config.vision_grid)
            for view in batch
        ]
        report(len(labels))
    return ProbedTokens(
        torch.cat(tokens),
        *(
            torch.from_numpy(np.concatenate([getattr(one, name) for one in labels]))
            for name in ("kinds", "colors", "centres")
        ),
    )


def _batches(views: Iterator[TabletopFrame]) -> Iterator[list[TabletopFrame]]:
    batch: list[TabletopFrame] = []
    for view in views:
        batch.append(view)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def measure_probe(fitted: ProbedTokens, measured: ProbedTokens) -> dict[str, float]:
    """Fit on some tokens and measure on others.

    Raises:
        InputError: if no cell of either belongs to an object.
    """
    if not (fitted.kinds > 0).any() or not (measured.kinds > 0).any():
        raise InputError("expected frames with objects to fit and to measure on, got none")
    mean, deviation = fitted.tokens.mean(0), fitted.tokens.std(0) + 1e-5
    rows = (fitted.tokens - mean) / deviation
    seen = (measured.tokens - mean) / deviation
    scores: dict[str, float] = {}
    for name, fit_labels, labels, count in (
        ("kind", fitted.kinds, measured.kinds, KIND_ROWS),
        ("color", fitted.colors, measured.colors, COLOR_ROWS),
    ):
        layer = _fit(rows, fit_labels, count)
        with torch.no_grad():
            right = layer(seen).argmax(-1) == labels
        for prefix, where in (("", labels > 0), ("centre_", measured.centres & (labels > 0))):
            scores[f"{prefix}{name}_accuracy"] = _mean(right[where])
            scores[f"{prefix}{name}_chance"] = _chance(labels[where])
        if name == "kind":
            kind_right = right
    scores["tokens"] = float((measured.kinds > 0).sum())
    for row in measured.kinds[measured.kinds > 0].unique().tolist():
        scores[f"kind_accuracy_{KIND_WORDS[row - 1]}"] = _mean(kind_right[measured.kinds == row])
    return scores


def _fit(rows: Tensor, labels: Tensor, count: int) -> nn.Linear:
    """Fit a linear layer to labels by their cross entropy; the same every time."""
    chance = torch.Generator().manual_seed(0)
    is_drawn = torch.rand(len(labels), generator=chance) < _EMPTY_SHARE
    usable = torch.where((labels > 0) | ((labels == 0) & is_drawn))[0]
    layer = nn.Linear(rows.shape[1], count)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=_RATE, weight_decay=1e-2)
    for step in range(_STEPS):
        optimizer.param_groups[0]["lr"] = _RATE * (1.0 - step / _STEPS)
        chosen = usable[torch.randint(len(usable), (_ROWS,), generator=chance)]
        loss = nn.functional.cross_entropy(layer(rows[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return layer


def _mean(right: Tensor) -> float:
    return float(right.float().mean()) if len(right) else 0.0


def _chance(labels: Tensor) -> float:
    return float(labels.bincount().max() / len(labels)) if len(labels) else 0.0

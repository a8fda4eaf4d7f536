"""Measure the losses of held-out batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from vl2_ros.training.loop.batches import MEASURING, move_batch, seed_chance
from vl2_ros.training.loop.devices import gather_values
from vl2_ros.training.objective import Batches
from vl2_ros.training.recipes.recipe import Recipe

if TYPE_CHECKING:
    from accelerate import Accelerator


@torch.no_grad()
def measure_losses(
    module: nn.Module, batches: Batches, recipe: Recipe, accelerator: Accelerator
) -> dict[str, float]:
    """Return the mean losses of the recipe's held-out batches, which the processes divide.

    Each process measures equally many, the recipe's number rounded up. Noise is that of the batch's
    number, so that two evaluations differ by the weights alone.

    Args:
        module: returns the losses of a batch.
        batches: held out.
        recipe: of the run.
        accelerator: devices and processes; each must call this.

    Returns:
        `loss` and its parts, each averaged over the batches that have it; empty without batches.
    """
    processes, rank = accelerator.num_processes, accelerator.process_index
    found: dict[str, list[float]] = {}
    for index in range(-(-recipe.evaluation.batches // processes)):
        number = index * processes + rank
        seed_chance(recipe.seed, MEASURING, number)
        total, parts = module(move_batch(batches[number], accelerator.device))
        for name, value in {"loss": total, **parts}.items():
            found.setdefault(name, []).append(float(value))
    everything: dict[str, list[float]] = {}
    for one in gather_values(found):
        for name, values in one.items():
            everything.setdefault(name, []).extend(values)
    return {name: sum(values) / len(values) for name, values in everything.items()}

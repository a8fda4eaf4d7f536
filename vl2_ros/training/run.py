"""Run a recipe: prepare what is trained, then train it, or resume an interrupted run."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from vl2_ros.training.loop.adapters import add_adapters
from vl2_ros.training.loop.devices import open_accelerator
from vl2_ros.training.loop.loop import RunEnd, Score, Show, TrainingLoop
from vl2_ros.training.loop.parameters import choose_trained
from vl2_ros.training.loop.state import STATE_FILE, check_same_run, read_state
from vl2_ros.training.objective import Objective
from vl2_ros.training.objectives import OBJECTIVES, Open, Opening, Report
from vl2_ros.training.recipes.reading import write_recipe
from vl2_ros.training.recipes.recipe import Recipe

logger = logging.getLogger(__name__)

RECIPE_FILE = "recipe.yaml"


def train(
    recipe: Recipe,
    folder: Path,
    *,
    device: str = "auto",
    score: Score | None = None,
    report: Report = lambda what, share: None,
    show: Show = logger.info,
    open_objective: Open | None = None,
) -> RunEnd:
    """Train by a recipe, or resume the run that the folder has.

    Args:
        recipe: what to do.
        folder: of the state, the log and the checkpoints; made if missing, one for all processes.
        device: auto, cpu or cuda; several processes are those of `accelerate launch`.
        score: measures the network at every evaluation.
        report: called with what is prepared and its share.
        show: called with lines about the run, on the first process.
        open_objective: opens what is trained, in place of the recipe's row of `OBJECTIVES`.

    Raises:
        CheckpointError: if the weights to start from or the state cannot be read.
        ConfigError: if the recipe does not fit the network, or the folder has a run of another
            recipe.
        TrainingError: if the run diverges.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = read_state(folder)
    precision = None if state is None else state.precision
    accelerator = open_accelerator(recipe, device, precision)
    if state is not None:
        check_same_run(state, recipe, accelerator.num_processes, folder / STATE_FILE)
    opened = open_objective or OBJECTIVES[recipe.objective].open
    # The first one makes files, such as rendered frames, that the others find.
    with accelerator.main_process_first():
        torch.manual_seed(recipe.seed)
        per_step = accelerator.num_processes * recipe.accumulation
        objective = opened(recipe, Opening(folder, per_step, report))
        if accelerator.is_main_process:
            write_recipe(recipe, folder / RECIPE_FILE)
    prepare_training(objective, recipe)
    loop = TrainingLoop(objective, recipe, folder, accelerator, state=state, score=score, show=show)
    return loop.run()


def prepare_training(objective: Objective, recipe: Recipe) -> None:
    """Put adapters into the network and let gradients into what the recipe trains alone.

    Raises:
        ConfigError: if a pattern of the recipe fits nothing.
    """
    torch.manual_seed(recipe.seed)
    add_adapters(objective.network, recipe.lora)
    choose_trained(objective, recipe)

"""`vl2 train`: run a recipe.

Everything heavy is imported inside the command, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console import display
from vl2_ros.console.groups import complete
from vl2_ros.errors import ConfigError
from vl2_ros.processing.printable import make_printable

if TYPE_CHECKING:
    from vl2_ros.training.loop.loop import Score
    from vl2_ros.training.recipes.recipe import Recipe

#: Exit code of a run that was interrupted and can be resumed.
EXIT_INTERRUPTED = 75


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="Name of a recipe, or path of a YAML file.")
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of it; repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of checkpoints, log and training state; default: training_runs/RECIPE.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="COCO file to train on, with the recipe finetune: boxes, masks, keypoints.",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder of its images; default: images beside it, or its own."
        ),
    ] = None,
    val: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="COCO file of images that are only measured; default: a tenth of --data.",
        ),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Checkpoint to start from; default: that of the recipe."
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            help="cpu, cuda, or auto: cuda where there is a GPU.",
            autocompletion=complete("auto", "cpu", "cuda"),
        ),
    ] = "auto",
) -> None:
    """Train by a recipe; the same command resumes an interrupted run.

    vl2 train embedded_all --set steps=1000 --set rates.learning_rate=3e-4

    vl2 train finetune --data annotations.json --images photos
    """
    from vl2_ros.training.loop.devices import leave_processes
    from vl2_ros.training.loop.loop import BEST_FOLDER, LAST_FOLDER
    from vl2_ros.training.recipes.reading import find_recipe, read_recipe
    from vl2_ros.training.run import train as run

    chosen = read_recipe(recipe, changes or ())
    folder = out or Path("training_runs") / find_recipe(recipe).stem
    score = None
    if init is not None:
        chosen = replace(chosen, init=str(init))
    if data is not None:
        chosen, score = prepare_finetune(chosen, changes or (), folder, data, images, val)
    elif images is not None or val is not None:
        raise ConfigError("--images and --val go with --data; name the COCO file to train on")
    end = run(chosen, folder, device=device, score=score, report=Preparation(), show=show_line)
    leave_processes()
    if not end.is_complete:
        raise typer.Exit(EXIT_INTERRUPTED)
    # Of several processes, the first one speaks.
    if os.environ.get("RANK", "0") == "0":
        name = LAST_FOLDER if end.best is None else BEST_FOLDER
        display.print_text(f"checkpoint: {(folder / name).resolve()}")


def prepare_finetune(
    recipe: Recipe,
    changes: Sequence[str],
    folder: Path,
    data: Path,
    images: Path | None,
    val: Path | None,
) -> tuple[Recipe, Score]:
    """Return the recipe for a COCO file, and what scores held-out images of it.

    Raises:
        ConfigError: if the recipe does not go with a file.
        InputError: if a file or folder cannot be used.
    """
    from vl2_ros.evaluation.held_out import HeldOutScores
    from vl2_ros.training.conversations.finetune import complete_recipe, prepare_data

    found = prepare_data(data, images, val, folder, seed=recipe.seed)
    score = HeldOutScores(
        found.held_out,
        found.images,
        folder,
        with_masks=found.has_masks,
        with_keypoints=found.measures_keypoints,
    )
    return complete_recipe(recipe, found, changes), score


def show_line(line: str) -> None:
    """Write a line about the run on standard error, with or without a terminal."""
    # One write, so that lines of several processes do not mix.
    sys.stderr.write(make_printable(line) + "\n")
    sys.stderr.flush()


class Preparation:
    """Shows how far what precedes training is, a line now and then."""

    def __init__(self) -> None:
        """Begin."""
        self._shown = time.monotonic()

    def __call__(self, what: str, share: float) -> None:
        """Show a line if it is time for one."""
        now = time.monotonic()
        if now - self._shown >= display.STATUS_PERIOD_S:
            self._shown = now
            show_line(f"{what} {share:.0%}")

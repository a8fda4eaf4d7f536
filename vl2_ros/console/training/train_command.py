"""`vl2 train`: run a recipe.

Everything heavy is imported inside the command, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from vl2_ros.console import display
from vl2_ros.console.groups import complete
from vl2_ros.processing.printable import make_printable

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
    """
    from vl2_ros.training.loop.loop import BEST_FOLDER, LAST_FOLDER
    from vl2_ros.training.recipes.reading import find_recipe, read_recipe
    from vl2_ros.training.run import train as run

    chosen = read_recipe(recipe, changes or ())
    folder = out or Path("training_runs") / find_recipe(recipe).stem
    end = run(chosen, folder, device=device, report=Preparation(), show=show_line)
    if not end.is_complete:
        raise typer.Exit(EXIT_INTERRUPTED)
    # Of several processes, the first one speaks.
    if os.environ.get("RANK", "0") == "0":
        name = LAST_FOLDER if end.best is None else BEST_FOLDER
        display.print_text(f"checkpoint: {(folder / name).resolve()}")


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

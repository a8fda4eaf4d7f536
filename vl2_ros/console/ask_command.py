"""The command that asks about picture files.

Everything heavy is imported inside the command, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console import display, pointing
from vl2_ros.console.options import (
    AsJson,
    Backend,
    Device,
    EngineFolder,
    Threshold,
    Weights,
    load_model,
)
from vl2_ros.errors import InputError

if TYPE_CHECKING:
    from vl2_ros.pipeline import Pipeline
    from vl2_ros.structures import Command, Frame


@dataclass(frozen=True, slots=True)
class _Output:
    """Where answers go.

    Attributes:
        as_json: standard output is for programs.
        with_masks: masks stand in the JSON.
        save: of the overlay pictures.
        labels: of the label image.
    """

    as_json: bool
    with_masks: bool
    save: Path | None
    labels: Path | None


def ask(
    words: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE... SENTENCE", help="Picture files, then what to ask."),
    ],
    weights: Weights = None,
    device: Device = "auto",
    backend: Backend = "auto",
    engines: EngineFolder = None,
    as_json: AsJson = False,
    masks: Annotated[bool, typer.Option(help="Put masks into the JSON, as run lengths.")] = False,
    save: Annotated[
        Path | None, typer.Option(help="Write an overlay picture; numbered when there are several.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Write the class of every pixel as 16-bit PNG; for one picture."),
    ] = None,
    threshold: Threshold = 0.35,
    point: pointing.Points = None,
    box: pointing.Boxes = None,
    scribble: pointing.Scribbles = None,
    polygon: pointing.Polygons = None,
    region: pointing.Regions = None,
    example: pointing.Examples = None,
    direct: pointing.Direct = False,
) -> None:
    """Ask a sentence about one or more pictures, each answered in turn.

    vl2 ask table.jpg "find the red mug and the bowl" --save overlay.png

    Options that point may be repeated; 120,80@1 points into the first example.
    """
    from vl2_ros.processing.image import read_image

    if len(words) < 2:
        raise InputError(
            f"expected pictures and then a sentence, got only {words[0]!r}; say for example: "
            'vl2 ask table.jpg "find the red mug"'
        )
    *paths, sentence = words
    if labels is not None and len(paths) != 1:
        raise InputError(f"--labels takes one picture, got {len(paths)}")
    pointed = pointing.Pointing(
        point or (), box or (), scribble or (), polygon or (), region or (), example or ()
    )
    command = pointing.make_command(sentence, pointed, threshold=threshold, direct=direct)
    frames = [read_image(Path(path)) for path in paths]
    output = _Output(as_json, masks, save, labels)
    pipeline = load_model(weights, device, backend, engines)
    _answer_each(pipeline, list(zip(paths, frames, strict=True)), command, output)


def _answer_each(
    pipeline: Pipeline, pictures: list[tuple[str, Frame]], command: Command, output: _Output
) -> None:
    for index, (path, frame) in enumerate(pictures):
        began = time.perf_counter()
        with display.show_progress("asking"):
            result = pipeline.answer(frame, command)
        seconds = time.perf_counter() - began
        saved = None
        if output.save is not None:
            name = f"{output.save.stem}_{index}{output.save.suffix}"
            saved = output.save if len(pictures) == 1 else output.save.with_name(name)
            display.write_overlay(frame, command.text, result, saved)
        if output.labels is not None:
            display.write_labels(result, output.labels)
        if output.as_json:
            row = display.describe_answer(
                path, command.text, result, seconds, saved, with_masks=output.with_masks
            )
            display.print_json(row)
        else:
            display.print_answer(path if len(pictures) > 1 else None, result, seconds, saved)

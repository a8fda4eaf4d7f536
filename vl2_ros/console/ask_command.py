"""The command that asks about image files.

Everything heavy is imported inside the command, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vl2_ros.console import display, pointing
from vl2_ros.console.image_options import make_image_options, take_image_options
from vl2_ros.console.options import (
    AsJson,
    Backend,
    Device,
    EngineFolder,
    MemoryBudget,
    Threshold,
    Weights,
    Without,
    load_model,
    make_load_options,
)
from vl2_ros.errors import EngineError, InputError
from vl2_ros.views.answer_files import AnswerFiles, save_answer, save_labels

if TYPE_CHECKING:
    from vl2_ros.flow.pipeline import Pipeline
    from vl2_ros.structures import Command, Frame, Result


@dataclass(frozen=True, slots=True)
class _Output:
    """Where answers go.

    Attributes:
        as_json: standard output is for programs.
        with_masks: masks stand in the JSON.
        save: of drawn and edited images, and of overlays.
        labels: of the label image.
    """

    as_json: bool
    with_masks: bool
    save: Path | None
    labels: Path | None


@take_image_options
def ask(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[IMAGE...] SENTENCE",
            help="Image files, then what to ask; a drawing needs no image.",
        ),
    ],
    weights: Weights = None,
    device: Device = "auto",
    backend: Backend = "auto",
    engines: EngineFolder = None,
    as_json: AsJson = False,
    masks: Annotated[bool, typer.Option(help="Put masks into the JSON, as run lengths.")] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            help="Write the image that was drawn or edited, else an overlay; numbered when there "
            "are several."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Write the class of every pixel as 16-bit PNG; for one image."),
    ] = None,
    threshold: Threshold = 0.35,
    point: pointing.Points = None,
    box: pointing.Boxes = None,
    scribble: pointing.Scribbles = None,
    polygon: pointing.Polygons = None,
    region: pointing.Regions = None,
    example: pointing.Examples = None,
    direct: pointing.Direct = False,
    without: Without = None,
    memory_budget: MemoryBudget = 0.0,
    **images: Any,
) -> None:
    """Ask a sentence about one or more images, each answered in turn, or have one drawn.

    vl2 ask table.jpg "find the red mug and the bowl" --save overlay.png

    vl2 ask "draw a red mug" --save mug.png --seed 7

    Options that point may be repeated; 120,80@1 points into the first example.
    """
    paths, sentence = _split_words(words)
    if labels is not None and len(paths) != 1:
        raise InputError(f"--labels takes one image, got {len(paths)}")
    pointed = pointing.Pointing(
        point or (), box or (), scribble or (), polygon or (), region or (), example or ()
    )
    options = make_image_options(images)
    command = pointing.make_command(
        sentence, pointed, threshold=threshold, direct=direct, image_options=options
    )
    frames = _read_frames(paths)
    pipeline = load_model(
        make_load_options(
            weights, device, backend, engines, without=without or (), memory_budget_mb=memory_budget
        )
    )
    _answer_each(pipeline, frames, command, _Output(as_json, masks, save, labels))


def _split_words(words: list[str]) -> tuple[list[str], str]:
    """Split the arguments into image files and the sentence."""
    from vl2_ros.processing.language.parse import needs_image

    *paths, sentence = words
    if not paths and needs_image(sentence):
        raise InputError(
            f"expected images and then a sentence, got only {sentence!r}; say for example: "
            'vl2 ask table.jpg "find the red mug", or without an image: vl2 ask "draw a red mug"'
        )
    return paths, sentence


def _read_frames(paths: list[str]) -> list[tuple[str | None, Frame | None]]:
    from vl2_ros.processing.images.preprocess import read_image

    if not paths:
        return [(None, None)]
    return [(path, read_image(Path(path))) for path in paths]


def _answer_each(
    pipeline: Pipeline,
    images: list[tuple[str | None, Frame | None]],
    command: Command,
    output: _Output,
) -> None:
    for index, (path, frame) in enumerate(images):
        began = time.perf_counter()
        result = _find_result(pipeline, frame, command)
        seconds = time.perf_counter() - began
        files = AnswerFiles()
        if output.save is not None:
            is_one = len(images) == 1
            name = output.save if is_one else output.save.with_stem(f"{output.save.stem}_{index}")
            files = save_answer(frame, command.text, result, name)
        if output.labels is not None:
            save_labels(result, output.labels)
        if output.as_json:
            row = display.describe_answer(
                path, command.text, result, seconds, files, with_masks=output.with_masks
            )
            display.print_json(row)
        else:
            display.print_answer(path if len(images) > 1 else None, result, seconds, files)


def _find_result(pipeline: Pipeline, frame: Frame | None, command: Command) -> Result:
    """Let the pipeline answer, and show the steps of a long stage."""
    from vl2_ros.structures import ProgressEvent, ResultEvent

    with display.show_progress("asking") as show:
        for event in pipeline.run(frame, command):
            if isinstance(event, ProgressEvent):
                show(event.step, event.steps)
            if isinstance(event, ResultEvent):
                return event.result
    raise EngineError("the run ended without a result")

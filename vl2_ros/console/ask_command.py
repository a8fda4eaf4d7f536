"""The command that asks about image files.

Everything heavy is imported inside the command, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console import display
from vl2_ros.console.groups import Panel, group_options
from vl2_ros.console.image_options import DrawOptions
from vl2_ros.console.options import AsJson, Model, Threshold, load_model
from vl2_ros.console.pointing import Pointing, make_command
from vl2_ros.errors import EngineError, InputError
from vl2_ros.views.answer_files import AnswerFiles, save_answer, save_labels

if TYPE_CHECKING:
    from vl2_ros.flow.pipeline import Pipeline
    from vl2_ros.structures import Command, Frame, Result


@dataclass(frozen=True, slots=True)
class Output:
    """What is written, and where."""

    as_json: AsJson = False
    masks: Annotated[
        bool, typer.Option("--masks", help="Include masks in the JSON, as run lengths.")
    ] = False
    save: Annotated[
        Path | None,
        typer.Option(
            help="File for the generated or edited image, else for an overlay; numbered when there "
            "are several."
        ),
    ] = None
    labels: Annotated[
        Path | None,
        typer.Option(help="File for the class of every pixel, a 16-bit PNG; one image only."),
    ] = None


@group_options
def ask(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[IMAGE...] SENTENCE",
            help="Image files, then what to ask; generating an image needs no file.",
        ),
    ],
    model: Model,
    pointing: Annotated[Pointing, Panel("Point")],
    drawing: Annotated[DrawOptions, Panel("Draw")],
    output: Annotated[Output, Panel("Output")],
    threshold: Threshold = 0.35,
    direct: Annotated[
        bool,
        typer.Option(
            "--direct",
            help="Teacher forcing: take the known form of the answer instead of generating it.",
            rich_help_panel="Model",
        ),
    ] = False,
) -> None:
    """Ask a sentence about one or more images, each answered in turn, or generate an image.

    vl2 ask table.jpg "find the red mug and the bowl" --save overlay.png

    vl2 ask "draw a red mug" --save mug.png --seed 7

    Options that point may be repeated; 120,80@1 points into the first example.
    """
    paths, sentence = _split_words(words)
    if output.labels is not None and len(paths) != 1:
        raise InputError(f"--labels takes one image, got {len(paths)}")
    command = make_command(
        sentence, pointing, threshold=threshold, direct=direct, image_options=drawing.make()
    )
    frames = _read_frames(paths)
    _answer_each(load_model(model), frames, command, output)


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
    output: Output,
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
                path, command.text, result, seconds, files, with_masks=output.masks
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

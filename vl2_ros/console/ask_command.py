"""The command that asks about image files.

Everything heavy is imported inside the command, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console import display
from vl2_ros.console.answer_output import FormatName, check_format, open_format
from vl2_ros.console.groups import Panel, group_options
from vl2_ros.console.image_options import DrawOptions
from vl2_ros.console.options import AsJson, Model, Threshold, load_model
from vl2_ros.console.pointing import Pointing, make_command
from vl2_ros.errors import EngineError, InputError
from vl2_ros.views.answer_files import AnswerFiles, save_answer, save_labels
from vl2_ros.views.formats.writer import Entry

if TYPE_CHECKING:
    from vl2_ros.flow.pipeline import Pipeline
    from vl2_ros.structures import Command, Frame, Result


@dataclass(frozen=True, slots=True)
class Output:
    """What is written, and where."""

    as_json: AsJson = False
    format_name: FormatName = ""
    out: Annotated[
        Path | None,
        typer.Option(help="File of --format, for yolo a folder; default: standard output."),
    ] = None
    masks: Annotated[
        bool, typer.Option("--masks", help="Include masks in --json and --format.")
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

    @property
    def format(self) -> str:
        """Return the name of the format; empty where a person reads."""
        return self.format_name or ("json" if self.as_json else "")

    def check(self, image_count: int) -> None:
        """Check what can be known before a model is loaded.

        Raises:
            InputError: if options do not fit each other or the images.
        """
        if self.labels is not None and image_count != 1:
            raise InputError(f"--labels takes one image, got {image_count}")
        if self.as_json and self.format_name not in ("", "json"):
            raise InputError(f"--json and --format {self.format_name} exclude each other")
        if self.out is not None and not self.format:
            raise InputError(
                "--out is the file of --format; name one, or use --save for an overlay"
            )
        check_format(self.format, self.out)


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
    output.check(len(paths))
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
    from vl2_ros.views.answer_document import AnswerSource, describe_answer

    with ExitStack() as stack:
        writer = None
        if output.format:
            writer = stack.enter_context(
                open_format(output.format, output.out, with_masks=output.masks)
            )
        for index, (path, frame) in enumerate(images):
            began = time.perf_counter()
            result = _find_result(pipeline, frame, command)
            seconds = time.perf_counter() - began
            files = AnswerFiles()
            if output.save is not None:
                is_one = len(images) == 1
                stem = f"{output.save.stem}_{index}"
                name = output.save if is_one else output.save.with_stem(stem)
                files = save_answer(frame, command.text, result, name)
            if output.labels is not None:
                save_labels(result, output.labels)
            if writer is None:
                display.print_answer(path if len(images) > 1 else None, result, seconds, files)
                continue
            source = AnswerSource(
                command.text,
                path,
                seconds=seconds,
                overlay=files.overlay,
                files=files.images,
                model=pipeline.info.name,
                model_identity=pipeline.info.identity,
                engine=pipeline.info.engine,
            )
            document = describe_answer(result, source, with_masks=output.masks)
            image_hw = None if frame is None else frame.frame_hw
            writer.add(Entry(path or "", image_hw, result, document))


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

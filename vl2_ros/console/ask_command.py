"""The command that asks about images.

Everything heavy is imported inside the command, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console import display, terminal
from vl2_ros.console.groups import Panel, group_options
from vl2_ros.console.image_options import DrawOptions
from vl2_ros.console.options import NEW_TOKENS, MaxNewTokens, Model, Threshold, load_model
from vl2_ros.console.output.answers import AnswerOutput, Output
from vl2_ros.console.pointing import Pointing, make_command
from vl2_ros.console.speech.options import AudioQuestion, hear_question
from vl2_ros.errors import EngineError, InputError

if TYPE_CHECKING:
    from vl2_ros.flow.pipeline import Pipeline
    from vl2_ros.load_options import LoadOptions
    from vl2_ros.sources.source import SourceImage
    from vl2_ros.structures import Command, Frame, Result


@dataclass(frozen=True, slots=True)
class Asking:
    """How a sentence is asked."""

    threshold: Threshold = 0.35
    max_new_tokens: MaxNewTokens = NEW_TOKENS
    rate: Annotated[
        float,
        typer.Option(
            metavar="HZ", help="Most images a second of a video, webcam or stream; 0: every image."
        ),
    ] = 0.0
    direct: Annotated[
        bool,
        typer.Option(
            "--direct",
            help="Teacher forcing: take the known form of the answer instead of generating it.",
        ),
    ] = False


@group_options
def ask(
    model: Model,
    pointing: Annotated[Pointing, Panel("Point")],
    drawing: Annotated[DrawOptions, Panel("Draw")],
    output: Annotated[Output, Panel("Output")],
    asking: Annotated[Asking, Panel("Ask")],
    speech: Annotated[AudioQuestion, Panel("Speech")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE...] SENTENCE",
            help="Images, .npy files, folders, patterns, videos, webcams (0, /dev/video0), "
            "addresses (rtsp://, http://) or - for standard input, then what to ask, unless it is "
            "spoken (--audio); generating an image needs no source.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Ask a sentence about images from any source, each answered in turn, or generate an image.

    vl2 ask table.jpg "find the red mug and the bowl" --save overlay.png

    vl2 ask clip.mp4 "find the mug" --save found.mp4

    vl2 ask "draw a red mug" --save mug.png --seed 7

    vl2 ask table.jpg --audio question.wav

    Options that point may be repeated; 120,80@1 points into the first example.
    """
    from vl2_ros.sources.source import find_source, read_sources

    named, sentence = _split_words(words or [], speech, model)
    sources = [find_source(word) for word in named]
    output.check(sources)
    if not 0.0 <= asking.rate < float("inf"):
        raise InputError(f"--rate must be zero or a positive number, got {asking.rate}")
    command = make_command(
        sentence,
        pointing,
        threshold=asking.threshold,
        direct=asking.direct,
        max_new_tokens=asking.max_new_tokens,
        image_options=drawing.make(),
    )
    images = read_sources(sources)
    if len(sources) == 1 and sources[0].is_single:
        images = _read_only(images)
    if any(source.is_moving for source in sources):
        images = _choose_moments(images, asking.rate)
    pipeline = load_model(model)
    with ExitStack() as stack:
        if any(source.is_live for source in sources):
            stack.enter_context(terminal.end_quietly())
        answers = stack.enter_context(closing(AnswerOutput(output, pipeline.info, sources)))
        if not sources:
            answers.add(None, None, command, *_find_result(pipeline, None, command))
        for image in images:
            _answer_image(pipeline, image, command, answers)
        answers.finish()


def _answer_image(
    pipeline: Pipeline, image: SourceImage, command: Command, answers: AnswerOutput
) -> None:
    """Answer about one image; what is wrong with it does not end the others."""
    if image.error is not None:
        answers.add_error(image.name, command, image.error)
        return
    try:
        result, seconds = _find_result(pipeline, image.frame, command)
    except InputError as error:
        if answers.is_one:
            raise
        answers.add_error(image.name, command, error)
        return
    answers.add(image.name, image.frame, command, result, seconds)


def _read_only(images: Iterator[SourceImage]) -> Iterator[SourceImage]:
    """Read the only image now, so that it is refused before a model is loaded."""
    image = next(images)
    if image.error is not None:
        raise image.error
    return chain([image], images)


def _choose_moments(images: Iterator[SourceImage], rate_hz: float) -> Iterator[SourceImage]:
    """Skip images of a video, so that at most `rate_hz` of each second remain; 0 keeps all."""
    period_ns = round(1e9 / rate_hz) if rate_hz else 0
    due_ns = None
    for image in images:
        stamp_ns = 0 if image.frame is None else image.frame.stamp_ns
        # A stamp before the last one is of another video.
        if due_ns is not None and due_ns - period_ns <= stamp_ns < due_ns:
            continue
        yield image
        if image.frame is not None:
            due_ns = stamp_ns + period_ns


def _split_words(
    words: list[str], speech: AudioQuestion, model: LoadOptions
) -> tuple[list[str], str]:
    """Split the arguments into sources and the sentence, which may be spoken."""
    from vl2_ros.loading import find_weights
    from vl2_ros.processing.card import find_names
    from vl2_ros.processing.language.parse import needs_image

    if speech.audio is not None:
        # What the model knows is likely to be said.
        known = find_names(find_weights(model))
        expected = replace(speech, names=(*speech.names, *known))
        named, sentence = words, hear_question(expected, speech.audio)
    else:
        named, sentence = words[:-1], "".join(words[-1:])
    if not named and needs_image(sentence):
        raise InputError(
            f"expected images and then a sentence, got only {sentence!r}; say for example: "
            'vl2 ask table.jpg "find the red mug", or without an image: vl2 ask "draw a red mug"'
        )
    return named, sentence


def _find_result(pipeline: Pipeline, frame: Frame | None, command: Command) -> tuple[Result, float]:
    """Let the pipeline answer, and show the steps of a long stage; return the seconds as well."""
    from vl2_ros.structures import ProgressEvent, ResultEvent

    began = time.perf_counter()
    with display.show_progress("asking") as show:
        for event in pipeline.run(frame, command):
            if isinstance(event, ProgressEvent):
                show(event.step, event.steps)
            if isinstance(event, ResultEvent):
                return event.result, time.perf_counter() - began
    raise EngineError("the run ended without a result")

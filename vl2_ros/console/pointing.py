"""Options by which the command line points into images, and what is made of them.

An option ends in `@i` when it points into the i-th example instead of the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.errors import InputError

if TYPE_CHECKING:
    from vl2_ros.structures import Command, ImageOptions, VisualPrompt


@dataclass(frozen=True, slots=True)
class Pointing:
    """What the options say, as it was typed.

    Regions are numbered in this order, whatever the order of the options.
    """

    point: Annotated[
        tuple[str, ...], typer.Option("--point", metavar="X,Y", help="Point at a pixel.")
    ] = ()
    box: Annotated[
        tuple[str, ...],
        typer.Option("--box", metavar="X1,Y1,X2,Y2", help="Point at a box of pixels."),
    ] = ()
    scribble: Annotated[
        tuple[str, ...],
        typer.Option("--scribble", metavar="X,Y,X,Y,...", help="Draw over an object."),
    ] = ()
    polygon: Annotated[
        tuple[str, ...],
        typer.Option("--polygon", metavar="X,Y,X,Y,X,Y,...", help="Draw around an object."),
    ] = ()
    region: Annotated[
        tuple[str, ...],
        typer.Option(
            "--region",
            metavar="FILE",
            help="Point at the pixels that are not black in an image of the same size.",
        ),
    ] = ()
    example: Annotated[
        tuple[Path, ...],
        typer.Option(
            "--example", help="Further image; pointing into it (@1) shows what to look for."
        ),
    ] = ()


def make_command(
    sentence: str,
    pointing: Pointing,
    *,
    threshold: float,
    direct: bool,
    max_new_tokens: int,
    image_options: ImageOptions,
) -> Command:
    """Make the command of a sentence and of what the options point at.

    Raises:
        InputError: if a file cannot be read, or an option is not written as its name says.
    """
    from vl2_ros.processing.images.preprocess import read_image
    from vl2_ros.structures import Command

    return Command(
        sentence,
        score_threshold=threshold,
        visual_prompts=tuple(_read_prompts(pointing)),
        images=tuple(read_image(path) for path in pointing.example),
        direct=direct,
        max_new_tokens=max_new_tokens,
        image_options=image_options,
    )


def _read_prompts(pointing: Pointing) -> Iterator[VisualPrompt]:
    import numpy as np

    from vl2_ros.processing.images.preprocess import read_image
    from vl2_ros.structures import PromptKind, VisualPrompt

    for kind, name, texts in (
        (PromptKind.POINT, "--point", pointing.point),
        (PromptKind.BOX, "--box", pointing.box),
        (PromptKind.SCRIBBLE, "--scribble", pointing.scribble),
        (PromptKind.POLYGON, "--polygon", pointing.polygon),
    ):
        for text in texts:
            numbers, image = _split_image(text, pointing)
            points = np.array(_read_numbers(numbers, name), np.float64).reshape(-1, 2)
            yield VisualPrompt(kind, points, image=image)
    for text in pointing.region:
        path, image = _split_image(text, pointing)
        mask = np.asarray(read_image(path).rgb.any(axis=2))
        yield VisualPrompt(PromptKind.MASK, np.zeros((0, 2)), mask, image)


def _split_image(text: str, pointing: Pointing) -> tuple[str, int]:
    """Split off "@i", the number of an example; without it the image itself is meant."""
    head, at, tail = text.rpartition("@")
    if not at or not tail.isdecimal():
        return text, 0
    if not 1 <= int(tail) <= len(pointing.example):
        raise InputError(
            f"{text} points into example {tail}, but {len(pointing.example)} were given by "
            "--example; they are counted from 1"
        )
    return head, int(tail)


def _read_numbers(text: str, option: str) -> list[float]:
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or len(numbers) % 2:
        raise InputError(
            f"{option} takes pixels as x,y pairs with commas between, such as 120,80, got {text!r}"
        )
    return numbers

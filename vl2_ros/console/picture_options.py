"""Options that say how a picture is drawn or edited, and what is made of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.errors import InputError

if TYPE_CHECKING:
    from vl2_ros.structures import ImageOptions

Seed = Annotated[
    int | None, typer.Option(help="Of a drawn or edited picture; the same gives the same picture.")
]
Steps = Annotated[
    int | None, typer.Option(help="Denoising steps of a picture; else the model's default.")
]
Guidance = Annotated[
    float | None, typer.Option(help="How strongly a picture follows the words; 7.5 is usual.")
]
ImageGuidance = Annotated[
    float | None, typer.Option(help="How strongly an edit keeps its picture; 1.5 is usual.")
]
Size = Annotated[
    str | None,
    typer.Option(metavar="WIDTHxHEIGHT", help="Pixels that a picture is made at, such as 512x512."),
]
Scheduler = Annotated[
    str,
    typer.Option(help="ddim, dpm++, euler, euler_ancestral, lcm or pndm; else the model's own."),
]


def make_image_options(
    seed: int | None,
    steps: int | None,
    guidance: float | None,
    image_guidance: float | None,
    size: str | None,
    scheduler: str,
) -> ImageOptions:
    """Make the options of what was typed.

    Raises:
        InputError: if one is out of its range or not written as its name says.
    """
    from vl2_ros.structures import ImageOptions

    return ImageOptions(
        seed, steps, guidance, image_guidance, None if size is None else read_size(size), scheduler
    )


def read_size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT; return height and width.

    Raises:
        InputError: if it is written otherwise.
    """
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text.strip().lower())
    if found is None:
        raise InputError(f"--size takes WIDTHxHEIGHT in pixels, such as 512x512, got {text!r}")
    return int(found[2]), int(found[1])

"""Options that say how an image is drawn or edited, and what is made of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vl2_ros.console.options import add_options
from vl2_ros.errors import InputError

if TYPE_CHECKING:
    from vl2_ros.structures import ImageOptions

#: Name, default and annotation of each option.
_OPTIONS: tuple[tuple[str, Any, Any], ...] = (
    (
        "seed",
        None,
        Annotated[
            int | None,
            typer.Option(help="Of a drawn or edited image; the same gives the same image."),
        ],
    ),
    (
        "steps",
        None,
        Annotated[
            int | None, typer.Option(help="Denoising steps of an image; else the model's default.")
        ],
    ),
    (
        "guidance",
        None,
        Annotated[
            float | None,
            typer.Option(help="How strongly an image follows the words; 7.5 is usual."),
        ],
    ),
    (
        "image_guidance",
        None,
        Annotated[
            float | None,
            typer.Option(help="How strongly an edit keeps its image; 1.5 is usual."),
        ],
    ),
    (
        "size",
        None,
        Annotated[
            str | None,
            typer.Option(
                metavar="WIDTHxHEIGHT", help="Pixels that an image is made at, such as 512x512."
            ),
        ],
    ),
    (
        "scheduler",
        "",
        Annotated[
            str,
            typer.Option(
                help="ddim, dpm++, euler, euler_ancestral, lcm or pndm; else the model's own."
            ),
        ],
    ),
)


def take_image_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of images; it gets them by keyword, for `make_image_options`."""
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        for name, default, annotation in _OPTIONS
    ]
    return add_options(command, added)


def make_image_options(options: Mapping[str, Any]) -> ImageOptions:
    """Make the options of images from what `take_image_options` added.

    Raises:
        InputError: if one is out of its range or not written as its name says.
    """
    from vl2_ros.structures import ImageOptions

    values = dict(options)
    size = values.pop("size")
    return ImageOptions(**values, size_hw=None if size is None else read_size(size))


def read_size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT; return height and width.

    Raises:
        InputError: if it is written otherwise.
    """
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text.strip().lower())
    if found is None:
        raise InputError(f"--size takes WIDTHxHEIGHT in pixels, such as 512x512, got {text!r}")
    return int(found[2]), int(found[1])

"""Options that say how an image is generated or edited, and what is made of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console.groups import complete
from vl2_ros.errors import InputError
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.parameter_table import note_of

if TYPE_CHECKING:
    from vl2_ros.structures import ImageOptions

#: Without `auto`, which is a node's.
_SCHEDULERS = note_of("image_scheduler", NodeParameters).choices[1:]


@dataclass(frozen=True, slots=True)
class DrawOptions:
    """How images are generated and edited, as it was typed; defaults are the model's."""

    seed: Annotated[
        int | None,
        typer.Option(help="Seed of a generated or edited image, which makes it reproducible."),
    ] = None
    steps: Annotated[int | None, typer.Option(help="Denoising steps; default: the model's.")] = None
    guidance: Annotated[
        float | None,
        typer.Option(help="How strongly an image follows the text; 7.5 is usual."),
    ] = None
    image_guidance: Annotated[
        float | None,
        typer.Option(help="How strongly an edit keeps its image; 1.5 is usual."),
    ] = None
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WIDTHxHEIGHT", help="Pixels that an image is computed at, such as 512x512."
        ),
    ] = None
    scheduler: Annotated[
        str,
        typer.Option(
            help=f"One of {', '.join(_SCHEDULERS)}; default: the model's.",
            autocompletion=complete(*_SCHEDULERS),
        ),
    ] = ""

    def make(self) -> ImageOptions:
        """Make the options of a command.

        Raises:
            InputError: if one is out of its range or not written as its name says.
        """
        from vl2_ros.structures import ImageOptions

        return ImageOptions(
            seed=self.seed,
            steps=self.steps,
            guidance=self.guidance,
            image_guidance=self.image_guidance,
            size_hw=None if self.size is None else read_size(self.size),
            scheduler=self.scheduler,
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

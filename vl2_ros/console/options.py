"""Options that several commands share, and what is made of them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from vl2_ros.console.display import show_progress
from vl2_ros.node.parameters import NodeParameters, note_of

if TYPE_CHECKING:
    from vl2_ros.pipeline import Pipeline

Weights = Annotated[
    Path | None,
    typer.Option(help="Checkpoint folder, released or our own; the embedded model when left out."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ..., or auto: cuda where it is.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Threshold = Annotated[float, typer.Option(help="Leave out instances scored below it, 0..1.")]
NodeName = Annotated[str, typer.Option(help="Name of the node.")]
Namespace = Annotated[str, typer.Option(help="Of the node, such as /robot.")]
Domain = Annotated[int | None, typer.Option(help="DDS domain; else ROS_DOMAIN_ID, else 0.")]
EndWithInput = Annotated[
    bool, typer.Option("--end-with-input", hidden=True, help="End when standard input ends.")
]


def load_model(weights: Path | None, device: str) -> Pipeline:
    """Load a checkpoint, the embedded model when none is named."""
    from vl2_ros.loading import load_pipeline

    with show_progress("loading"):
        return load_pipeline(weights, device=_choose_device(device))


def _choose_device(device: str) -> str:
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def make_node_parameters(options: Mapping[str, Any]) -> NodeParameters:
    """Make the parameters from the options that `take_node_parameters` added.

    Raises:
        ConfigError: if a value is out of its range.
    """
    values: dict[str, Any] = {
        name: tuple(one) if isinstance(one, list) else one for name, one in options.items()
    }
    return NodeParameters(**values)


def take_node_parameters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of `NodeParameters`.

    One that holds several values is an option in the singular that may be repeated.
    """
    hints = get_type_hints(NodeParameters)
    signature = inspect.signature(command)
    own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    added = []
    for item in dataclasses.fields(NodeParameters):
        help_text, default = note_of(item.name).text, item.default
        is_list = isinstance(default, tuple)
        kind = list[str] if is_list else hints[item.name]
        names = [f"--{item.name.removesuffix('s').replace('_', '-')}"] if is_list else []
        added.append(
            inspect.Parameter(
                item.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=list(default) if isinstance(default, tuple) else default,
                annotation=Annotated[kind, typer.Option(*names, help=help_text)],
            )
        )
    command.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    return command

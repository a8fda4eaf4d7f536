"""Options that several commands share, and what is made of them."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from vl2_ros.console.display import show_progress
from vl2_ros.errors import ConfigError
from vl2_ros.load_options import LoadOptions
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.parameter_table import note_of

if TYPE_CHECKING:
    from vl2_ros.flow.pipeline import Pipeline
    from vl2_ros.transports.dds.transport import DdsTransport
    from vl2_ros.transports.ros.transport import RosTransport

Weights = Annotated[
    Path | None,
    typer.Option(help="Checkpoint folder, released or our own; the embedded model when left out."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ..., or auto: cuda where it is.")]
Backend = Annotated[
    str,
    typer.Option(
        help="torch, onnxruntime, tensorrt, or auto: onnxruntime on the CPU where the checkpoint "
        "has engines, else torch."
    ),
]
EngineFolder = Annotated[
    Path | None,
    typer.Option("--engines", help="Folder of engines; left out: engines in the checkpoint's."),
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--without",
        metavar="PART",
        help="Leave a part of the network out, such as image_generation; may be repeated.",
    ),
]
MemoryBudget = Annotated[
    float,
    typer.Option(
        "--memory-budget-mb",
        metavar="MB",
        min=0.0,
        help="MB that the weights of decoders may take together; 0: no limit.",
    ),
]
Watchdog = Annotated[
    str,
    typer.Option(
        help="on: the model runs in a process of its own, which is killed when it hangs and "
        "restarted when it ends; off; or auto: on where the device is a GPU."
    ),
]
PerceiverStall = Annotated[
    float,
    typer.Option(
        "--perceiver-stall-s",
        help="Seconds without a sign of a running command after which the watchdog acts.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the output file if it exists.")
]
Threshold = Annotated[float, typer.Option(help="Leave out instances scored below it, 0..1.")]
NodeName = Annotated[str, typer.Option(help="Name of the node.")]
Namespace = Annotated[str, typer.Option(help="Of the node, such as /robot.")]
Domain = Annotated[int | None, typer.Option(help="DDS domain; else ROS_DOMAIN_ID, else 0.")]
TransportName = Annotated[
    str,
    typer.Option(
        "--transport", help="dds: plain DDS, needs no ROS; ros: rclpy and the ROS 2 middleware."
    ),
]
EndWithInput = Annotated[
    bool, typer.Option("--end-with-input", hidden=True, help="End when standard input ends.")
]


def find_package_version(*names: str) -> str | None:
    """Return the version of the first package that is installed; None without one."""
    from importlib.metadata import PackageNotFoundError, version

    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
    return None


def find_version() -> str:
    """Return the version of this package, as pip or as colcon installed it."""
    installed = find_package_version("vl2_ros")
    if installed is None:
        # colcon: <prefix>/lib/python3.12/site-packages/vl2_ros and <prefix>/share/vl2_ros.
        manifest = Path(__file__).parents[5] / "share" / "vl2_ros" / "package.xml"
        text = manifest.read_text() if manifest.is_file() else "<version>unknown</version>"
        installed = re.findall("<version>(.*?)</version>", text)[0]
    return installed


def open_transport(
    name: str,
    node_name: str,
    *,
    namespace: str = "",
    domain_id: int | None = None,
    remap: Mapping[str, str] | None = None,
) -> DdsTransport | RosTransport:
    """Open the transport of a client or a camera.

    Args:
        name: dds or ros.
        node_name: of the new node.
        namespace: of the new node.
        domain_id: DDS domain; None takes ROS_DOMAIN_ID.
        remap: topic to its other name.

    Raises:
        ConfigError: if there is no such transport.
        TransportError: if what it needs is missing.
    """
    if name == "ros":
        from vl2_ros.transports.ros.transport import open_ros_transport

        set_domain(domain_id)
        return open_ros_transport(node_name, namespace=namespace, remap=remap)
    if name == "dds":
        from vl2_ros.transports.dds.transport import DdsTransport

        return DdsTransport(node_name, namespace=namespace, domain_id=domain_id, remap=remap)
    raise ConfigError(f"--transport must be dds or ros, got {name!r}")


def set_domain(domain_id: int | None) -> None:
    """Make ROS 2 in this process use a domain; None leaves it to ROS_DOMAIN_ID."""
    if domain_id is not None:
        os.environ["ROS_DOMAIN_ID"] = str(domain_id)


def load_model(options: LoadOptions) -> Pipeline:
    """Load a model, and show that it takes its time."""
    from vl2_ros.loading import load_pipeline

    with show_progress("loading"):
        return load_pipeline(options)


def make_load_options(
    weights: Path | None,
    device: str,
    backend: str = "auto",
    engines: Path | None = None,
    *,
    without: Collection[str] = (),
    memory_budget_mb: float = 0.0,
) -> LoadOptions:
    """Make the value from options of a command."""
    return LoadOptions(
        weights=weights or "",
        device=device,
        backend=backend,
        engines=engines or "",
        without=tuple(without),
        memory_budget_mb=memory_budget_mb,
    )


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
    added = []
    for item in dataclasses.fields(NodeParameters):
        help_text, default = note_of(item.name, NodeParameters).text, item.default
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
    return add_options(command, added)


def add_options(
    command: Callable[..., None], added: Sequence[inspect.Parameter]
) -> Callable[..., None]:
    """Give a command options that it takes by its `**` parameter."""
    # Evaluated here, as typer reads a signature that was set by hand as it is, strings and all.
    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    command.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    return command

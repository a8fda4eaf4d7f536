"""Options that several commands share, and what is made of them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console.display import show_stages
from vl2_ros.console.groups import Panel, complete
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.load_options import LoadOptions

if TYPE_CHECKING:
    from vl2_ros.flow.pipeline import Pipeline
    from vl2_ros.transports.dds.transport import DdsTransport
    from vl2_ros.transports.ros.transport import RosTransport

#: Groups of options of a model, and of its checkpoint alone.
Model = Annotated[LoadOptions, Panel("Model")]
Checkpoint = Annotated[LoadOptions, Panel("Model", only=("weights",))]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel="Output")]
Force = Annotated[
    bool,
    typer.Option("--force", help="Replace files that are there.", rich_help_panel="Output"),
]
#: As `Command` has it, whose module needs numpy.
NEW_TOKENS = 192
MaxNewTokens = Annotated[
    int,
    typer.Option(
        min=1, help="Most generated tokens; the answer is cut there.", rich_help_panel="Model"
    ),
]
Threshold = Annotated[
    float,
    typer.Option(help="Skip instances with a lower score, 0..1.", rich_help_panel="Output"),
]
Domain = Annotated[int | None, typer.Option(help="DDS domain; default: ROS_DOMAIN_ID, else 0.")]
TransportName = Annotated[
    str,
    typer.Option(
        "--transport",
        help="dds: plain DDS without ROS; ros: rclpy and the ROS 2 middleware.",
        autocompletion=complete("dds", "ros"),
    ),
]
Remaps = Annotated[
    list[str] | None,
    typer.Option(metavar="FROM:=TO", help="Other name of a topic.", rich_help_panel="Network"),
]
EndWithInput = Annotated[
    bool, typer.Option("--end-with-input", hidden=True, help="End when standard input ends.")
]


@dataclass(frozen=True, slots=True)
class Link:
    """How other processes are reached."""

    domain: Domain = None
    transport: TransportName = "dds"


@dataclass(frozen=True, slots=True)
class NodeAddress(Link):
    """Which node, and how it is reached."""

    node_name: Annotated[str, typer.Option(help="Name of the node.")] = "vl2"
    namespace: Annotated[str, typer.Option(help="Namespace of the node, such as /robot.")] = ""


def find_package_version(*names: str) -> str | None:
    """Return the version of the first package that is installed; None without one."""
    from importlib.metadata import PackageNotFoundError, version

    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
    return None


#: Of a working copy that is not installed, as a package.xml has it.
UNKNOWN_VERSION = "<version>unknown</version>"


def find_version() -> str:
    """Return the version of this package, as pip or as colcon installed it."""
    installed = find_package_version("vl2_ros")
    if installed is None:
        # colcon: <prefix>/lib/python3.12/site-packages/vl2_ros and <prefix>/share/vl2_ros.
        # A working copy that lies less deep has no such folder.
        prefixes = Path(__file__).parents[5:6]
        manifests = [one / "share" / "vl2_ros" / "package.xml" for one in prefixes]
        texts = [one.read_text() for one in manifests if one.is_file()]
        installed = re.findall("<version>(.*?)</version>", "".join(texts) or UNKNOWN_VERSION)[0]
    return installed


def open_transport(
    link: Link,
    node_name: str,
    *,
    namespace: str = "",
    remap: Mapping[str, str] | None = None,
) -> DdsTransport | RosTransport:
    """Open the transport of a client or a camera.

    Args:
        link: domain and transport.
        node_name: of the new node.
        namespace: of the new node.
        remap: topic to its other name.

    Raises:
        ConfigError: if there is no such transport.
        TransportError: if what it needs is missing.
    """
    if link.transport == "ros":
        from vl2_ros.transports.ros.transport import open_ros_transport

        set_domain(link.domain)
        return open_ros_transport(node_name, namespace=namespace, remap=remap)
    if link.transport == "dds":
        from vl2_ros.transports.dds.transport import DdsTransport

        return DdsTransport(node_name, namespace=namespace, domain_id=link.domain, remap=remap)
    raise ConfigError(f"--transport must be dds or ros, got {link.transport!r}")


def set_domain(domain_id: int | None) -> None:
    """Make ROS 2 in this process use a domain; None leaves it to ROS_DOMAIN_ID."""
    if domain_id is not None:
        os.environ["ROS_DOMAIN_ID"] = str(domain_id)


def read_seeds(text: str) -> range:
    """Return the seeds of A:B.

    Raises:
        InputError: if it is not A:B with A below B.
    """
    first, colon, end = text.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise InputError(f"seeds must be A:B with A below B, such as 1000000:1000300, got {text!r}")
    return range(int(first), int(end))


def load_model(options: LoadOptions) -> Pipeline:
    """Load a model, and show how far that is."""
    from vl2_ros.loading import load_pipeline

    with show_stages("loading") as show:
        return load_pipeline(options, show)

"""`vl2 view`: a page with what a node sees and answers; also beside `vl2 serve` and `vl2 demo`.

The server's packages are imported when a page is opened, as they are an extra.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console import display, terminal
from vl2_ros.console.groups import Panel, complete, group_options
from vl2_ros.console.options import EndWithInput, NodeAddress, Remaps, open_transport
from vl2_ros.errors import TransportError

if TYPE_CHECKING:
    from vl2_ros.clients.client import PerceptionClient
    from vl2_ros.clients.demo import DemoProcesses
    from vl2_ros.clients.live_view import LiveView
    from vl2_ros.node.transport import Transport
    from vl2_ros.views.live.foxglove_output import FoxgloveOutput
    from vl2_ros.views.live.frame_output import FrameOutput
    from vl2_ros.views.live.rerun_output import RerunOutput

DEFAULT_PORT = 8090
#: Of the commands that serve the page beside something else.
ViewPort = Annotated[
    int,
    typer.Option(
        min=0,
        max=65535,
        help="Port of the page of --view; 0: a free one.",
        rich_help_panel="Page",
    ),
]
#: How often a child is looked at, in seconds.
_LOOK_PERIOD_S = 1.0


@dataclass(frozen=True, slots=True)
class PageOptions:
    """Where the page is served, and what it shows."""

    host: Annotated[
        str,
        typer.Option(
            help="Address to serve the page on; beyond this machine its URL contains a token."
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page; 0: a free one.")
    ] = DEFAULT_PORT
    camera: Annotated[str, typer.Option(help="Camera of the node; default: its first.")] = ""
    image_transport: Annotated[
        str,
        typer.Option(
            help="Image transport: auto, raw or compressed, as of the node.",
            autocompletion=complete("auto", "raw", "compressed"),
        ),
    ] = "auto"
    rate: Annotated[float, typer.Option(metavar="HZ", help="Most frames a second.")] = 20.0
    foxglove: Annotated[
        bool,
        typer.Option(
            "--foxglove", help="Serve Foxglove as well: every program of this machine may look."
        ),
    ] = False
    foxglove_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port for Foxglove; 0: a free one.")
    ] = 8765
    rerun: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.rrd", help="Record images and results for Rerun as long as it runs."
        ),
    ] = None


@group_options
def view(
    page: Annotated[PageOptions, Panel("Page")],
    address: Annotated[NodeAddress, Panel("Network")],
    remap: Remaps = None,
    end_with_input: EndWithInput = False,
) -> None:
    """Serve a page with the live image and answers of a running node, and ask it from there.

    vl2 view
    """
    from vl2_ros.clients.client import PerceptionClient

    remaps = terminal.read_remaps(remap)
    with terminal.end_quietly(), ExitStack() as stack:
        if end_with_input:
            terminal.interrupt_at_end_of_input()
        link = open_transport(address, "vl2_view", namespace=address.namespace, remap=remaps)
        stack.enter_context(closing(link))
        client = PerceptionClient(link, node_name=address.node_name, namespace=address.namespace)
        live = stack.enter_context(open_page(client, link, page))
        while not live.failure:
            time.sleep(_LOOK_PERIOD_S / 2)
        raise TransportError(f"{live.failure}; start the command again")


@contextmanager
def open_page(
    client: PerceptionClient, transport: Transport, options: PageOptions
) -> Iterator[LiveView]:
    """Serve the page of a node while the body runs, and print its URL.

    Raises:
        ConfigError: if an option cannot be used.
    """
    from vl2_ros.clients.live_view import LiveView
    from vl2_ros.views.live.audience import Audience
    from vl2_ros.views.live.frame_output import PageOutput
    from vl2_ros.views.live.server import LiveServer

    audience = Audience()
    with ExitStack() as stack:
        outputs: list[FrameOutput] = [PageOutput(audience)]
        if options.foxglove:
            outputs.append(stack.enter_context(_open_foxglove(client, transport, options)))
        if options.rerun is not None:
            outputs.append(stack.enter_context(_open_recording(options.rerun)))
        live = LiveView(
            client,
            transport,
            audience,
            outputs,
            camera=options.camera,
            rate_hz=options.rate,
            image_transport=options.image_transport,
        )
        stack.enter_context(closing(live))
        server = LiveServer(audience, live.handle, host=options.host, port=options.port)
        stack.enter_context(closing(server))
        display.print_text(f"{client.node} is shown on {server.url} ; Ctrl-C ends it")
        yield live


@contextmanager
def _open_foxglove(
    client: PerceptionClient, transport: Transport, options: PageOptions
) -> Iterator[FoxgloveOutput]:
    """Serve Foxglove while the body runs, and print where; on this machine alone."""
    from vl2_ros.clients.live_scene import follow_scene
    from vl2_ros.views.live.foxglove_output import FoxgloveOutput

    with closing(FoxgloveOutput(options.foxglove_port)) as output:
        follow_scene(transport, client, output)
        display.print_text(f"Foxglove opens {output.url}")
        yield output


def _open_recording(path: Path) -> AbstractContextManager[RerunOutput]:
    from vl2_ros.views.live.rerun_output import RerunOutput

    return closing(RerunOutput(path))


def open_page_process(
    address: NodeAddress, remaps: Mapping[str, str], port: int
) -> AbstractContextManager[None]:
    """Serve the page in a process of its own while the body runs; its end ends nothing else."""
    from vl2_ros.clients.child_process import run_beside

    words = ["view", "--end-with-input", "--port", str(port), "--transport", address.transport]
    words += ["--node-name", address.node_name, "--namespace", address.namespace]
    words += [] if address.domain is None else ["--domain", str(address.domain)]
    for pair in remaps.items():
        words += ["--remap", ":=".join(pair)]

    def note(error: TransportError) -> None:
        display.show_note(f"the page is not served any more: {error}")

    return run_beside("view", words, note)


def show_demo(
    sentences: Sequence[str], page: PageOptions, start: Callable[..., DemoProcesses], domain: int
) -> None:
    """Serve a page with the demo's camera, and ask its sentences until the page asks one.

    Args:
        sentences: of the images in turn.
        page: how the page is served.
        start: makes the demo's processes.
        domain: the ROS domain that they use.
    """
    from vl2_ros.clients.client import PerceptionClient
    from vl2_ros.clients.demo import repeat_questions
    from vl2_ros.transports.dds.transport import DdsTransport

    with (
        terminal.end_quietly(),
        closing(DdsTransport("vl2_demo", domain_id=domain)) as transport,
        closing(start(loop=True)) as children,
    ):
        client = PerceptionClient(transport)
        with open_page(client, transport, page) as live:
            repeat_questions(client, sentences, children, may_ask=lambda: not live.has_sent)

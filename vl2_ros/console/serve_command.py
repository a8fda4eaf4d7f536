"""`vl2 serve`: the node as a process, on plain DDS or on ROS 2.

Everything heavy is imported inside the command, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import Annotated

import typer

from vl2_ros.console import display, ros_node, terminal
from vl2_ros.console.groups import Panel, group_options
from vl2_ros.console.heap import return_freed_memory
from vl2_ros.console.options import (
    EndWithInput,
    NodeAddress,
    Remaps,
    open_transport,
    set_domain,
)
from vl2_ros.console.speech.hear_command import HEARING_OPTIONS, open_hearing_process
from vl2_ros.console.view_command import DEFAULT_PORT, ViewPort, open_page_process
from vl2_ros.load_options import LoadOptions
from vl2_ros.node.parameters import HearingParameters, NodeParameters, ProcessParameters
from vl2_ros.parameter_table import write_list

#: Fields of `ProcessParameters` that are options; the others are a lifecycle manager's.
_OPTIONS = (*LoadOptions.__dataclass_fields__, "watchdog", "perceiver_stall_s")


@group_options
def serve(
    process: Annotated[ProcessParameters, Panel("Model", only=_OPTIONS)],
    settings: Annotated[NodeParameters, Panel("Node")],
    hearing: Annotated[HearingParameters, Panel("Speech", only=HEARING_OPTIONS)],
    address: Annotated[NodeAddress, Panel("Network")],
    remap: Remaps = None,
    speech: Annotated[
        bool,
        typer.Option(
            "--speech", help="Hear as well, in a process of its own.", rich_help_panel="Speech"
        ),
    ] = False,
    view: Annotated[
        bool,
        typer.Option("--view", help="Serve a page to look on and ask.", rich_help_panel="Page"),
    ] = False,
    view_port: ViewPort = DEFAULT_PORT,
    end_with_input: EndWithInput = False,
) -> None:
    """Run the node: images and commands in, typed results out, until Ctrl-C."""
    return_freed_memory()
    remaps = terminal.read_remaps(remap)
    # From here on an interrupt is an end, also that of input which ended before the model loads.
    with terminal.end_quietly(), ExitStack() as beside:
        if end_with_input:
            terminal.interrupt_at_end_of_input()
        if view:
            beside.enter_context(open_page_process(address, remaps, view_port))
        if speech:
            beside.enter_context(open_hearing_process(hearing, address, remaps))
        if address.transport == "ros":
            set_domain(address.domain)
            _serve_ros(settings, process, address, remaps)
        else:
            _serve_dds(settings, process, address, remaps)


def _serve_dds(
    settings: NodeParameters,
    process: ProcessParameters,
    address: NodeAddress,
    remaps: Mapping[str, str],
) -> None:
    """Run the node on plain DDS, and print one line when it answers."""
    link = open_transport(address, address.node_name, namespace=address.namespace, remap=remaps)
    node_end = terminal.NodeEnd()
    # The order of the end: commands answered, perceiver closed, transport closed.
    with closing(link), terminal.end_quietly(), ExitStack() as ended:
        from vl2_ros.isolation.opening import open_perceiver
        from vl2_ros.node.perceiver import close_perceiver
        from vl2_ros.node.server import PerceptionServer

        with display.show_stages("loading") as show:
            perceiver = open_perceiver(process, show)
        ended.callback(close_perceiver, perceiver)
        server = PerceptionServer(perceiver, link, settings, on_failure=node_end.note)
        try:
            server.start()
            cameras = ", ".join(link.resolve(name) for name in settings.cameras)
            answering = server.node.info
            display.print_text(
                f"{link.resolve('~')} looks at {cameras} in ROS domain {link.domain_id}, model "
                f"{answering.name} on {answering.device}; Ctrl-C ends it"
            )
            terminal.wait_for_interrupt()
        finally:
            with terminal.ignore_signals():
                is_ended = server.stop()
            if not is_ended:
                node_end.reason = node_end.reason or "the worker hangs; the process ends without it"
    node_end.end()


def _serve_ros(
    settings: NodeParameters,
    process: ProcessParameters,
    address: NodeAddress,
    remaps: Mapping[str, str],
) -> None:
    """Run the lifecycle node, which starts by itself, with its log instead of a line of ours."""
    both = dataclasses.asdict(settings) | dataclasses.asdict(process)
    values = {
        name: write_list(value) if isinstance(value, tuple) else value
        for name, value in both.items()
    }
    ros_node.run(
        arguments=ros_node.write_rules(remaps, address.namespace),
        node_name=address.node_name,
        parameters=values,
    )

"""`vl2 serve`: the node as a process, on plain DDS or on ROS 2.

Everything heavy is imported inside the command, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import Annotated, Any

import typer

from vl2_ros.console import display, ros_node, terminal
from vl2_ros.console.heap import return_freed_memory
from vl2_ros.console.options import (
    Backend,
    Device,
    Domain,
    EndWithInput,
    EngineFolder,
    MemoryBudget,
    Namespace,
    NodeName,
    PerceiverStall,
    TransportName,
    Watchdog,
    Weights,
    Without,
    make_node_parameters,
    open_transport,
    set_domain,
    take_node_parameters,
)
from vl2_ros.node.parameters import NodeParameters, ProcessParameters


@take_node_parameters
def serve(
    transport: TransportName = "dds",
    weights: Weights = None,
    device: Device = "auto",
    backend: Backend = "auto",
    engines: EngineFolder = None,
    allow_fallback: Annotated[
        bool, typer.Option(help="Take torch where engines cannot be used, or else refuse.")
    ] = True,
    without: Without = None,
    memory_budget: MemoryBudget = 0.0,
    watchdog: Watchdog = "auto",
    perceiver_stall_s: PerceiverStall = 30.0,
    node_name: NodeName = "vl2",
    namespace: Namespace = "",
    domain: Domain = None,
    remap: Annotated[
        list[str] | None, typer.Option(metavar="FROM:=TO", help="Other name of a topic.")
    ] = None,
    end_with_input: EndWithInput = False,
    **parameters: Any,
) -> None:
    """Run the node: images and commands in, typed results out, until Ctrl-C."""
    return_freed_memory()
    settings = make_node_parameters(parameters)
    process = ProcessParameters(
        weights=weights or "",
        device=device,
        without=tuple(without or ()),
        memory_budget_mb=memory_budget,
        backend=backend,
        engines=engines or "",
        allow_fallback=allow_fallback,
        watchdog=watchdog,
        perceiver_stall_s=perceiver_stall_s,
    )
    remaps = terminal.read_remaps(remap)
    if end_with_input:
        terminal.interrupt_at_end_of_input()
    if transport == "ros":
        set_domain(domain)
        _serve_ros(settings, process, node_name, namespace, remaps)
        return
    link = open_transport(transport, node_name, namespace=namespace, domain_id=domain, remap=remaps)
    failure = terminal.Failure()
    # The order of the end: commands answered, perceiver closed, transport closed.
    with closing(link), terminal.end_quietly(), ExitStack() as ended:
        from vl2_ros.isolation.opening import open_perceiver
        from vl2_ros.node.perceiver import close_perceiver
        from vl2_ros.node.server import PerceptionServer

        with display.show_progress("loading"):
            perceiver = open_perceiver(process)
        ended.callback(close_perceiver, perceiver)
        server = PerceptionServer(perceiver, link, settings, on_failure=failure.note)
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
                failure.reason = failure.reason or "the worker hangs; the process ends without it"
    failure.end()


def _serve_ros(
    settings: NodeParameters,
    process: ProcessParameters,
    node_name: str,
    namespace: str,
    remaps: Mapping[str, str],
) -> None:
    """Run the lifecycle node, which starts by itself, with its log instead of a line of ours."""
    rules = dict(remaps)
    if namespace:
        rules["__ns"] = f"/{namespace.strip('/')}"
    words = [word for pair in rules.items() for word in ("-r", ":=".join(pair))]
    both = dataclasses.asdict(settings) | dataclasses.asdict(process)
    values = {
        name: list(value) or [""] if isinstance(value, tuple) else value
        for name, value in both.items()
    }
    ros_node.run(
        arguments=["--ros-args", *words] if words else [],
        node_name=node_name,
        parameters=values,
    )

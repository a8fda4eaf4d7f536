"""The node as a ROS 2 process: wires model and lifecycle node, for `ros2 run` and `vl2 serve`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from vl2_ros.console import display, terminal
from vl2_ros.console.heap import return_freed_memory
from vl2_ros.console.options import find_version
from vl2_ros.errors import VL2Error

#: Most seconds from a signal until the process ends; launch sends the next one after five.
_END_S = 8.0

if TYPE_CHECKING:
    from vl2_ros.node.parameters import ProcessParameters
    from vl2_ros.node.perceiver import Perceiver


def main() -> None:
    """Run the node with the arguments of the process, as `ros2 run` and launch files do."""
    try:
        run()
    except VL2Error as error:
        display.show_error(str(error))
        raise SystemExit(2) from None


def run(
    *,
    arguments: Sequence[str] | None = None,
    node_name: str = "vl2",
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Run the node until Ctrl-C or a polite kill, or until it can answer nothing any more.

    Args:
        arguments: `--ros-args ...`; None takes the process's own.
        node_name: unless an argument remaps it.
        parameters: values by name.

    Raises:
        TransportError: if ROS 2 is missing.
    """
    from vl2_ros.transports.ros.transport import import_with_rclpy

    return_freed_memory()
    node_end = terminal.NodeEnd()

    def wait() -> None:
        with suppress(KeyboardInterrupt):
            terminal.wait_for_interrupt()
        ending.enter_context(terminal.ignore_signals())
        node_end.end_within(_END_S)

    with terminal.end_quietly(), ExitStack() as ending:
        hanging = import_with_rclpy("vl2_ros.ros_node.process").run_process(
            _load,
            find_version(),
            wait,
            node_end.note,
            arguments=arguments,
            node_name=node_name,
            parameters=parameters,
        )
        node_end.reason = node_end.reason or hanging
    node_end.end()


def _load(process: ProcessParameters) -> Perceiver:
    from vl2_ros.isolation.opening import open_perceiver

    return open_perceiver(process)

"""Nodes as ROS 2 processes: wires lifecycle nodes and what they load, for `ros2 run` and `vl2`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from vl2_ros.console import display, terminal
from vl2_ros.console.heap import return_freed_memory
from vl2_ros.console.options import find_version
from vl2_ros.errors import SpeechError, VL2Error

#: Most seconds from a signal until the process ends; launch sends the next one after five.
_END_S = 8.0

if TYPE_CHECKING:
    from vl2_ros.node.hearing.server import Ears
    from vl2_ros.node.parameters import HearingParameters, ProcessParameters
    from vl2_ros.node.perceiver import Perceiver


def main() -> None:
    """Run the perception node with the process's arguments, as `ros2 run` and launch files do."""
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
    """Run the perception node until Ctrl-C, a polite kill, or until it can answer nothing any more.

    Args:
        arguments: `--ros-args ...`; None takes the process's own.
        node_name: unless an argument remaps it.
        parameters: values by name.

    Raises:
        TransportError: if ROS 2 is missing.
    """
    return_freed_memory()
    _run(
        "run_process",
        (_load, find_version()),
        arguments=arguments,
        node_name=node_name,
        parameters=parameters,
    )


def hearing_main() -> None:
    """Run the hearing node with the process's arguments, as `ros2 run` and launch files do."""
    try:
        run_hearing()
    except VL2Error as error:
        display.show_error(str(error))
        raise SystemExit(2) from None


def run_hearing(
    *,
    arguments: Sequence[str] | None = None,
    node_name: str = "vl2_hearing",
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Run the hearing node; arguments and errors as of `run`."""
    _run(
        "run_hearing_process",
        (load_ears,),
        arguments=arguments,
        node_name=node_name,
        parameters=parameters,
    )


def write_rules(remaps: Mapping[str, str], namespace: str) -> list[str]:
    """Write remappings and a namespace as arguments of a ROS 2 process."""
    rules = dict(remaps)
    if namespace:
        rules["__ns"] = f"/{namespace.strip('/')}"
    words = [word for pair in rules.items() for word in ("-r", ":=".join(pair))]
    return ["--ros-args", *words] if words else []


def load_ears(parameters: HearingParameters) -> Ears:
    """Load what hears by the parameters.

    Raises:
        SpeechError: if the weights or a package are missing, or of another form.
    """
    from vl2_ros.node.hearing.server import Ears
    from vl2_ros.speech.whisper import load_recogniser, load_voice_detector

    try:
        # As early as this, so that a fault of it is one of the configuration.
        load_voice_detector()
        recogniser = load_recogniser(parameters.speech_weights, threads=parameters.speech_threads)
    except ModuleNotFoundError as error:
        raise SpeechError(
            f"hearing needs the package {error.name}: pip install 'vl2_ros[speech]'"
        ) from error
    return Ears(recogniser, load_voice_detector)


def _run(process: str, given: tuple[Any, ...], **options: Any) -> None:
    """Run a function of `ros_node.process` until Ctrl-C, a polite kill or a failure."""
    from vl2_ros.transports.ros.transport import import_with_rclpy

    node_end = terminal.NodeEnd()

    def wait() -> None:
        with suppress(KeyboardInterrupt):
            terminal.wait_for_interrupt()
        ending.enter_context(terminal.ignore_signals())
        node_end.end_within(_END_S)

    with terminal.end_quietly(), ExitStack() as ending:
        run_process = getattr(import_with_rclpy("vl2_ros.ros_node.process"), process)
        hanging = run_process(*given, wait, node_end.note, **options)
        node_end.reason = node_end.reason or hanging
    node_end.end()


def _load(process: ProcessParameters) -> Perceiver:
    from vl2_ros.isolation.opening import open_perceiver

    return open_perceiver(process)

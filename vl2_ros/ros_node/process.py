"""Run a managed node on ROS 2 as a process, until it is asked to end."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import rclpy
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from vl2_ros.node.guarded import guarded
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.ros_node.hearing_node import HearingLifecycleNode, LoadEars
from vl2_ros.ros_node.lifecycle_node import (
    LoadPerceiver,
    PerceptionLifecycleNode,
    make_executor,
)
from vl2_ros.ros_node.managed_node import ManagedNode
from vl2_ros.transports.ros.executor import GuardedExecutor
from vl2_ros.transports.ros.spinning import SpinningThread, start_spinning

#: Seconds for a model that is being loaded to get ready; launch allows five to end.
_LOAD_S = 3.0
_UNENDED = "the node could not be ended in order, see its log"
#: Seconds for the thread that spins the node to end.
_END_S = 2.0

_log = logging.getLogger(__name__)


class NodeLogHandler(logging.Handler):
    """Forwards the log of this package to the logger of an rclpy node, and so to /rosout."""

    def __init__(self, node: ManagedNode) -> None:
        super().__init__()
        self._logger = node.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        """Log one line; a failure goes to `handleError` and ends no thread."""
        try:
            self._log(record)
        except Exception:
            self.handleError(record)

    def _log(self, record: logging.LogRecord) -> None:
        # rclpy wants each severity to come from a line of its own.
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


def run_process(
    load: LoadPerceiver,
    version: str,
    wait: Callable[[], None],
    on_failure: Callable[[str], None],
    *,
    arguments: Sequence[str] | None = None,
    node_name: str = "vl2",
    parameters: Mapping[str, Any] | None = None,
) -> str:
    """Run the perception node until `wait` returns or raises, then let it end every command.

    Args:
        load: makes the perceiver when the node is configured.
        version: of this package.
        wait: blocks until the process is to end, such as until Ctrl-C.
        on_failure: called with the reason, on any thread, when nothing can be answered any more;
            it should make `wait` return.
        arguments: `--ros-args ...`; None takes the process's own.
        node_name: unless an argument remaps it.
        parameters: values that go before those of the arguments' files.

    Returns:
        What hangs, so that the caller must end the process without waiting for its threads;
        empty when all has ended.
    """
    make = partial(PerceptionLifecycleNode, load, version, node_name)
    return _run(make, wait, on_failure, arguments, parameters)


def run_hearing_process(
    load: LoadEars,
    wait: Callable[[], None],
    on_failure: Callable[[str], None],
    *,
    arguments: Sequence[str] | None = None,
    node_name: str = "vl2_hearing",
    parameters: Mapping[str, Any] | None = None,
) -> str:
    """Run the hearing node until `wait` returns or raises; arguments and result of `run_process`.

    Args:
        load: loads what hears when the node is configured.
        wait: blocks until the process is to end.
        on_failure: called with the reason when nothing is heard any more.
        arguments: `--ros-args ...`; None takes the process's own.
        node_name: unless an argument remaps it.
        parameters: values that go before those of the arguments' files.
    """
    make = partial(HearingLifecycleNode, load, node_name)
    return _run(make, wait, on_failure, arguments, parameters)


def _run(
    make: Callable[..., ManagedNode],
    wait: Callable[[], None],
    on_failure: Callable[[str], None],
    arguments: Sequence[str] | None,
    parameters: Mapping[str, Any] | None,
) -> str:
    # Our own handling of signals: rclpy's would close the topics before the last answers are out.
    rclpy.init(
        args=None if arguments is None else list(arguments),
        signal_handler_options=SignalHandlerOptions.NO,
    )
    overrides = [Parameter(name, value=value) for name, value in (parameters or {}).items()]
    failures: list[str] = []

    def fail(reason: str) -> None:
        failures.append(reason)
        on_failure(reason)

    node = make(fail, parameter_overrides=overrides)
    logger = logging.getLogger("vl2_ros")
    handler = NodeLogHandler(node)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    executor = make_executor()
    executor.add_node(node)
    hanging = ""
    try:
        thread = start_spinning(executor, "rclpy executor", fail)
        wait()
    finally:
        end = guarded(node.end, "ending the node", RepeatedLog(_log))
        unended = end(_LOAD_S)
        hanging = _UNENDED if unended is None else unended
        logger.removeHandler(handler)
        if node.is_loading and not failures:
            # The interpreter would wait for the load; there is nothing to be kept.
            os._exit(0)
        if not hanging and not node.is_loading:
            hanging = _close(node, executor, thread)
    return hanging


def _close(node: ManagedNode, executor: GuardedExecutor, thread: SpinningThread) -> str:
    """Close the rclpy node; returns what hangs."""
    if not thread.end(_END_S):
        return "the thread that spins the ROS 2 node hangs; the process ends without it"
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    return ""

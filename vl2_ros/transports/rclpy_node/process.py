"""A process that is the node on ROS 2: arguments in, runs until it is told to end."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import rclpy
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from vl2_ros.transports.rclpy_node.lifecycle_node import (
    LoadPerceiver,
    PerceptionLifecycleNode,
    make_executor,
)
from vl2_ros.transports.rclpy_node.spinning import start_spinning

#: What a model that is being loaded has to get ready, in seconds; launch gives five to end in.
_LOAD_S = 3.0


class NodeLogHandler(logging.Handler):
    """Hands the log of this package to the logger of an rclpy node, and so to /rosout."""

    def __init__(self, node: PerceptionLifecycleNode) -> None:
        super().__init__()
        self._logger = node.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        """Log one line; rclpy wants each severity to come from a line of its own."""
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
    *,
    arguments: Sequence[str] | None = None,
    node_name: str = "vl2",
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Run the node until `wait` returns or raises, then let it end every command.

    Args:
        load: makes the perceiver when the node is configured.
        version: of this package.
        wait: blocks until the process is to end, such as until Ctrl-C.
        arguments: `--ros-args ...`; None takes the process's own.
        node_name: unless an argument remaps it.
        parameters: values that go before those of the arguments' files.
    """
    # Our own handling of signals: rclpy's would close the topics before the last answers are out.
    rclpy.init(
        args=None if arguments is None else list(arguments),
        signal_handler_options=SignalHandlerOptions.NO,
    )
    overrides = [Parameter(name, value=value) for name, value in (parameters or {}).items()]
    node = PerceptionLifecycleNode(load, version, node_name, parameter_overrides=overrides)
    logger = logging.getLogger("vl2_ros")
    handler = NodeLogHandler(node)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    executor = make_executor()
    executor.add_node(node)
    thread = start_spinning(executor, "rclpy executor")
    try:
        wait()
    finally:
        is_ended = node.end(_LOAD_S)
        logger.removeHandler(handler)
        if not is_ended:
            # The interpreter would wait for the load; there is nothing to be kept.
            os._exit(0)
        executor.shutdown()
        thread.join()
        node.destroy_node()
        rclpy.try_shutdown()

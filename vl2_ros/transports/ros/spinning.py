"""Threads that spin rclpy nodes, and a plain node with one, for clients, cameras and tests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

import rclpy
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from vl2_ros.node.guarded import log_failure
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.transports.ros.executor import GuardedExecutor, GuardedSingleExecutor
from vl2_ros.transports.ros.transport import CONTEXT_GONE, RosTransport

#: Failures of an executor, each within `_CALM_S` of the one before, until it is given up, and the
#: pause after the first; each next one is twice as long, 1.3 s together.
_MOST_FAILURES = 7
_FIRST_PAUSE_S = 0.02
_CALM_S = 5.0
#: How long `close` waits for a callback that runs, in seconds.
_END_S = 10.0
_TRIPPED_PAUSE_S = 0.001

_log = logging.getLogger(__name__)


class SpinningThread(threading.Thread):
    """Spins an executor until `end` is called.

    What a callback or rclpy itself raises is logged and the executor is spun again; when rclpy
    fails repeatedly, or other code shuts the context down, `failure` says so.

    Args:
        executor: is spun until `end`.
        name: of the thread.
        on_failure: called with `failure`, on this thread.
    """

    def __init__(
        self,
        executor: GuardedExecutor | GuardedSingleExecutor,
        name: str,
        on_failure: Callable[[str], None] = _log.critical,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._executor = executor
        self._on_failure = on_failure
        self._quiet_log = RepeatedLog(_log)
        #: Why the executor is no longer spun although it was not shut down; empty otherwise.
        self.failure = ""

    def end(self, timeout_s: float) -> bool:
        """End, so that the executor may be shut down; harmless on this thread itself.

        Args:
            timeout_s: to wait for a callback that runs.

        Returns:
            False when it does not end.
        """
        self._executor.end_spinning()
        if threading.current_thread() is self:
            return True
        self.join(timeout_s)
        return not self.is_alive()

    def run(self) -> None:
        """Spin, and report when that ends unexpectedly."""
        self._spin()
        if self.failure:
            self._on_failure(self.failure)

    def _spin(self) -> None:
        failures, failed_s = 0, 0.0
        while True:
            try:
                self._executor.spin()
            except ExternalShutdownException:
                break
            except InvalidHandle:
                # Jazzy's executor trips over a subscription that is destroyed while it makes up
                # its list of what to wait for; the next list does not have it.
                time.sleep(_TRIPPED_PAUSE_S)
            except BaseException as error:
                if self._executor.wait_failure is not error:
                    # A callback's; however many there are, others are called.
                    log_failure(self._quiet_log, "a callback of the ROS 2 node", error)
                    continue
                now_s = time.monotonic()
                failures = failures + 1 if now_s - failed_s < _CALM_S else 1
                failed_s = now_s
                if not self._bear(error, failures):
                    return
            else:
                break
        # An orderly end shuts the executor down before the context.
        if not self._executor.context.ok():
            self.failure = CONTEXT_GONE

    def _bear(self, error: BaseException, failures: int) -> bool:
        """Pause after a failure; False when there were too many."""
        log_failure(self._quiet_log, "the thread that spins the ROS 2 node", error)
        if failures < _MOST_FAILURES:
            time.sleep(_FIRST_PAUSE_S * 2 ** (failures - 1))
            return True
        self.failure = (
            f"the ROS 2 node cannot be spun any more: {error!r}; it receives nothing until it is "
            "started again"
        )
        return False


def start_spinning(
    executor: GuardedExecutor | GuardedSingleExecutor,
    name: str,
    on_failure: Callable[[str], None] = _log.critical,
) -> SpinningThread:
    """Spin an executor on a thread, until the body ends or the context is shut down."""
    thread = SpinningThread(executor, name, on_failure)
    thread.start()
    return thread


def open_transport(node_name: str, namespace: str, remap: Mapping[str, str]) -> RosTransport:
    """Open a node in a context of its own, so that several live in one process."""
    context = Context()
    rclpy.init(context=context)
    rules = [word for pair in remap.items() for word in ("-r", ":=".join(pair))]
    node = Node(
        node_name,
        namespace=namespace or None,
        context=context,
        cli_args=["--ros-args", *rules] if rules else None,
        use_global_arguments=False,
        start_parameter_services=False,
        enable_rosout=False,
    )
    executor = GuardedSingleExecutor(context=context)
    executor.add_node(node)
    thread = start_spinning(executor, f"rclpy {node_name}")

    def close() -> None:
        thread.end(_END_S)
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()

    return RosTransport(node, close, lambda: thread.failure)

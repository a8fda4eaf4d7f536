"""`vl2 serve --transport ros` as a process of its own that breaks as its first argument says."""

from __future__ import annotations

import atexit
import sys
from typing import Any

from tests.faults.process.faulty_serve import TORN_DOWN, HangingPerceiver
from tests.ros.workspace import find_messages
from vl2_ros.cli import main
from vl2_ros.console import terminal
from vl2_ros.isolation import opening
from vl2_ros.node.perception import PerceptionNode


def break_executor() -> None:
    """Let rclpy fail from now on whenever it waits for work."""
    from rclpy.executors import Executor

    def fail(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("no wait set")

    Executor.wait_for_ready_callbacks = fail


def shut_down() -> None:
    import rclpy

    rclpy.try_shutdown()


if __name__ == "__main__":
    atexit.register(print, TORN_DOWN)
    fault = sys.argv[1]
    find_messages()
    opening.open_perceiver = lambda process, progress=None: HangingPerceiver()
    if fault == "dead-worker":
        PerceptionNode._work = lambda self: None
    later = {"dead-executor": break_executor, "shut-down": shut_down}.get(fault)
    if later is not None:
        wait = terminal.wait_for_interrupt

        def break_and_wait() -> None:
            # The node is spun by now, however slow the machine is.
            later()
            wait()

        terminal.wait_for_interrupt = break_and_wait
    main(["serve", "--transport", "ros", *sys.argv[2:]])

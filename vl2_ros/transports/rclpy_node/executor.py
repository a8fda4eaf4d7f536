"""The executor of a node: what cannot be read is dropped and told, and everything else goes on."""

from __future__ import annotations

import logging
from typing import Any

from rclpy.executors import MultiThreadedExecutor

from vl2_ros.node.guarded import guarded
from vl2_ros.node.quiet_log import RepeatedLog

_log = logging.getLogger(__name__)


class GuardedExecutor(MultiThreadedExecutor):  # type: ignore[misc]
    """Runs callbacks in a pool of threads.

    rclpy reads a message before it calls back. When that raises, as for a message that cannot be
    read, rclpy never lets go of the callback group: every topic of it would be silent for ever.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        log = RepeatedLog(_log)
        for kind in ("subscription", "service", "client", "waitable"):
            take = getattr(super(), f"_take_{kind}", None)
            if take is not None:
                setattr(self, f"_take_{kind}", guarded(take, f"reading from a {kind}", log))

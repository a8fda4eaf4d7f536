"""Executors that log and drop what cannot be read, so that everything else continues."""

from __future__ import annotations

import logging
from typing import Any

from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor

from vl2_ros.node.guarded import guarded
from vl2_ros.node.quiet_log import RepeatedLog

_log = logging.getLogger(__name__)


class _Guarded:
    """Shared by both kinds of executor.

    rclpy reads a message before it calls back. When reading raises, rclpy never releases the
    callback group: every topic of it would be silent for ever.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        #: The last exception from waiting for work; exceptions of callbacks are no reason to end.
        self.wait_failure: BaseException | None = None
        log = RepeatedLog(_log)
        for kind in ("subscription", "service", "client", "timer", "waitable"):
            take = getattr(super(), f"_take_{kind}", None)
            if take is not None:
                setattr(self, f"_take_{kind}", guarded(take, f"reading from a {kind}", log))

    def end_spinning(self) -> None:
        """Make `spin` return; to be called before `shutdown`.

        That wakes the thread that spins and destroys in the same breath what wakes it: a thread
        that was about to wait would wait for ever.
        """
        self._is_shutdown = True
        self.wake()  # type: ignore[attr-defined]

    def wait_for_ready_callbacks(self, *arguments: Any, **options: Any) -> Any:
        """Return the next callback, as rclpy does, and keep the exception if that raises."""
        try:
            return super().wait_for_ready_callbacks(*arguments, **options)  # type: ignore[misc]
        except BaseException as error:
            self.wait_failure = error
            raise


class GuardedExecutor(_Guarded, MultiThreadedExecutor):  # type: ignore[misc]
    """Runs callbacks in a pool of threads."""


class GuardedSingleExecutor(_Guarded, SingleThreadedExecutor):  # type: ignore[misc]
    """Runs callbacks on the thread that spins it."""

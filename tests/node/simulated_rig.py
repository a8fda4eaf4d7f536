"""A server on the memory transport whose simulated time a test sets, stops and turns back."""

from __future__ import annotations

import time
from typing import Any

from tests.node.wire import wait_until
from tests.transports.harness import MemoryHarness, Rig

S = 1_000_000_000
#: Seconds of the wall in which nothing may happen; many times what the node needs to notice.
STILL_S = 0.3


class SimulatedRig(Rig):
    """A `Rig` with simulated time.

    Attributes:
        now_ns: the simulated time; 0: it has not begun.
    """

    def __init__(self, now_ns: int) -> None:
        super().__init__(MemoryHarness())
        self.now_ns = now_ns

    def start(self, *, options: dict[str, Any] | None = None, **parameters: Any) -> None:
        simulated = {"find_simulated_ns": lambda: self.now_ns}
        super().start(options=simulated | (options or {}), **parameters)

    def go_on(self, seconds: float) -> None:
        """Let simulated time pass."""
        self.now_ns += round(seconds * S)

    def expect_nothing(self, command_id: str, count: int = 0) -> None:
        """Wait on the wall, and check that no more than `count` results came for a command."""
        time.sleep(STILL_S)
        came = [one for one in self.results.list() if one.command_id == command_id]
        assert len(came) == count, [one.message for one in came]

    def wait_for_queue(self, length: int) -> None:
        wait_until(lambda: self.server.node.report().queue_length == length, f"{length} wait")

"""One node, one camera and one client, for a single fault: set up, ask, listen, take down."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from soaking.children import Child, NodeChild, make_environment, measure_rss_mb
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.clients.demo import find_free_domain
from vl2_ros.node.request import Status
from vl2_ros.transports.dds.transport import DdsTransport

CAMERA = "side"
#: Longest wait for anything that is measured; what takes longer counts as never.
PATIENCE_S = 12.0
#: How a command ends that did not get its answer.
TROUBLES = (Status.FAILED, Status.EXPIRED, Status.CANCELED)
#: Seconds after which a client without an answer asks again.
_ASK_PERIOD_S = 0.25
_SETTLE_S = 2.0
_READY_S = 120.0
_POLL_S = 0.01

Line = dict[str, Any]


class Stage:
    """The processes around one node, in a DDS domain of its own on the loopback."""

    def __init__(self) -> None:
        self.environment = make_environment(find_free_domain())
        os.environ.update(self.environment)
        self._closing = contextlib.ExitStack()
        self._came = threading.Condition()
        self._lines: list[Line] = []
        self._number = 0
        self.link = DdsTransport("asker", domain_id=int(self.environment["ROS_DOMAIN_ID"]))
        self._closing.callback(self.link.close)
        self.client = PerceptionClient(self.link)
        camera = ["--camera", CAMERA, "--size", "640", "480", "--form", "raw", "--rate", "10"]
        self._keep(Child(["-m", "soaking.listener"], self.environment, self._receive))
        self._keep(Child(["-m", "soaking.camera", *camera], self.environment))

    def host(self) -> NodeChild:
        """Start `soaking.node`, into which faults can be put; return when it answers."""
        node = NodeChild(self.environment)
        self._keep(node)
        node.wait_until_ready(_READY_S)
        self.wait_until_answering(_READY_S)
        return node

    def serve(self, options: Sequence[str] = ()) -> Served:
        """Start `vl2 serve` under a supervisor that starts it again; return when it answers.

        Raises:
            RuntimeError: with its last words, if it cannot be started.
        """
        served = Served(self.environment, options)
        self._closing.callback(served.close)
        self.wait_until_answering(_READY_S, served.check)
        return served

    def send(self, **options: Any) -> str:
        """Ask about the camera; return the id."""
        self._number += 1
        command_id = f"ask-{self._number}"
        options.setdefault("camera", CAMERA)
        self.client.send("find the red mug", command_id=command_id, **options)
        return command_id

    def wait_for(self, is_meant: Callable[[Line], bool], timeout_s: float) -> Line | None:
        """Return the first line of the listener that is meant; None when none comes in time."""
        found: list[Line] = []

        def look() -> bool:
            found.extend(line for line in self._lines if is_meant(line))
            return bool(found)

        with self._came:
            self._came.wait_for(look, timeout_s)
        return found[0] if found else None

    def wait_for_result(
        self, command_id: str, statuses: Sequence[Status], timeout_s: float = PATIENCE_S
    ) -> float | None:
        """Return when a result of one of these statuses came; None when none does in time."""
        line = self.wait_for(
            lambda one: one.get("id") == command_id and one["status"] in statuses, timeout_s
        )
        return None if line is None else float(line["time_s"])

    def wait_for_report(self, command_id: str, served: Served | None = None) -> float | None:
        """Return when the first report of a fault came; None when none comes.

        That is a failure of the command, an ERROR on /diagnostics or, where the model runs in a
        process of its own, a line in the log about it.
        """
        began_s = time.monotonic()
        while time.monotonic() < began_s + PATIENCE_S:
            line = self.wait_for(
                lambda one: (
                    (one.get("id") == command_id and one["status"] in TROUBLES)
                    or bool(one.get("errors") and one["time_s"] > began_s)
                ),
                _POLL_S,
            )
            heard_s = None if line is None else float(line["time_s"])
            logged_s = None if served is None else served.child.find_log_line("perceiver")
            moments_s = [one for one in (heard_s, logged_s) if one is not None]
            if moments_s:
                return min(moments_s)
        return None

    def wait_until_answering(
        self, timeout_s: float = PATIENCE_S, check: Callable[[], None] = lambda: None
    ) -> float | None:
        """Ask until an ask sent from now on is answered; return when, None when none is in time.

        Leaves no ask of its own behind that a node could still answer.
        """
        asked: set[str] = set()
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            check()
            asked.add(self.send(deadline_s=5.0))
            line = self.wait_for(
                lambda one: one.get("id") in asked and one["status"] == Status.OK, _ASK_PERIOD_S
            )
            if line is not None:
                self._wait_until_settled(asked)
                return float(line["time_s"])
        return None

    def close(self) -> None:
        """End everything."""
        self._closing.close()

    def _wait_until_settled(self, asked: set[str]) -> None:
        # Commands to a node that has been killed since have no result, so not for long.
        end_s = time.monotonic() + _SETTLE_S
        for command_id in asked:
            left_s = max(0.0, end_s - time.monotonic())
            self.wait_for(lambda one, wanted=command_id: one.get("id") == wanted, left_s)

    def _keep(self, child: Child) -> None:
        self._closing.callback(child.close)

    def _receive(self, line: Line) -> None:
        with self._came:
            self._lines.append(line)
            self._came.notify_all()


class Served:
    """`vl2 serve`, and a supervisor that starts it again whenever it ends, as launch does.

    Attributes:
        ends: monotonic time and exit code of each end that the supervisor saw.
    """

    def __init__(self, environment: dict[str, str], options: Sequence[str]) -> None:
        serve = ["serve", "--transport", "dds", "--camera", CAMERA, "--end-with-input"]
        self._command = ["-m", "vl2_ros.cli", *serve, *options]
        self._environment = environment
        self.ends: list[tuple[float, int]] = []
        self.child = Child(self._command, environment)
        self._words = ""
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Do nothing unless it ended before it ever answered.

        Raises:
            RuntimeError: with its last words.
        """
        if self.ends:
            raise RuntimeError(f"vl2 serve ended with code {self.ends[0][1]}: {self._words}")

    def find_model_process(self) -> int:
        """Return the process id of the child that runs the model.

        Raises:
            RuntimeError: if it has no child process.
        """
        children = _list_children(self.child.pid)
        if not children:
            raise RuntimeError("vl2 serve has no child process; the model runs in its own")
        # Helpers of the interpreter are small.
        return max(children, key=measure_rss_mb)

    def close(self) -> None:
        """End the supervisor, then the node."""
        self._is_over.set()
        self._thread.join()
        self.child.close()

    def _supervise(self) -> None:
        while not self._is_over.wait(_POLL_S):
            code = self.child.exit_code
            if code is not None:
                self.ends.append((time.monotonic(), code))
                self._words = self.child.tail(2)
                self.child.close()
                self.child = Child(self._command, self._environment)


def _list_children(pid: int) -> list[int]:
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        # A process may end while it is read.
        with contextlib.suppress(OSError):
            # The name in parentheses may contain anything; state and parent follow it.
            state, parent = status.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                children.append(int(status.parent.name))
    return children


@contextlib.contextmanager
def set_stage() -> Iterator[Stage]:
    """Open a stage and close it."""
    stage = Stage()
    try:
        yield stage
    finally:
        stage.close()

"""Child processes of a benchmark, with JSON lines both ways; the parent's side."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent.parent
_GRACE_S = 10.0
_KEPT_LINES = 2000

TakeLine = Callable[[dict[str, Any]], None]


def make_environment(domain_id: int) -> dict[str, str]:
    """Return the environment of every process of a run: one DDS domain on the loopback only."""
    paths = [str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "ROS_DOMAIN_ID": str(domain_id),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }


def measure_rss_mb(pid: int) -> float:
    """Return the resident memory of a process now, in MiB; 0 when it has just ended.

    Raises:
        OSError: if there is no such process.
    """
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Child:
    """One process; its lines are passed to `on_line` on a thread of this object.

    Args:
        command: arguments after the interpreter, such as `-m soaking.camera`.
        environment: of the process.
        on_line: takes each JSON line of its standard output.

    Attributes:
        log: time (monotonic seconds) and text of the last lines of its standard error.
        log_count: lines of its standard error.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        on_line: TakeLine = lambda line: None,
    ) -> None:
        self.log: deque[tuple[float, str]] = deque(maxlen=_KEPT_LINES)
        self.log_count = 0
        self._on_line = on_line
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=dict(environment),
            # Ctrl-C reaches the benchmark alone, which then ends its children in order.
            start_new_session=True,
        )
        self._threads = [
            threading.Thread(target=follow, daemon=True)
            for follow in (self._follow_output, self._follow_log)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Return how it ended; None while it runs."""
        return self._process.poll()

    def send(self, **fields: Any) -> None:
        """Write one JSON line to its standard input; ignored once it has ended."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps(fields) + "\n")
            self._process.stdin.flush()

    def kill(self) -> None:
        """End it by SIGKILL, so that it can say nothing more, and wait for its end."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def terminate(self) -> None:
        """Send SIGTERM; does not wait."""
        self._process.terminate()

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end; None when it still runs afterwards."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None

    def close(self) -> int:
        """End its standard input, wait, and kill it when it does not end; return its exit code."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        if self.wait(_GRACE_S) is None:
            self.kill()
        for thread in self._threads:
            thread.join(_GRACE_S)
        return self._process.wait()

    def tail(self, count: int = 5) -> str:
        """Return the last lines of its standard error."""
        return "\n".join(line for _, line in list(self.log)[-count:])

    def find_log_line(self, mark: str) -> float | None:
        """Return when the first line with this mark came on its standard error; None if none."""
        for moment_s, line in list(self.log):
            if mark in line:
                return moment_s
        return None

    def _follow_output(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # `vl2 serve` prints a sentence for people.
            with contextlib.suppress(json.JSONDecodeError):
                self._on_line(json.loads(line))

    def _follow_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log_count += 1
            self.log.append((time.monotonic(), line.rstrip()))


class NodeChild(Child):
    """The node's process, `soaking.node`: answers each request with one line.

    Args:
        environment: of the process.
        arguments: of `soaking.node`.
    """

    def __init__(self, environment: Mapping[str, str], arguments: Sequence[str] = ()) -> None:
        self._replies: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        super().__init__(["-m", "soaking.node", *arguments], environment, self._replies.put)

    def wait_until_ready(self, timeout_s: float = 120.0) -> None:
        """Wait until the model is loaded and the node answers.

        Raises:
            RuntimeError: with its last words, if it does not come.
        """
        self._receive(timeout_s)

    def request(self, timeout_s: float = 30.0, **fields: Any) -> dict[str, Any]:
        """Send one request and return the reply.

        Raises:
            RuntimeError: with its last words, if there is none within the time.
        """
        self.send(**fields)
        return self._receive(timeout_s)

    def _receive(self, timeout_s: float) -> dict[str, Any]:
        try:
            return self._replies.get(timeout=timeout_s)
        except queue.Empty:
            state = "runs" if self.exit_code is None else f"ended with code {self.exit_code}"
            raise RuntimeError(
                f"the node's process gave no reply within {timeout_s:g} s and {state}; its last "
                f"words:\n{self.tail()}"
            ) from None

"""A robot of launched processes, in a ROS domain of their own, driven by ROS 2's commands."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.ros.workspace import run_in_ros, start_in_ros

#: Loading the model on a busy machine.
PATIENCE_S = 120.0


class Robot:
    """Processes that are started and ended together.

    Args:
        domain_id: DDS domain.
        variables: of the environment of all processes, besides.
    """

    def __init__(self, domain_id: int, **variables: str) -> None:
        self.domain_id = domain_id
        self._variables = variables
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = start_in_ros(list(words), domain_id=self.domain_id, **self._variables)
        self._processes.append(process)
        return process

    def ros2(self, *words: str) -> str:
        """Run a command of ROS 2; some say why they were refused on standard error."""
        done = run_in_ros(
            ["ros2", *words],
            timeout_s=PATIENCE_S,
            domain_id=self.domain_id,
            **self._variables,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def wait_for_state(self, state: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                said = self.ros2("lifecycle", "get", "/vl2")
            except AssertionError as error:
                said = str(error)
            if said.startswith(state):
                return
            assert time.monotonic() < end, said

    def find_node(self) -> int | None:
        """Return the process of the launched node; None when there is none."""
        (group, *_) = (process.pid for process in self._processes)
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                is_node = any(word.endswith(b"lib/vl2_ros/perception") for word in words)
                if is_node and os.getpgid(int(folder.name)) == group:
                    return int(folder.name)
        return None

    def wait_for_node(self, other_than: int | None = None) -> int:
        """Return the process of the launched node, another one than before."""
        end = time.monotonic() + PATIENCE_S
        while (found := self.find_node()) in (None, other_than):
            assert time.monotonic() < end, "the node did not come"
            time.sleep(0.1)
        return found

    def close(self) -> str:
        """End everything as Ctrl-C does; returns what the first process printed."""
        outputs = [""]
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            outputs.append(process.communicate(timeout=30)[0])
        return outputs[-1]

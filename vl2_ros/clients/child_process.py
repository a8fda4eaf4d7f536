"""Child processes: they end with this process, and report why when they end too early."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence

from vl2_ros.errors import TransportError

#: How long a process may take to end by itself, and then after SIGTERM, in seconds.
_GRACE_S = 5.0
_MOST_LINES = 5
#: How often a process beside this one is looked at, in seconds.
_LOOK_PERIOD_S = 1.0


class ChildProcess:
    """One `vl2` command in a process of its own.

    Its standard input is a pipe from here: it ends when this process does, however that ended.

    Args:
        name: of its job, for messages, such as `node`.
        arguments: of the `vl2` command.
        is_heard: what it prints goes to this process's standard output.
    """

    def __init__(self, name: str, arguments: Sequence[str], *, is_heard: bool = False) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vl2_ros.cli", *arguments],
            stdin=subprocess.PIPE,
            stdout=None if is_heard else subprocess.DEVNULL,
            stderr=self._errors,
            # Ctrl-C reaches this process alone, which then ends its children in order.
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def check(self) -> None:
        """Do nothing while the process runs.

        Raises:
            TransportError: with its last words, if it has ended.
        """
        code = self._process.poll()
        if code is None:
            return
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", errors="replace").strip().splitlines()
        words = "\n".join(lines[-_MOST_LINES:]).removeprefix("error: ") or "it said nothing"
        raise TransportError(f"the {self.name} process ended with code {code}: {words}")

    def send_line(self) -> None:
        """Give it an empty line on its standard input.

        Raises:
            TransportError: if it has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        except OSError as error:
            self.check()
            raise TransportError(f"the {self.name} process takes no input: {error}") from error

    def ask_to_end(self) -> None:
        """End its standard input, which it takes as the end of its work; does not wait."""
        assert self._process.stdin is not None
        # Input that could not be sent to a process that has ended is of no use.
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def close(self) -> None:
        """End the process, by force when it does not end by itself."""
        try:
            self.ask_to_end()
            for force in (self._process.terminate, self._process.kill):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_GRACE_S)
                    return
                force()
        finally:
            # A second Ctrl-C while waiting must not leave it behind.
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()
            self._errors.close()


@contextlib.contextmanager
def run_beside(
    name: str, arguments: Sequence[str], on_end: Callable[[TransportError], None]
) -> Iterator[None]:
    """Run a `vl2` command in a process of its own while the body runs; its end ends nothing else.

    Args:
        name: of its job, for messages.
        arguments: of the command.
        on_end: called, on another thread, with its last words when it has ended too early.
    """
    is_over = threading.Event()

    def follow(child: ChildProcess) -> None:
        while not is_over.wait(_LOOK_PERIOD_S):
            try:
                child.check()
            except TransportError as error:
                on_end(error)
                return

    with contextlib.closing(ChildProcess(name, arguments, is_heard=True)) as child:
        thread = threading.Thread(target=follow, args=(child,), name=f"vl2-{name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

"""The handle of one perceiver process: starts it, receives its messages, kills it."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

from vl2_ros.errors import EngineError
from vl2_ros.isolation.channel import Channel, ChannelClosed
from vl2_ros.isolation.messages import (
    GPU_LOST_CODE,
    Cancel,
    Done,
    Forget,
    Happened,
    Load,
    Loaded,
    Order,
    Report,
    Run,
)
from vl2_ros.structures import ModelInfo, ResultEvent, StageEvent

#: What the process runs: with the module paths of this one, and without the folder it stands in.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from vl2_ros.isolation.perceiver_process import main; main(int(sys.argv[2]))"
)
#: How long a process that was killed is waited for, in seconds. One that hangs in a driver may take
#: longer; then the system ends it when it can.
_GRACE_S = 2.0

_log = logging.getLogger(__name__)


class PerceiverHandle:
    """Starts a perceiver process and stores its messages; never used again once it is gone.

    To be made by a thread that lives as long as the process is to: Linux ends the process with it.

    Args:
        load: pickle of a callable that makes the perceiver.

    Attributes:
        inbox: messages of the process, in order; at its end None.
        gone: set when the process has ended, or is given up.
        info: the last info of its model; None before it has loaded.
        has_answered: a run has given its result.
    """

    def __init__(self, load: bytes) -> None:
        """Start the process; it sends `Loaded` or `Failed` when it has loaded.

        Raises:
            EngineError: if the system starts no further process.
        """
        self.inbox: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self.gone = threading.Event()
        self.info: ModelInfo | None = None
        self.has_answered = False
        self._lock = threading.Lock()
        self._stage = "load"
        self._running: set[int] = {0}
        self._frames: set[int] = set()
        self._last_sign_s = time.monotonic()
        self._reason = ""
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        with theirs:
            self._process = self._start(theirs.fileno())
        threading.Thread(target=self._listen, name="vl2 perceiver", daemon=True).start()
        self._send(Load(load))

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def describe_end(self) -> str:
        """Return how the process ended and what it did then; to be called once it is gone."""
        with self._lock:
            doing = f"in stage {self._stage}" if self._running else "while idle"
            return f"{self._reason} {doing}"

    def find_silence_s(self) -> float:
        """Return for how long the process has worked without a message, in seconds; 0 when idle."""
        with self._lock:
            return time.monotonic() - self._last_sign_s if self._running else 0.0

    def run(self, message: Run) -> None:
        """Send a run, its frame only where the process does not keep it; events come to the inbox.

        Raises:
            EngineError: if there is no memory for its images.
        """
        with self._lock:
            if not self._running:
                self._last_sign_s = time.monotonic()
                self._stage = "wait"
            self._running.add(message.number)
            is_kept = message.frame_number in self._frames
        try:
            self._send(replace(message, frame=None) if is_kept else message)
        except BaseException:
            with self._lock:
                self._running.discard(message.number)
            raise
        with self._lock:
            self._frames.add(message.frame_number)

    def cancel(self, number: int) -> None:
        """Stop a run before its next event."""
        self._send(Cancel(number))

    def forget(self, number: int) -> None:
        """Free the memory that a run gave, or a frame; waits as long as the process reads nothing.

        Args:
            number: of the run, or of the frame.
        """
        with self._lock:
            self._frames.discard(number)
        self._send(Forget(number))

    def kill(self, reason: str) -> None:
        """End the process by force; its later messages are not received.

        Args:
            reason: reported as the process's end, unless it has ended already.
        """
        with self._lock:
            self._reason = self._reason or reason
        self._process.kill()
        self._channel.close()

    def close(self) -> None:
        """End the process; it has nothing to put in order."""
        self.kill("was closed")
        self._wait()

    def _start(self, handle: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), str(handle)]
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=2,  # what libraries print is no output of this process
                pass_fds=[handle],
            )
        except OSError as error:
            self._channel.close()
            raise EngineError(
                f"the perceiver process cannot be started: {error}; free memory or processes"
            ) from error

    def _send(self, message: Order) -> None:
        try:
            self._channel.send(message)
        except ChannelClosed:
            pass  # the reader of the inbox sees the end
        except OSError as error:
            raise EngineError(
                f"the images cannot be passed to the perceiver process: {error}; free memory"
            ) from error

    def _listen(self) -> None:
        try:
            while True:
                message: Report = self._channel.receive()
                self._note(message)
                self.inbox.put(message)
        except ChannelClosed:
            pass
        except Exception as error:  # a message that cannot be read, or no memory for it
            _log.exception("a message of the perceiver process cannot be read")
            self.kill(f"was killed as its message could not be read ({error})")
        finally:
            self._end()

    def _note(self, message: Report) -> None:
        with self._lock:
            self._last_sign_s = time.monotonic()
            if isinstance(message, Loaded | Done):
                self.info = message.info
                self._running.discard(message.number)
            elif isinstance(message, Happened) and isinstance(message.event, StageEvent):
                self._stage = message.event.stage
            elif isinstance(message, Happened) and isinstance(message.event, ResultEvent):
                self.has_answered = True

    def _end(self) -> None:
        """Store why it ended and mark it as gone."""
        if not self._wait():
            self._process.kill()
            self._wait()
        self._channel.close()
        with self._lock:
            self._reason = self._reason or _describe_code(self._process.returncode)
        self.gone.set()
        self.inbox.put(None)

    def _wait(self) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
            return True
        return False


def _describe_code(code: int | None) -> str:
    if code is None:
        return "closed its connection and does not end"
    if code == GPU_LOST_CODE:
        return "ended as its GPU answers no call any more"
    if code >= 0:
        return f"ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    why = "; the system does so when memory runs out" if -code == signal.SIGKILL else ""
    return f"was ended by signal {-code} ({name}{why})"

"""A perceiver in a child process: a crash or a hang there ends neither the node nor its worker."""

from __future__ import annotations

import itertools
import logging
import pickle
import queue
import socket
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from vl2_ros.errors import ConfigError, EngineError
from vl2_ros.flow.frame_memory import FrameMemory
from vl2_ros.isolation.memories import MemoryHandles, read_number
from vl2_ros.isolation.messages import Done, Failed, Happened, Run
from vl2_ros.isolation.perceiver_handle import PerceiverHandle
from vl2_ros.isolation.supervisor import Supervisor, Watchdog
from vl2_ros.node.perceiver import Perceiver
from vl2_ros.structures import Command, Event, Frame, ModelInfo, ResultEvent, StageEvent

#: How often a silent run yields, so that its caller may stop it, in seconds.
_PERIOD_S = 0.05
#: How long a run waits for a process that is being restarted, in seconds.
_PATIENCE_S = 5.0

_log = logging.getLogger(__name__)


def can_isolate() -> bool:
    """Return whether this system can pass files between processes, which arrays need."""
    return hasattr(socket, "send_fds")


class _NotBegunError(EngineError):
    """A process ended before it reported anything of a run."""


class ChildPerceiver:
    """A `Perceiver` that runs in a process of its own.

    The process is killed when it hangs, and started anew whenever it has ended; meanwhile each run
    waits a little and then fails with the reason. One run at a time, as with every perceiver.

    The memory of a watch stays in the process. Results carry a handle of it, which comes back with
    the next frame; the memory is freed when nothing refers to the handle any more. A handle of a
    process that has ended is unknown to the next process, which begins anew. A frame is sent once
    for all commands about it, and kept in the process as long as it is there.

    Args:
        load: makes the perceiver, in the process; importable by name there, such as a function of
            a module or a `functools.partial` of one.
        watchdog: when the process counts as hung.

    Raises:
        VL2Error: as `load` raises it; ConfigError if it has no such name, or on Windows.
        ModuleNotFoundError: if `load` needs a package that is not installed.
    """

    def __init__(self, load: Callable[[], Perceiver], watchdog: Watchdog | None = None) -> None:
        """Start the process and wait until it has loaded."""
        if not can_isolate():
            raise ConfigError("the watchdog needs Linux or macOS; switch it off")
        try:
            pickled = pickle.dumps(load)
        except Exception as error:  # pickle raises what it likes
            raise ConfigError(
                f"load must be importable by name in another process, got {load!r}: {error}"
            ) from error
        self._numbers = itertools.count(1)
        self._supervisor = Supervisor(pickled, watchdog or Watchdog())
        self._memories = MemoryHandles(self._supervisor.forget)
        self._frames = FrameMemory()
        try:
            self._supervisor.start()
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> ModelInfo:
        """Return name, identity, backend and routes of the model."""
        return self._supervisor.info

    @property
    def pid(self) -> int:
        """Return the id of the process, for tools that look at it; another after a restart."""
        return self._supervisor.pid

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        """Answer a command about a frame; closing the iterator stops the run.

        Args:
            frame: the image.
            command: the sentence and its limits.
            memory: the handle in the last result of the same watch; None begins anew.

        Yields:
            The perceiver's events. Where there is none for a while the present stage is reported
            again, so that the caller can stop; `restart` while there is no process, `wait` while it
            works on a run that was stopped before.

        Raises:
            InputError: if `memory` is no handle.
            VL2Error: as the perceiver raises it; EngineError if the process ends, and for errors of
                other kinds, whose traceback is logged.
        """
        kept = read_number(memory)
        # A process that ended before it began with the run had no part in it: once more.
        for _ in range(2):
            process = yield from self._find_process()
            try:
                yield from self._run_on(process, frame, command, kept)
                return
            except _NotBegunError as end:
                reason = str(end)
        raise EngineError(reason)

    def close(self) -> None:
        """End the process within seconds; twice is harmless. A run that is not done fails."""
        self._supervisor.close()
        self._memories.close()

    def _find_process(self) -> Generator[Event, None, PerceiverHandle]:
        end_s = time.monotonic() + _PATIENCE_S
        while (process := self._supervisor.wait_for_process(_PERIOD_S)) is None:
            if time.monotonic() > end_s:
                raise EngineError(self._supervisor.explain_absence())
            yield StageEvent("restart")
        return process

    def _run_on(
        self, process: PerceiverHandle, frame: Frame, command: Command, kept: int | None
    ) -> Iterator[Event]:
        handle = self._frames.get(frame, "handle", lambda: self._memories.make(next(self._numbers)))
        number = next(self._numbers)
        is_over = False
        process.run(Run(number, frame, handle.number, command, kept))
        try:
            for event in self._follow(process, number):
                is_over = isinstance(event, ResultEvent)
                yield event
        finally:
            if not is_over:
                process.cancel(number)

    def _follow(self, process: PerceiverHandle, number: int) -> Iterator[Event]:
        """Yield the events of a run up to its result; raise what ended it otherwise."""
        stage = ""
        while True:
            try:
                message = process.inbox.get(timeout=_PERIOD_S)
            except queue.Empty:
                yield StageEvent(stage or "wait")
                continue
            if message is None:
                kind = EngineError if stage else _NotBegunError
                raise kind(
                    f"the perceiver process {process.describe_end()}; it is being restarted, ask "
                    "again"
                )
            if message.number != number:
                continue  # of a run that was stopped
            if isinstance(message, Failed):
                if message.traceback:
                    _log.error("the perceiver raised in its process:\n%s", message.traceback)
                raise message.make_error()
            if isinstance(message, Done):
                raise EngineError("the perceiver ended without a result")
            if isinstance(message, Happened):
                stage = getattr(message.event, "stage", stage or "run")
                yield self._read(message)
                if isinstance(message.event, ResultEvent):
                    return

    def _read(self, message: Happened) -> Event:
        """Return the event, with a handle where the process kept a memory."""
        event = message.event
        if isinstance(event, ResultEvent) and event.memory is not None:
            return replace(event, memory=self._memories.make(message.number))
        return event

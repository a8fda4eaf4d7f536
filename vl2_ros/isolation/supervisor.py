"""Keep one perceiver process running: load it, kill it when it hangs, restart it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import dataclass

from vl2_ros.errors import ConfigError, EngineError
from vl2_ros.isolation.messages import Failed, Loaded
from vl2_ros.isolation.perceiver_handle import PerceiverHandle
from vl2_ros.structures import ModelInfo

#: Seconds between two checks of a process.
_PERIOD_S = 0.1
#: The longest pause before a start, in seconds.
_MOST_PAUSE_S = 30.0
#: How long closing may take beyond the process's own grace, in seconds.
_CLOSE_S = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watchdog:
    """Limits after which a perceiver process counts as hung.

    Attributes:
        stall_s: seconds without an event of a run.
        load_s: seconds of loading.
    """

    stall_s: float = 30.0
    load_s: float = 600.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not (self.stall_s > 0 and self.load_s > 0):
            raise ConfigError(f"stall_s and load_s must be above 0, got {self}")


class Supervisor:
    """Keeps a loaded process ready whenever that is possible.

    Its one thread starts every process, as Linux ends a process with the thread that started it.

    Args:
        load: pickle of a callable that makes the perceiver.
        watchdog: limits.
    """

    def __init__(self, load: bytes, watchdog: Watchdog) -> None:
        self._load = load
        self._watchdog = watchdog
        self._changed = threading.Condition()
        self._is_closed = False
        self._process: PerceiverHandle | None = None
        self._is_loaded = False
        self._info: ModelInfo | None = None
        self._failure: Exception | None = None
        self._last_end = ""
        self._next_start_s = 0.0
        self._thread = threading.Thread(target=self._supervise, name="vl2 watchdog", daemon=True)

    def start(self) -> None:
        """Start the first process and wait until it has loaded.

        Raises:
            VL2Error: as loading raised it there, or EngineError if the process ended meanwhile.
            ModuleNotFoundError: if loading needs a package that is not there.
        """
        self._thread.start()
        with self._changed:
            # In pieces, because an interrupt of the main thread is only seen between two of them.
            while self._info is None and self._failure is None:
                self._changed.wait(_PERIOD_S)
            if self._failure is not None:
                raise self._failure

    @property
    def info(self) -> ModelInfo:
        """Return the last info of the process about its model."""
        process = self._process
        info = (process and process.info) or self._info
        assert info is not None
        return info

    @property
    def pid(self) -> int:
        """Return the id of the newest process."""
        assert self._process is not None
        return self._process.pid

    def forget(self, number: int) -> None:
        """Free the memory that a run gave, or a frame; those of ended processes are gone."""
        process = self._process
        if process is not None:
            process.forget(number)

    def wait_for_process(self, timeout_s: float) -> PerceiverHandle | None:
        """Return the process when it is loaded; None when none is within the time.

        Raises:
            EngineError: if this was closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._find(), timeout_s)
            if self._is_closed:
                raise EngineError("the perceiver was closed; load it again")
            return self._find()

    def explain_absence(self) -> str:
        """Return why there is no process now, and when to ask again."""
        with self._changed:
            pause_s = self._next_start_s - time.monotonic()
            when = f"is started again in {pause_s:.0f} s" if pause_s > 1 else "is being restarted"
            return (
                f"the perceiver process {self._last_end or 'is not there'}; it {when}; ask again "
                f"in {max(1.0, pause_s) + 1:.0f} s"
            )

    def close(self) -> None:
        """End the process and the thread; twice is harmless."""
        with self._changed:
            self._is_closed = True
            process = self._process
            self._changed.notify_all()
        if process is not None:
            process.close()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_S)

    def _find(self) -> PerceiverHandle | None:
        process = self._process
        return process if process and self._is_loaded and not process.gone.is_set() else None

    def _supervise(self) -> None:
        losses = 0
        while not self._is_closed:
            began_s = time.monotonic()
            try:
                process = self._start_process()
                self._offer(process, self._await_info(process), time.monotonic() - began_s)
                self._watch(process)
                self._info, end = process.info, process.describe_end()
                losses = 1 if process.has_answered else losses + 1
            except Exception as error:  # whatever it is, the next start is tried
                with self._changed:
                    if self._info is None:
                        self._failure = error
                        self._changed.notify_all()
                        return
                end = f"could not be loaded again: {type(error).__name__}: {error}"
                losses += 1
            self._pause(end, losses)

    def _start_process(self) -> PerceiverHandle:
        process = PerceiverHandle(self._load)
        with self._changed:
            self._process, self._is_loaded = process, False
            is_closed = self._is_closed
        if is_closed:  # while it was started, when `close` could not see it
            process.close()
        return process

    def _await_info(self, process: PerceiverHandle) -> ModelInfo:
        """Wait until the process has loaded; raise its error otherwise."""
        limit_s = self._watchdog.load_s
        try:
            message = process.inbox.get(timeout=limit_s)
        except queue.Empty:
            process.kill(f"was killed after loading for {limit_s:g} s")
            message = None
        if isinstance(message, Loaded):
            return message.info
        if isinstance(message, Failed):
            process.close()
            if message.traceback and not message.missing:
                _log.error("the perceiver process could not load:\n%s", message.traceback)
            raise message.make_error()
        process.gone.wait()
        raise EngineError(f"the perceiver process {process.describe_end()}")

    def _offer(self, process: PerceiverHandle, info: ModelInfo, spent_s: float) -> None:
        with self._changed:
            before, self._info = self._info, info
            self._is_loaded = True
            self._changed.notify_all()
        if before is not None:
            _log.info("the perceiver process %d answers again after %.1f s", process.pid, spent_s)
        if before not in (None, info):
            _log.warning("the restarted perceiver is another: %s, before %s", info, before)

    def _watch(self, process: PerceiverHandle) -> None:
        """Wait until the process has ended; kill it when it hangs."""
        stall_s = self._watchdog.stall_s
        looks = 0
        while not process.gone.wait(_PERIOD_S):
            looks = looks + 1 if process.find_silence_s() > stall_s else 0
            # Twice: where this process was stopped, messages sent meanwhile must be read first.
            if looks > 1:
                process.kill(f"was killed after hanging for {stall_s:g} s")

    def _pause(self, end: str, losses: int) -> None:
        """Log the end of a process and wait, longer after each loss but the first."""
        pause_s = min(2.0 ** (losses - 2), _MOST_PAUSE_S) if losses > 1 else 0.0
        with self._changed:
            if self._is_closed:
                return
            self._last_end, self._next_start_s = end, time.monotonic() + pause_s
            _log.error("the perceiver process %s; it is started again in %g s", end, pause_s)
            self._changed.wait_for(lambda: self._is_closed, pause_s)

"""The perceiver's process: loads it, runs commands, and ends with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import pickle
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from vl2_ros.isolation.channel import Channel, ChannelClosed
from vl2_ros.isolation.cuda_health import is_cuda_lost
from vl2_ros.isolation.messages import (
    GPU_LOST_CODE,
    Cancel,
    Done,
    Failed,
    Forget,
    Happened,
    Load,
    Loaded,
    Order,
    Run,
    describe_failure,
)
from vl2_ros.node.perceiver import Perceiver
from vl2_ros.structures import Event, Frame, ResultEvent

#: What PR_SET_PDEATHSIG is called in prctl(2).
_SET_PARENT_DEATH_SIGNAL = 1
#: 0 is usual, 1000 is the first to go.
_OOM_SCORE = "500"


def main(handle: int) -> None:
    """Serve the parent until it is gone.

    Args:
        handle: descriptor of this end of the socket pair.
    """
    _belong_to_parent()
    channel = Channel(socket.socket(fileno=handle))
    try:
        _serve(_Inbox(channel), channel)
    except ChannelClosed:
        _leave()


class _Inbox:
    """Messages of the parent, received on a thread of its own, and the runs that it canceled."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._wanted: queue.SimpleQueue[Load | Run | Forget] = queue.SimpleQueue()
        self._last_canceled = 0
        threading.Thread(target=self._receive, name="vl2 inbox", daemon=True).start()

    def wait(self) -> Load | Run | Forget:
        return self._wanted.get()

    def is_canceled(self, number: int) -> bool:
        # Runs are numbered in order, and the parent has one at a time.
        return number <= self._last_canceled

    def _receive(self) -> None:
        try:
            while True:
                message: Order = self._channel.receive()
                if isinstance(message, Cancel):
                    self._last_canceled = message.number
                    # Its result may be on its way already, where it is not read any more.
                    self._wanted.put(Forget(message.number))
                elif isinstance(message, Load | Run | Forget):
                    self._wanted.put(message)
        except ChannelClosed:
            pass
        except BaseException:
            logging.getLogger(__name__).exception("a message of the node could not be read")
        finally:
            # At once and without ceremony: the main thread may hang in foreign code.
            _leave()


def _serve(inbox: _Inbox, channel: Channel) -> None:
    load = inbox.wait()
    assert isinstance(load, Load)
    try:
        make: Callable[[], Perceiver] = pickle.loads(load.pickled)
        perceiver = make()
        channel.send(Loaded(perceiver.info))
    except BaseException as error:
        channel.send(describe_failure(error))
        _leave()
    memories: dict[int, object] = {}
    # The same object for all commands about a frame: perceivers keep what they computed with it.
    frames: dict[int, Frame] = {}
    while True:
        run = inbox.wait()
        if isinstance(run, Forget):
            memories.pop(run.number, None)
            frames.pop(run.number, None)
            continue
        assert isinstance(run, Run)
        if run.frame is not None:
            frames[run.frame_number] = run.frame
        failure = _answer(perceiver, run, frames[run.frame_number], memories, inbox, channel)
        if failure is not None:
            channel.send(failure)
            if is_cuda_lost():
                _leave(GPU_LOST_CODE)
        channel.send(Done(run.number, perceiver.info))
        # Not kept until the next one comes: its frame and arrays are memory.
        del run, failure


def _answer(
    perceiver: Perceiver,
    run: Run,
    frame: Frame,
    memories: dict[int, object],
    inbox: _Inbox,
    channel: Channel,
) -> Failed | None:
    """Run a command and send its events; the memory of its result stays here."""
    try:
        if inbox.is_canceled(run.number):
            return None
        memory = None if run.memory is None else memories.get(run.memory)
        with _closing(perceiver.run(frame, run.command, memory)) as events:
            for event in events:
                if inbox.is_canceled(run.number):
                    return None
                channel.send(Happened(run.number, _keep(event, run.number, memories)))
    except ChannelClosed:
        raise
    except BaseException as error:  # also SystemExit of a native library: the process lives on
        return describe_failure(error, run.number)
    return None


def _keep(event: Event, number: int, memories: dict[int, object]) -> Event:
    """Return the event as the parent receives it: the number of the run in place of its memory."""
    if not isinstance(event, ResultEvent) or event.memory is None:
        return event
    memories[number] = event.memory
    return replace(event, memory=number)


@contextlib.contextmanager
def _closing(events: Iterator[Event]) -> Iterator[Iterator[Event]]:
    try:
        yield events
    finally:
        # An iterator that is no generator has nothing to close.
        getattr(events, "close", lambda: None)()


def _belong_to_parent() -> None:
    """End with the parent, whatever this process does then; leave signals to the group to it."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    if sys.platform == "linux":
        # The end of the socket is not enough: a stopped process, or a hang with the GIL, misses it.
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        # Where memory runs out, the kernel is to end this process before the node.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    faulthandler.enable()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")


def _leave(code: int = 0) -> NoReturn:
    os._exit(code)

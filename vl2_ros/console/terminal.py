"""What the command line takes from its user: files of sentences, rules, lines, signals."""

from __future__ import annotations

import _thread
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from vl2_ros.console import display
from vl2_ros.documents import read_text
from vl2_ros.errors import InputError

#: Exit code of a process that cannot do its work any more; launch and systemd start it again.
EXIT_FAILED = 70
#: Most bytes of a file of sentences.
_MAX_BYTES = 512 << 10


def read_sentences(path: Path) -> list[str]:
    """Read one sentence a line; empty lines and those that begin with # are skipped.

    Raises:
        InputError: if the file cannot be read or holds no sentence.
    """
    text = read_text(path, InputError, max_bytes=_MAX_BYTES, advice="expected one sentence a line")
    lines = [line.strip() for line in text.splitlines()]
    sentences = [line for line in lines if line and not line.startswith("#")]
    if not sentences:
        raise InputError(f"{path} holds no sentence; expected one a line")
    return sentences


def read_remaps(rules: list[str] | None) -> dict[str, str]:
    """Read topics and their other names, written `from:=to`.

    Raises:
        InputError: if one is written otherwise.
    """
    remaps = {}
    for rule in rules or []:
        source, sign, target = rule.partition(":=")
        if not (sign and source and target):
            raise InputError(
                f"a remapping must be written from:=to, such as image:=/camera/image_raw, got "
                f"{rule!r}"
            )
        remaps[source] = target
    return remaps


def hear_signals() -> AbstractContextManager[None]:
    """Make Ctrl-C and a polite kill a KeyboardInterrupt in the body, so that it can clean up."""
    # A shell lets its background jobs ignore SIGINT; here it is always an end.
    return _handle_signals(signal.default_int_handler)


def ignore_signals() -> AbstractContextManager[None]:
    """Let no second Ctrl-C or polite kill cut the body short, which must be bounded in time."""
    return _handle_signals(signal.SIG_IGN)


@contextmanager
def _handle_signals(handler: Any) -> Iterator[None]:
    names = (signal.SIGINT, signal.SIGTERM)
    before = {name: signal.signal(name, handler) for name in names}
    try:
        yield
    finally:
        for name, former in before.items():
            signal.signal(name, former)


@contextmanager
def end_quietly() -> Iterator[None]:
    """Let Ctrl-C and a polite kill end the body without a message."""
    with suppress(KeyboardInterrupt), hear_signals():
        yield


def read_steps() -> queue.SimpleQueue[bool]:
    """Read standard input on a thread of its own: True for each line, False at its end."""
    steps: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def follow() -> None:
        for _ in sys.stdin:
            steps.put(True)
        steps.put(False)

    threading.Thread(target=follow, name="vl2-input", daemon=True).start()
    return steps


def interrupt_at_end_of_input() -> None:
    """Interrupt the main thread, as Ctrl-C does, when standard input ends."""

    def follow() -> None:
        for _ in sys.stdin:
            pass
        _thread.interrupt_main()

    threading.Thread(target=follow, name="vl2-input", daemon=True).start()


def leave_process(code: int) -> None:
    """End the process at once; what must be closed in order is closed before.

    No thread that hangs is waited for, and the interpreter does not destroy its objects: with
    PyTorch that takes seconds, and launch sends the next signal after five. What was logged is
    out, as each line is written when it is logged; printed text may wait in a buffer.
    """
    for stream in (sys.stdout, sys.stderr):
        # Who reads it may have ended before.
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


class NodeEnd:
    """Ends the process of a node, with a code that restarts it when a part of it has failed.

    Attributes:
        reason: why the node cannot continue; empty while it can.
    """

    def __init__(self) -> None:
        """Begin without a reason."""
        self.reason = ""

    def note(self, reason: str) -> None:
        """Keep the first reason and interrupt the main thread, as Ctrl-C does."""
        self.reason = self.reason or reason
        _thread.interrupt_main()

    def end(self) -> None:
        """Leave the process, once the node is closed or when it cannot be."""
        if self.reason:
            display.show_error(self.reason)
        leave_process(EXIT_FAILED if self.reason else 0)

    def end_within(self, limit_s: float) -> None:
        """Leave the process after so many seconds, should it not have ended by itself."""

        def leave() -> None:
            self.reason = self.reason or f"the process did not end within {limit_s:g} s"
            self.end()

        timer = threading.Timer(limit_s, leave)
        timer.daemon = True
        timer.start()


def wait_for_interrupt() -> None:
    """Wait for ever; a KeyboardInterrupt ends it."""
    while True:
        # In pieces, because an interrupt that is no signal is only seen between two of them.
        time.sleep(0.5)

"""Calls that may fail without ending the thread that makes them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from vl2_ros.node.quiet_log import RepeatedLog

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def guarded(
    call: Callable[Given, Returned], what: str, log: RepeatedLog
) -> Callable[Given, Returned | None]:
    """Wrap a call so that what it raises is logged and counted, and goes no further.

    That includes what is no `Exception`, such as a panic of a native library. Only the main
    thread's KeyboardInterrupt and SystemExit pass: there they end the process, elsewhere they
    would end a thread that others wait for.

    Args:
        call: what is called.
        what: names it in the log, such as "the callback of /image"; also the key in `log`.
        log: writes the first failure with its traceback, later ones as a count.

    Returns:
        The wrapped call; it returns None when `call` raised.
    """

    def guard(*args: Given.args, **options: Given.kwargs) -> Returned | None:
        try:
            return call(*args, **options)
        except BaseException as error:
            if ends_process(error):
                raise
            tell_failure(log, what, error)
            return None

    return guard


def ends_process(error: BaseException) -> bool:
    """Tell whether an exception is the main thread's way out, which no guard may stop."""
    is_exit = isinstance(error, (KeyboardInterrupt, SystemExit))
    return is_exit and threading.current_thread() is threading.main_thread()


def tell_failure(log: RepeatedLog, what: str, error: BaseException) -> None:
    """Log that something failed: the first time with its traceback, then as a count."""
    log.log(logging.ERROR, what, "%s failed, the rest goes on: %r", what, error, exc_info=error)

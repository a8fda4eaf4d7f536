"""Calls that may fail without ending the thread that makes them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from vl2_ros.errors import VL2Error
from vl2_ros.node.quiet_log import RepeatedLog

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def guarded(
    call: Callable[Given, Returned], what: str, log: RepeatedLog
) -> Callable[Given, Returned | None]:
    """Wrap a call so that what it raises is logged and counted, and not raised further.

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
            log_failure(log, what, error)
            return None

    return guard


def ends_process(error: BaseException) -> bool:
    """Return whether an exception ends the main thread, which no guard may prevent."""
    is_exit = isinstance(error, (KeyboardInterrupt, SystemExit))
    return is_exit and threading.current_thread() is threading.main_thread()


def log_failure(log: RepeatedLog, what: str, error: BaseException) -> None:
    """Log that something failed: the first time with its traceback, then as a count."""
    shown = _show(repr, error)
    log.log(logging.ERROR, what, "%s failed, the rest continues: %s", what, shown, exc_info=error)


def error_text(error: BaseException) -> str:
    """Return the text of an error in a form that any message and log can contain; never fails."""
    return _show(str, error)


def describe_error(error: BaseException) -> str:
    """Return class and text of an error as any message and log can contain them; never fails."""
    return f"{type(error).__name__}: {error_text(error)}"


def _show(turn: Callable[[BaseException], str], error: BaseException) -> str:
    try:
        # Halves of surrogate pairs stand for bytes of file names; no message can contain them.
        return turn(error).encode("utf-8", errors="backslashreplace").decode()
    except BaseException as further:
        if ends_process(further):
            raise
        return f"{type(error).__name__} without a text"


def catch_failure(what: str, call: Callable[[], None], log: RepeatedLog) -> BaseException | None:
    """Run code so that the calling thread survives whatever it raises.

    Args:
        what: names the code in the log.
        call: the code.
        log: writes the first failure with its traceback, later ones as a count.

    Returns:
        What it raised; None when all went well. A VL2Error is the caller's to log.
    """
    try:
        call()
    except VL2Error as error:
        return error
    except BaseException as error:
        if ends_process(error):
            raise
        log_failure(log, f"{what} ({type(error).__name__})", error)
        return error
    return None

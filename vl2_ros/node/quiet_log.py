"""Limit repeated log lines: the first in full, the rest as one line a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

#: Keys that are remembered; a log with more kinds of lines cannot be read anyway.
MOST_KEYS = 256


@dataclass(slots=True)
class _Repeated:
    """Of one key: when its last line was written, and what was suppressed since."""

    logged_s: float
    level: int
    text: str = ""
    count: int = 0


class RepeatedLog:
    """Writes the first line of each key at once and counts the repeats of a period.

    A key stands for a cause (`"watch failed"`), not for what a sender can choose freely, such as
    the id of a command: with a new key for each message nothing would be suppressed. May be used
    from any thread.

    Args:
        logger: where the lines go.
        period_s: seconds between two lines of one key.
        clock: seconds that never go back.
        most_keys: keys that are remembered; the one whose line is the oldest is forgotten first.
    """

    def __init__(
        self,
        logger: logging.Logger,
        period_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        most_keys: int = MOST_KEYS,
    ) -> None:
        self._logger, self._period_s, self._clock = logger, period_s, clock
        self._most_keys = most_keys
        self._lock = threading.Lock()
        self._keys: OrderedDict[str, _Repeated] = OrderedDict()

    def log(
        self,
        level: int,
        key: str,
        message: str,
        *args: object,
        exc_info: bool | BaseException = False,
    ) -> bool:
        """Write a line, or count it when its key had one within the period.

        Args:
            level: of `logging`.
            key: lines with the same key are repeats.
            message: with %-placeholders for `args`, which are filled in here.
            args: values.
            exc_info: add the traceback, of the first line of a key only.

        Returns:
            Whether a line was written.
        """
        now = self._clock()
        with self._lock:
            known = self._keys.get(key)
            if known is not None and now - known.logged_s < self._period_s:
                if not known.count:
                    # Once in a period: a flood must not cost the time of its texts.
                    known.level, known.text = level, _fill(message, args)
                known.count += 1
                return False
            self._keys[key] = _Repeated(now, level)
            self._keys.move_to_end(key)
            while len(self._keys) > self._most_keys:
                self._keys.popitem(last=False)
        text = _fill(message, args)
        if known is not None and known.count:
            text += _describe_count(known.count, now - known.logged_s)
        self._logger.log(level, "%s", text, exc_info=exc_info if known is None else None)
        return True

    def flush(self) -> None:
        """Log the counts of keys whose period is over, so that the end of a flood shows.

        To be called by a timer.
        """
        now = self._clock()
        with self._lock:
            due = [
                one
                for one in self._keys.values()
                if one.count and now - one.logged_s >= self._period_s
            ]
            lines = [
                (one.level, one.text + _describe_count(one.count, now - one.logged_s))
                for one in due
            ]
            for one in due:
                one.logged_s, one.count = now, 0
        for level, line in lines:
            self._logger.log(level, "%s", line)


def _fill(message: str, args: tuple[object, ...]) -> str:
    return message % args if args else message


def _describe_count(count: int, seconds: float) -> str:
    return f" ({count} more times in the last {seconds:.0f} s)"

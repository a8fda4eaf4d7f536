"""A level meter: one line at the bottom of a terminal that follows the sound and the words."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

from vl2_ros.processing.printable import make_printable

#: Seconds between two drawings.
PERIOD_S = 0.08
_CELLS = 24
#: Level of an empty bar; a quiet room is below.
_QUIETEST_DB = -60.0


class LevelMeter:
    """Draws the level of a stream, where there is a terminal.

    Args:
        terminal: where it is drawn; by default standard error. Nothing is drawn elsewhere.

    Attributes:
        is_shown: whether that is a terminal.
    """

    def __init__(self, terminal: TextIO | None = None) -> None:
        self._terminal = terminal or sys.stderr
        self.is_shown = self._terminal is not None and self._terminal.isatty()
        self._due_s = 0.0
        self._width = 0

    def show(self, level_db: float, *, is_speech: bool, words: str = "") -> None:
        """Draw the level and the words so far, at most a dozen times a second."""
        now_s = time.monotonic()
        if not self.is_shown or now_s < self._due_s:
            return
        self._due_s = now_s + PERIOD_S
        line = draw_level(level_db, is_speech=is_speech, words=make_printable(words))
        # A line that wraps could not be drawn over.
        line = line[: shutil.get_terminal_size().columns - 1]
        self._terminal.write(f"\r{line.ljust(self._width)}")
        self._terminal.flush()
        self._width = len(line)

    def clear(self) -> None:
        """Remove the line, so that others can be printed."""
        if self._width:
            self._terminal.write(f"\r{' ' * self._width}\r")
            self._terminal.flush()
            self._width, self._due_s = 0, 0.0


def draw_level(level_db: float, *, is_speech: bool, words: str = "") -> str:
    """Draw a level in decibels of full scale as a bar, its number, and the speech so far.

    Example:
        >>> draw_level(-30.0, is_speech=True, words="Find the")
        '############............ -30 dB speech Find the'
    """
    share = min(1.0, max(0.0, 1.0 - level_db / _QUIETEST_DB))
    full = round(share * _CELLS)
    bar = "#" * full + "." * (_CELLS - full)
    return f"{bar} {level_db:3.0f} dB{f' speech {words}'.rstrip() if is_speech else ''}"

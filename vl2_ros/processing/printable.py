"""Text that strangers wrote, made safe for a terminal and a log."""

from __future__ import annotations

import re

# Control characters (a terminal obeys them), line separators (a log would show a line that nobody
# wrote), what turns the direction of text or is not seen at all, and halves of surrogate pairs,
# which no stream takes.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029"
    "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
    "\ud800-\udfff]"
)


def make_printable(text: object, *, most: int | None = None, keep_lines: bool = False) -> str:
    r"""Replace what a terminal would obey or hide by visible escapes, such as `\x1b` and `\n`.

    Args:
        text: as it came; what is no str is turned into one.
        most: characters of `text` that are shown; the rest is cut, with its length told.
        keep_lines: leave line feeds, where several lines are wanted.

    Returns:
        One line, unless `keep_lines`.
    """
    whole = str(text)
    shown = whole if most is None else whole[:most]
    safe = _UNSAFE.sub(lambda found: _escape(found[0], keep_lines), shown)
    return safe if len(shown) == len(whole) else f"{safe}... ({len(whole)} characters)"


def _escape(character: str, keep_lines: bool) -> str:
    if character == "\n" and keep_lines:
        return character
    return character.encode("unicode_escape").decode("ascii")

"""Make untrusted text safe for a terminal and a log."""

from __future__ import annotations

import re

# Control characters (a terminal obeys them), line separators (a log would show a forged line),
# characters that turn the direction of text or are invisible, and halves of surrogate pairs,
# which no stream accepts.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029"
    "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
    "\ud800-\udfff]"
)


def make_printable(text: object, *, most: int | None = None, keep_lines: bool = False) -> str:
    r"""Replace what a terminal would obey or hide by visible escapes, such as `\x1b` and `\n`.

    Args:
        text: untrusted; other types are converted to str.
        most: characters of `text` that are shown; the rest is cut and its length reported.
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

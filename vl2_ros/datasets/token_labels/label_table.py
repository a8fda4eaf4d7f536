"""The words that image tokens are labelled with, in an order that weights depend on.

Rows are only ever added at the end; a row without a word is kept for one that comes later, so that
what was trained on fewer words goes on.
"""

from __future__ import annotations

from collections.abc import Mapping

from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS

#: Rows of the table, free ones included; row 0 is "none of them".
KIND_ROWS, COLOR_ROWS = 73, 13
#: Label of what the table has no word for: no loss applies.
UNKNOWN = -1

#: What the tabletop shows, then what households have and photos are labelled with, then more.
KIND_WORDS: tuple[str, ...] = (
    *KINDS,
    *("person", "bicycle", "car", "motorcycle", "bus", "truck", "boat", "bench", "fire hydrant"),
    *("cat", "dog", "horse", "bird", "backpack", "umbrella", "handbag", "suitcase", "skateboard"),
    *("sports ball", "tennis racket", "wine glass", "cup", "fork", "knife", "spoon", "cake"),
    *("couch", "potted plant", "bed", "dining table", "toilet", "sink", "tv", "laptop", "remote"),
    *("cell phone", "microwave", "oven", "toaster", "refrigerator", "clock", "vase", "chair"),
    *("scissors", "teddy bear"),
    *("lamp", "desk", "cabinet", "bookcase", "trash can", "hammer", "shoe", "coffee table"),
)
COLOR_WORDS: tuple[str, ...] = (*COLORS, "pink", "gray", "brown")

_KIND_ROW: Mapping[str, int] = {word: row for row, word in enumerate(KIND_WORDS, 1)}
_COLOR_ROW: Mapping[str, int] = {word: row for row, word in enumerate(COLOR_WORDS, 1)}


def kind_row(word: str) -> int:
    """Return the row of a kind, 1 or more; `UNKNOWN` where the table lacks it."""
    return _KIND_ROW.get(word, UNKNOWN)


def color_row(word: str) -> int:
    """Return the row of a colour, 1 or more; `UNKNOWN` where the table lacks it."""
    return _COLOR_ROW.get(word, UNKNOWN)

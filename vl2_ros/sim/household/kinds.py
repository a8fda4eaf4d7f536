"""The kinds of the household: where each stands, in which rooms, how often; and their models.

The models of a kind are rows of `models.tsv`, with the licence and the author of each. A fifth of
the models of a kind that has three or more is held out: training sees none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

#: Unlabelled things.
DISTRACTOR = "distractor"
#: Of the models of a kind with three or more, those at 2, 7, 12 ... are held out.
_LEAST_SPLIT, _SPLIT, _HELD_OUT_REST = 3, 5, 2
_TABLE = Path(__file__).with_name("models.tsv")


class Where(Enum):
    """Where a thing stands."""

    FLOOR = "floor"
    WALL = "wall"  # on the floor, its back to a wall
    TOP = "top"  # on a table or a cabinet
    BOTH = "both"  # by its size on the floor or on a top


class Room(Enum):
    """What a scene shows."""

    LIVING = "living room"
    KITCHEN = "kitchen"
    BEDROOM = "bedroom"
    OFFICE = "office"
    BATHROOM = "bathroom"
    YARD = "yard"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of thing.

    Attributes:
        where: on the floor, along a wall or on top of furniture.
        rooms: letters of the rooms that have it: l k b o t y, as in Room, t for the bathroom.
        weight: how often it is drawn among the kinds of its room.
        recolor: chance that its largest part without a texture gets a named colour.
    """

    where: Where
    rooms: str
    weight: float = 1.0
    recolor: float = 0.0


_F, _W, _T, _B = Where.FLOOR, Where.WALL, Where.TOP, Where.BOTH
ROOM_LETTERS = dict(zip("lkboty", Room, strict=True))

KINDS: dict[str, Kind] = {
    "person": Kind(_F, "lkboy", 4.0),
    "bicycle": Kind(_F, "ly", 1.5, 0.3),
    "car": Kind(_F, "y", 3.0, 0.3),
    "motorcycle": Kind(_F, "y", 1.5, 0.3),
    "bus": Kind(_F, "y", 0.4),
    "truck": Kind(_F, "y", 0.5),
    "boat": Kind(_F, "y", 0.7, 0.3),
    "bench": Kind(_F, "y", 1.5, 0.4),
    "fire hydrant": Kind(_F, "y", 0.8, 0.4),
    "cat": Kind(_F, "lkby", 1.5),
    "dog": Kind(_F, "lkby", 1.5),
    "horse": Kind(_F, "y", 1.0),
    "bird": Kind(_F, "y", 0.6),
    "rabbit": Kind(_F, "y", 0.3),
    "backpack": Kind(_B, "lboy", 1.0, 0.5),
    "umbrella": Kind(_F, "ly", 0.7, 0.5),
    "handbag": Kind(_B, "lbo", 0.8, 0.5),
    "suitcase": Kind(_F, "lby", 0.8, 0.5),
    "skateboard": Kind(_F, "lby", 0.7, 0.3),
    "sports ball": Kind(_F, "lby", 0.8),
    "tennis racket": Kind(_F, "by", 0.5, 0.3),
    "bottle": Kind(_T, "lkot", 2.5, 0.5),
    "wine glass": Kind(_T, "lk", 1.0),
    "cup": Kind(_T, "lkbo", 2.5, 0.6),
    "fork": Kind(_T, "k", 0.6),
    "knife": Kind(_T, "k", 0.6),
    "spoon": Kind(_T, "k", 0.6),
    "bowl": Kind(_T, "lk", 1.8, 0.6),
    "plate": Kind(_T, "lk", 0.8, 0.5),
    "cake": Kind(_T, "lk", 0.7),
    "chair": Kind(_F, "lkbo", 4.0, 0.5),
    "couch": Kind(_W, "lo", 2.5, 0.5),
    "potted plant": Kind(_B, "lkbot", 2.5),
    "bed": Kind(_W, "b", 4.0, 0.4),
    "dining table": Kind(_F, "lk", 3.5, 0.3),
    "coffee table": Kind(_F, "l", 1.5, 0.3),
    "desk": Kind(_W, "ob", 3.0, 0.3),
    "cabinet": Kind(_W, "lkbot", 1.7, 0.3),
    "bookcase": Kind(_W, "lbo", 1.0, 0.3),
    "toilet": Kind(_W, "t", 4.0),
    "sink": Kind(_W, "tk", 2.0),
    "bathtub": Kind(_W, "t", 1.5),
    "tv": Kind(_T, "lb", 1.8),
    "laptop": Kind(_T, "lkbo", 2.0, 0.2),
    "computer": Kind(_T, "o", 1.2),
    "remote": Kind(_T, "lb", 0.8),
    "cell phone": Kind(_T, "lko", 0.8),
    "telephone": Kind(_T, "o", 0.6, 0.3),
    "tablet": Kind(_T, "lo", 0.5),
    "microwave": Kind(_T, "k", 1.2, 0.3),
    "oven": Kind(_W, "k", 1.5, 0.2),
    "toaster": Kind(_T, "k", 0.9, 0.5),
    "refrigerator": Kind(_W, "k", 1.5, 0.3),
    "washing machine": Kind(_W, "kt", 0.8),
    "book": Kind(_T, "lbo", 1.5),
    "clock": Kind(_T, "lbo", 0.8, 0.3),
    "vase": Kind(_T, "lkb", 1.3, 0.3),
    "scissors": Kind(_T, "ko", 0.6, 0.5),
    "teddy bear": Kind(_B, "lb", 0.9),
    "lamp": Kind(_T, "lbo", 1.5, 0.5),
    "trash can": Kind(_F, "kot", 0.7, 0.5),
    "box": Kind(_F, "boy", 0.7, 0.3),
    "piano": Kind(_W, "l", 0.5),
    "guitar": Kind(_F, "lb", 0.5, 0.3),
    "camera": Kind(_T, "lo", 0.5),
    "teapot": Kind(_T, "lk", 0.7, 0.4),
    "shoe": Kind(_F, "lb", 0.7, 0.3),
    "hat": Kind(_T, "lb", 0.5, 0.3),
    "printer": Kind(_T, "o", 0.6),
    "hammer": Kind(_T, "o", 0.3),
    "speaker": Kind(_B, "lo", 0.6),
    "fan": Kind(_B, "lbo", 0.6, 0.4),
    "stroller": Kind(_F, "y", 0.5),
    "ladder": Kind(_F, "oy", 0.4),
    DISTRACTOR: Kind(_B, "lkboty", 2.0, 0.4),
}
#: Kinds with a label, most of them by their names in COCO; the others are only in the way.
HOUSEHOLD_KINDS: tuple[str, ...] = (
    *("person", "bicycle", "car", "motorcycle", "bus", "truck", "boat", "bench", "fire hydrant"),
    *("cat", "dog", "horse", "bird", "backpack", "umbrella", "handbag", "suitcase", "skateboard"),
    *("sports ball", "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon"),
    *("bowl", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet", "sink"),
    *("tv", "laptop", "remote", "cell phone", "microwave", "oven", "toaster", "refrigerator"),
    *("book", "clock", "vase", "scissors", "teddy bear"),
    *("bookcase", "box", "cabinet", "coffee table", "desk", "lamp", "plate", "shoe", "trash can"),
)
#: Models that hang on a wall, whatever their kind.
HUNG = ("Scopia#wall-flat-tv", "Blend Swap CC-0#cuckooClock")


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model of a kind, by its identifier in the catalogues, with its credits."""

    kind: str
    identifier: str
    licence: str
    creator: str


@cache
def list_models() -> tuple[ModelRow, ...]:
    """Read the table of models, in the order of its rows."""
    lines = _TABLE.read_text(encoding="utf-8").splitlines()
    return tuple(ModelRow(*line.split("\t")) for line in lines if not line.startswith("#"))


def models_of(kind: str) -> tuple[ModelRow, ...]:
    """Return the models of a kind of KINDS."""
    return tuple(row for row in list_models() if row.kind == kind)


def split_models(kind: str, *, held_out: bool) -> tuple[ModelRow, ...]:
    """Return the models of a kind to train on, or those to measure on.

    They are the same where a kind has fewer than three.
    """
    rows = models_of(kind)
    if len(rows) < _LEAST_SPLIT:
        return rows
    return tuple(
        row for index, row in enumerate(rows) if (index % _SPLIT == _HELD_OUT_REST) == held_out
    )


def write_credits() -> str:
    """Return one line per licence and author with their models, as a notice asks for them."""
    models: dict[tuple[str, str], list[str]] = {}
    for row in list_models():
        models.setdefault((row.licence, row.creator), []).append(row.identifier)
    return "\n".join(
        f"{licence}, {creator}: {', '.join(sorted(names))}"
        for (licence, creator), names in sorted(models.items())
    )

"""Questions about where things are in the image: left, right, nearest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vl2_ros.datasets.nouns import phrase_of
from vl2_ros.datasets.wording import Thing, chance, pick

#: Things are left or right of each other when their centres are so far apart, as a share of the
#: image's width.
LEAST_GAP = 0.08
#: The nearest thing is so much nearer than the next.
_NEARER = 0.75


@dataclass(frozen=True, slots=True)
class PlacedThing:
    """An object of a scene, and where its centre is.

    Attributes:
        kind: one of `sim.kinds.KINDS`.
        color: one of `sim.colors.COLORS`.
        x: column of its centre as a share of the image's width.
        y: row as a share of its height.
    """

    kind: str
    color: str
    x: float
    y: float

    @property
    def phrase(self) -> str:
        """Return colour and kind."""
        return phrase_of(self.color, self.kind)


class BoxedThing(Protocol):
    """An object of a scene with its box."""

    @property
    def kind(self) -> str:
        """Return one of `sim.kinds.KINDS`."""

    @property
    def color(self) -> str:
        """Return one of `sim.colors.COLORS`."""

    @property
    def box_xyxy(self) -> tuple[float, float, float, float]:
        """Return its extent in pixels."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A question about a relation.

    Attributes:
        question: with a capital and a question mark.
        answer: a sentence; of a yes or no, that word comes first.
        key: what the answer says: yes, no, or the nearest thing.
        things: that the question names, in order.
    """

    question: str
    answer: str
    key: str
    things: tuple[Thing, ...]


def place_objects(
    objects: Sequence[BoxedThing], frame_hw: tuple[int, int]
) -> tuple[PlacedThing, ...]:
    """Return objects with the middles of their boxes, as shares of the sides of the frame.

    Args:
        objects: of the frame.
        frame_hw: its height and width in pixels.
    """
    height, width = frame_hw
    placed = []
    for item in objects:
        x1, y1, x2, y2 = item.box_xyxy
        x, y = (x1 + x2) / (2 * width), (y1 + y2) / (2 * height)
        placed.append(PlacedThing(item.kind, item.color, x, y))
    return tuple(placed)


def list_unique(objects: Sequence[PlacedThing]) -> list[PlacedThing]:
    """Return the objects that their colour and kind name alone."""
    names = Counter((item.color, item.kind) for item in objects)
    return [item for item in objects if names[item.color, item.kind] == 1]


def draw_side(
    rng: np.random.Generator, objects: Sequence[PlacedThing], *, is_right: bool
) -> Relation | None:
    """Ask whether one thing is left or right of another.

    Args:
        rng: the only source of chance.
        objects: of the scene.
        is_right: whether the answer is yes.

    Returns:
        None where no two things are clearly apart.
    """
    unique = list_unique(objects)
    pairs = [(a, b) for a in unique for b in unique if b.x - a.x >= LEAST_GAP]
    if not pairs:
        return None
    left, right = pick(rng, pairs)
    # Which of both is named first says nothing about the answer.
    first, second, true = (left, right, "left") if chance(rng, 0.5) else (right, left, "right")
    false = "right" if true == "left" else "left"
    said = true if is_right else false
    return Relation(
        f"Is the {first.phrase} {said} of the {second.phrase}?",
        f"{'Yes' if is_right else 'No'}, the {first.phrase} is {true} of the {second.phrase}.",
        "yes" if is_right else "no",
        (Thing(first.color, first.kind), Thing(second.color, second.kind)),
    )


def draw_nearest(rng: np.random.Generator, objects: Sequence[PlacedThing]) -> Relation | None:
    """Ask what is nearest to a thing, in the image; None where nothing clearly is."""
    unique = list_unique(objects)
    found = [(item, near) for item in unique if (near := find_nearest(item, objects))]
    found = [(item, near) for item, near in found if near in unique]
    if not found:
        return None
    item, near = pick(rng, found)
    return Relation(
        f"What is nearest to the {item.phrase}?",
        f"The {near.phrase} is nearest to the {item.phrase}.",
        near.phrase,
        (Thing(item.color, item.kind),),
    )


def draw_relation(rng: np.random.Generator, objects: Sequence[PlacedThing]) -> Relation | None:
    """Ask for a side, as often yes as no, or for what is nearest."""
    if chance(rng, 0.6):
        return draw_side(rng, objects, is_right=chance(rng, 0.5))
    return draw_nearest(rng, objects)


def draw_relations(rng: np.random.Generator, objects: Sequence[PlacedThing]) -> Iterator[Relation]:
    """Ask for a side once with yes and once with no, and for what is nearest, where it is clear."""
    for relation in (
        draw_side(rng, objects, is_right=True),
        draw_side(rng, objects, is_right=False),
        draw_nearest(rng, objects),
    ):
        if relation is not None:
            yield relation


def find_nearest(item: PlacedThing, objects: Sequence[PlacedThing]) -> PlacedThing | None:
    """Return what is clearly nearest to one of some objects; None where nothing is."""
    others = [other for other in objects if other is not item]
    if len(others) < 2:
        return None
    others.sort(key=lambda other: _distance(item, other))
    first, second = (_distance(item, other) for other in others[:2])
    return others[0] if first <= _NEARER * second else None


def _distance(one: PlacedThing, other: PlacedThing) -> float:
    # The image is 4:3; shares of its sides are not equally long.
    return math.hypot(4.0 * (one.x - other.x), 3.0 * (one.y - other.y))

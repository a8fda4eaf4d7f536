"""Things that a command may ask for about a household scene, in the words that people say.

Colours are named only where they are sure: of a kind whose objects all have one, or that is absent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.datasets.scene_text import SceneObject
from vl2_ros.datasets.wording import Thing, chance, other_noun, pick
from vl2_ros.datasets.worlds import World
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.household.kinds import HOUSEHOLD_KINDS

#: What people say for a kind beside its name; answers have the name.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "person": ("man", "woman", "human", "human being"),
    "bicycle": ("bike",),
    "car": ("automobile",),
    "motorcycle": ("motorbike",),
    "truck": ("lorry",),
    "dog": ("puppy",),
    "cat": ("kitten",),
    "backpack": ("rucksack",),
    "handbag": ("bag", "purse"),
    "sports ball": ("ball",),
    "cup": ("mug", "coffee cup"),
    "couch": ("sofa",),
    "potted plant": ("plant", "house plant"),
    "dining table": ("table",),
    "tv": ("television", "screen"),
    "laptop": ("notebook computer",),
    "remote": ("remote control",),
    "cell phone": ("phone", "mobile phone"),
    "refrigerator": ("fridge",),
    "oven": ("stove",),
    "bookcase": ("bookshelf",),
    "cabinet": ("cupboard", "chest of drawers"),
    "trash can": ("bin", "waste basket"),
}
#: Share of the lists that have all kinds.
_ALL_SHARE = 0.2
#: Share of the names that get their colour where it is sure.
_COLOR_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class HouseholdThing(Thing):
    """A thing that answers call by its name in the household."""

    @property
    def is_known(self) -> bool:
        """Return whether the noun is a kind."""
        return self.noun in HOUSEHOLD_KINDS

    @property
    def names(self) -> tuple[str, ...]:
        """Return the words that people say for it, without the colour; the first is its own."""
        return (self.noun, *SYNONYMS.get(self.noun, ()))


def find_colors(objects: Sequence[SceneObject], kind: str) -> tuple[str, ...]:
    """Return the colours of the objects of a kind; none where that of one has no name."""
    found = [item.color for item in objects if item.kind == kind]
    return tuple(found) if all(found) else ()


def name_object(
    rng: np.random.Generator, objects: Sequence[SceneObject], item: SceneObject, color_share: float
) -> HouseholdThing:
    """Name an object, now and then with its colour where that is sure."""
    with_color = chance(rng, color_share) and bool(find_colors(objects, item.kind))
    return HouseholdThing(item.color if with_color else None, item.kind)


def draw_absent(rng: np.random.Generator, objects: Sequence[SceneObject]) -> HouseholdThing:
    """Draw a kind that is not there, or one that is there in other colours alone."""
    there = {item.kind for item in objects}
    colored = [kind for kind in sorted(there) if find_colors(objects, kind)]
    if colored and chance(rng, 0.3):
        kind = pick(rng, colored)
        found = find_colors(objects, kind)
        return HouseholdThing(pick(rng, [one for one in COLORS if one not in found]), kind)
    absent = [kind for kind in HOUSEHOLD_KINDS if kind not in there]
    color = pick(rng, COLORS) if chance(rng, 0.1) else None
    return HouseholdThing(color, pick(rng, absent))


def _draw(rng: np.random.Generator, objects: Sequence[SceneObject]) -> Thing:
    draw = rng.random()
    if draw < 0.1:
        return HouseholdThing(None, other_noun_of_household(rng))
    if objects and draw < 0.75:
        return name_object(rng, objects, pick(rng, objects), _COLOR_SHARE)
    return draw_absent(rng, objects)


def other_noun_of_household(rng: np.random.Generator) -> str:
    """Draw a thing that scenes never show with a label."""
    known = {*HOUSEHOLD_KINDS, *(word for words in SYNONYMS.values() for word in words)}
    while (noun := other_noun(rng)) in known:
        continue
    return noun


def _refer(rng: np.random.Generator, objects: Sequence[SceneObject]) -> Thing:
    kinds = Counter(item.kind for item in objects)
    single = [item for item in objects if kinds[item.kind] == 1]
    draw = rng.random()
    if single and draw > 0.25:
        return name_object(rng, objects, pick(rng, single), _COLOR_SHARE)
    if draw < 0.1:
        return HouseholdThing(None, other_noun_of_household(rng))
    return draw_absent(rng, objects)


def _list_classes(
    rng: np.random.Generator, objects: Sequence[SceneObject], max_names: int
) -> list[Thing]:
    if chance(rng, _ALL_SHARE):
        return [HouseholdThing(None, str(kind)) for kind in rng.permutation(HOUSEHOLD_KINDS)]
    count = 6 + int(rng.random() * (max_names - 5))
    there = list(dict.fromkeys(item.kind for item in objects))[:count]
    absent = [kind for kind in HOUSEHOLD_KINDS if kind not in there]
    extra = rng.permutation(len(absent))[: count - len(there)]
    chosen: dict[Thing, None] = {}
    for kind in (*there, *(absent[index] for index in extra)):
        colors = find_colors(objects, kind)
        if kind in there and colors and chance(rng, _COLOR_SHARE):
            wrong = pick(rng, [one for one in COLORS if one not in colors])
            for color in (*colors, wrong):
                chosen[HouseholdThing(color, kind)] = None
        else:
            chosen[HouseholdThing(None, kind)] = None
    things = list(chosen)
    return [things[index] for index in rng.permutation(len(things))]


HOUSEHOLD = World(_draw, _refer, _list_classes, has_colors=False)

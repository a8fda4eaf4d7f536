"""What a command may ask for in a scene of one simulator: things that are there, or are not.

The household's is in `household`; this is the interface, and the table's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.datasets.scene_text import SceneObject
from vl2_ros.datasets.wording import Thing, chance, other_noun, pick
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS

_Draw = Callable[[np.random.Generator, Sequence[SceneObject]], Thing]


@dataclass(frozen=True, slots=True)
class World:
    """How things are drawn for the scenes of one simulator.

    Attributes:
        draw: something to look for, often there.
        refer: something that one object fits at most.
        list_classes: a list of names to look for, by the longest list of phrases; no object belongs
            to two of them.
        has_colors: whether every object has a colour with a name.
    """

    draw: _Draw
    refer: _Draw
    list_classes: Callable[[np.random.Generator, Sequence[SceneObject], int], list[Thing]]
    has_colors: bool


def _list_classes(
    rng: np.random.Generator, objects: Sequence[SceneObject], max_names: int
) -> list[Thing]:
    if chance(rng, 0.35):
        return [Thing(None, kind) for kind in rng.permutation(KINDS)]
    return _colored_list(rng, objects, 6 + int(rng.random() * (max_names - 5)))


def _colored_list(
    rng: np.random.Generator, objects: Sequence[SceneObject], count: int
) -> list[Thing]:
    present = {Thing(item.color, item.kind): None for item in objects}
    chosen = dict.fromkeys(list(present)[:count])
    plain = {kind for kind in KINDS if chance(rng, 0.12)} - {thing.noun for thing in chosen}
    chosen.update(dict.fromkeys(Thing(None, kind) for kind in sorted(plain)))
    while len(chosen) < count:
        thing = Thing(pick(rng, COLORS), pick(rng, KINDS))
        if present and chance(rng, 0.6):
            seed = pick(rng, list(present))
            keep_kind = chance(rng, 0.6)
            thing = Thing(thing.color, seed.noun) if keep_kind else Thing(seed.color, thing.noun)
        if thing.noun not in plain:
            chosen[thing] = None
    things = list(chosen)
    return [things[index] for index in rng.permutation(len(things))]


def _random_thing(rng: np.random.Generator, objects: Sequence[SceneObject]) -> Thing:
    draw = rng.random()
    color = pick(rng, COLORS) if chance(rng, 0.5) else None
    if draw < 0.15:
        return Thing(color if chance(rng, 0.6) else None, other_noun(rng))
    if objects and draw < 0.75:
        item = pick(rng, objects)
        return Thing(item.color if color else None, item.kind)
    if objects and color and draw < 0.87:
        return Thing(color, pick(rng, objects).kind)
    return Thing(color, pick(rng, KINDS))


def _referred_thing(rng: np.random.Generator, objects: Sequence[SceneObject]) -> Thing:
    candidates = [Thing(item.color, item.kind) for item in objects]
    kinds = Counter(item.kind for item in objects)
    candidates += [Thing(None, item.kind) for item in objects if kinds[item.kind] == 1]
    counts = Counter(candidates)
    unique = [thing for thing in candidates if thing.color is None or counts[thing] == 1]
    draw = rng.random()
    if unique and draw > 0.25:
        return pick(rng, unique)
    if draw < 0.13:
        return Thing(pick(rng, (*COLORS, None)) if chance(rng, 0.5) else None, other_noun(rng))
    absent = Thing(pick(rng, COLORS), pick(rng, KINDS))
    while counts[absent] > 1:
        absent = Thing(pick(rng, COLORS), pick(rng, KINDS))
    return absent


TABLE = World(_random_thing, _referred_thing, _list_classes, has_colors=True)

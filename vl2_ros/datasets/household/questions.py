"""Questions that words alone answer about a household scene: listing, count, existence, colour.

The formats are those of the table. A yes is as frequent as a no, and every count from 0 to 4 that a
scene has as frequent as the others of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from vl2_ros.datasets import questions
from vl2_ros.datasets.commands import CommandExample
from vl2_ros.datasets.household.things import (
    HouseholdThing,
    draw_absent,
    find_colors,
    name_object,
)
from vl2_ros.datasets.nouns import phrase_of, pluralize, with_article
from vl2_ros.datasets.scene_text import (
    SceneObject,
    color_answer,
    count_answer,
    existence_answer,
    join_listing,
    number_word,
)
from vl2_ros.datasets.wording import chance, pick, roughen, spoken_words
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.household.kinds import HOUSEHOLD_KINDS
from vl2_ros.structures import Route

NOTHING = "There is nothing that I know."
_MOST_COUNTED = 4


def _leave_table(sentences: Sequence[str]) -> tuple[str, ...]:
    return tuple(one for one in sentences if "table" not in one and "desk" not in one)


_LISTING = _leave_table((*questions.LISTING, *questions.SPOKEN_LISTING))
_COUNT = _leave_table((*questions.COUNT, *questions.SPOKEN_COUNT))
_EXISTENCE = _leave_table((*questions.EXISTENCE, *questions.SPOKEN_EXISTENCE))
_COLOR = _leave_table((*questions.COLOR, *questions.SPOKEN_COLOR))


def sample_household_text(
    rng: np.random.Generator, objects: Sequence[SceneObject]
) -> CommandExample:
    """Draw a question about a household scene.

    Args:
        rng: source of randomness; equal states give equal examples.
        objects: labelled objects of the scene; may be empty.
    """
    draw = rng.random()
    if draw < 0.2:
        question, answer = roughen(rng, pick(rng, _LISTING), place=False), list_kinds(objects)
    elif draw < 0.45:
        question, answer = _ask_count(rng, objects)
    elif draw < 0.85 or not _sure_kinds(objects):
        question, answer = _ask_existence(rng, objects)
    else:
        question, answer = _ask_color(rng, objects)
    return CommandExample(question, answer, Route.ANSWER)


def list_kinds(objects: Sequence[SceneObject]) -> str:
    """Answer what is there, kinds in the order of HOUSEHOLD_KINDS, colours where they are sure.

    Example: "There are two persons, a red cup and a laptop."
    """
    groups = Counter(
        (HOUSEHOLD_KINDS.index(item.kind), COLORS.index(item.color) if item.color else -1)
        for item in objects
    )
    if not groups:
        return NOTHING
    parts = []
    for (kind, color), count in sorted(groups.items()):
        phrase = phrase_of(COLORS[color] if color >= 0 else None, HOUSEHOLD_KINDS[kind])
        several = f"{number_word(count)} {pluralize(phrase)}"
        parts.append(with_article(phrase) if count == 1 else several)
    return f"There {'is' if len(objects) == 1 else 'are'} {join_listing(parts)}."


def _ask_count(rng: np.random.Generator, objects: Sequence[SceneObject]) -> tuple[str, str]:
    counts = Counter(item.kind for item in objects)
    wanted = pick(rng, sorted({0, *(n for n in counts.values() if n <= _MOST_COUNTED)}))
    kinds = [kind for kind in HOUSEHOLD_KINDS if counts[kind] == wanted]
    thing = HouseholdThing(None, pick(rng, kinds))
    question = pick(rng, _COUNT).replace("{xs}", spoken_words(rng, thing, plural=True))
    question = question.replace("{x1}", spoken_words(rng, thing))
    return roughen(rng, question, place=False), count_answer(thing, objects)


def _ask_existence(rng: np.random.Generator, objects: Sequence[SceneObject]) -> tuple[str, str]:
    if objects and chance(rng, 0.5):
        thing = name_object(rng, objects, pick(rng, objects), 0.5)
    else:
        thing = draw_absent(rng, objects)
    single = spoken_words(rng, thing)
    question = (
        pick(rng, _EXISTENCE)
        .replace("{xs}", spoken_words(rng, thing, plural=True))
        .replace("{x}", with_article(single))
        .replace("{n}", single)
    )
    return roughen(rng, question, place=False), existence_answer(thing, objects)


def _sure_kinds(objects: Sequence[SceneObject]) -> list[str]:
    counts = Counter(item.kind for item in objects)
    return [kind for kind, n in counts.items() if n == 1 and find_colors(objects, kind)]


def _ask_color(rng: np.random.Generator, objects: Sequence[SceneObject]) -> tuple[str, str]:
    kind = pick(rng, _sure_kinds(objects))
    (right,) = find_colors(objects, kind)
    pair = [right, pick(rng, [color for color in COLORS if color != right])]
    first, second = pair if chance(rng, 0.5) else pair[::-1]
    question = pick(rng, _COLOR).replace("{n}", spoken_words(rng, HouseholdThing(None, kind)))
    question = question.replace("{c}", first).replace("{d}", second)
    return roughen(rng, question, place=False), color_answer(kind, objects)

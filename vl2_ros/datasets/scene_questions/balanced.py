"""Draw questions about a scene so that no answer is a good guess.

Existence is asked for as often with yes as with no, and where it is no, something else has the
colour or the kind. Rare numbers are asked for more often than their share of the scenes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from vl2_ros.datasets.nouns import pluralize, with_article
from vl2_ros.datasets.scene_questions.relations import PlacedThing, draw_relation
from vl2_ros.datasets.scene_text import (
    color_answer,
    count_answer,
    count_matches,
    existence_answer,
    listing_answer,
)
from vl2_ros.datasets.wording import Thing, chance, pick
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS

#: Numbers that are asked for.
MOST_COUNTED = 4
#: Share of the questions for existence that name a colour, with yes and with no alike.
_COLORED = 0.6
#: How often each question is asked, by its name.
SHARES: Mapping[str, float] = MappingProxyType(
    {"existence": 1.0, "color": 0.8, "count": 1.5, "relation": 0.8, "listing": 0.6}
)
#: Shares of the questions for a number: of all things, and of those of a colour.
_TOTAL, _BY_COLOR = 0.15, 0.15


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question with its answer.

    Attributes:
        name: what kind of question: a key of `QUESTIONS`.
        question: the words.
        answer: the words.
        things: what is looked up to answer it, as the question names it; none of a listing.
        nouns: the words of the question that name each, as they stand there, to the last one.
    """

    name: str
    question: str
    answer: str
    things: tuple[Thing, ...] = ()
    nouns: tuple[str, ...] = ()


def draw_existence_question(
    rng: np.random.Generator, objects: Sequence[PlacedThing]
) -> AskedQuestion:
    """Ask whether there is a thing."""
    colored, present = chance(rng, _COLORED), chance(rng, 0.5)
    if present and objects:
        item = pick(rng, objects)
        thing = Thing(item.color if colored else None, item.kind)
    else:
        thing = _draw_absent(rng, objects, colored=colored)
    wording = pick(rng, ("Is there {x}?", "Is there {x}?", "Do you see {x}?"))
    return AskedQuestion(
        "existence",
        wording.replace("{x}", with_article(thing.phrase)),
        existence_answer(thing, objects),
        (thing,),
        (thing.noun,),
    )


def _draw_absent(
    rng: np.random.Generator, objects: Sequence[PlacedThing], *, colored: bool
) -> Thing:
    kinds = {item.kind for item in objects}
    if not colored or not objects:
        color = pick(rng, COLORS) if colored else None
        return Thing(color, pick(rng, [kind for kind in KINDS if kind not in kinds] or KINDS))
    pairs = {(item.color, item.kind) for item in objects}
    item = pick(rng, objects)
    same_kind = [(color, item.kind) for color in COLORS]
    same_color = [(item.color, kind) for kind in KINDS]
    others = [same_kind, same_color] if chance(rng, 0.5) else [same_color, same_kind]
    for near in others:
        absent = [pair for pair in near if pair not in pairs]
        if absent:
            return Thing(*pick(rng, absent))
    return Thing(*pick(rng, same_kind))


def draw_color_question(
    rng: np.random.Generator, objects: Sequence[PlacedThing]
) -> AskedQuestion | None:
    """Ask for the colour of a thing alone of its kind; None where there is none."""
    counts = Counter(item.kind for item in objects)
    unique = [kind for kind, count in counts.items() if count == 1]
    if not unique:
        return None
    kind = pick(rng, unique)
    wording = pick(rng, ("What colour is the {n}?", "What color is the {n}?"))
    question = wording.replace("{n}", kind)
    return AskedQuestion(
        "color", question, color_answer(kind, objects), (Thing(None, kind),), (kind,)
    )


def draw_count_question(rng: np.random.Generator, objects: Sequence[PlacedThing]) -> AskedQuestion:
    """Ask how many there are, of 0 to `MOST_COUNTED` each about as often."""
    share = rng.random()
    if share < _TOTAL:
        thing = Thing(None, "object")
    else:
        by_color = share < _TOTAL + _BY_COLOR
        things = (
            [Thing(c, "object") for c in COLORS] if by_color else [Thing(None, k) for k in KINDS]
        )
        by_number: dict[int, list[Thing]] = {}
        for one in things:
            by_number.setdefault(count_matches(one, objects), []).append(one)
        numbers = [number for number in by_number if number <= MOST_COUNTED]
        # A scene with three of a kind is about half as frequent as one with two.
        weights = np.array([2.0 ** max(number - 1, 0) for number in numbers])
        number = numbers[int(rng.choice(len(numbers), p=weights / weights.sum()))]
        thing = pick(rng, by_number[number])
    noun = pluralize(thing.noun)
    plural = pluralize(thing.phrase)
    return AskedQuestion(
        "count", f"How many {plural} are there?", count_answer(thing, objects), (thing,), (noun,)
    )


def draw_listing_question(
    rng: np.random.Generator, objects: Sequence[PlacedThing]
) -> AskedQuestion:
    """Ask what is there."""
    question = pick(rng, ("What is on the table?", "What is on the table?", "What do you see?"))
    return AskedQuestion("listing", question, listing_answer(objects))


def draw_relation_question(
    rng: np.random.Generator, objects: Sequence[PlacedThing]
) -> AskedQuestion | None:
    """Ask for a side or for what is nearest; None where nothing is clear."""
    relation = draw_relation(rng, objects)
    if relation is None:
        return None
    nouns = tuple(thing.phrase for thing in relation.things)
    return AskedQuestion("relation", relation.question, relation.answer, relation.things, nouns)


_Draw = Callable[[np.random.Generator, Sequence[PlacedThing]], AskedQuestion | None]
#: Name -> what draws a question.
QUESTIONS: Mapping[str, _Draw] = MappingProxyType(
    {
        "existence": draw_existence_question,
        "color": draw_color_question,
        "count": draw_count_question,
        "relation": draw_relation_question,
        "listing": draw_listing_question,
    }
)


def draw_question(
    rng: np.random.Generator, objects: Sequence[PlacedThing], weights: Mapping[str, float]
) -> AskedQuestion:
    """Draw a question that the scene has an answer to.

    Args:
        rng: the only source of chance.
        objects: of the scene.
        weights: name of `QUESTIONS` -> how often; existence, count or listing above 0.
    """
    names = [name for name, weight in weights.items() if weight > 0]
    shares = np.array([weights[name] for name in names])
    shares /= shares.sum()
    while True:
        question = QUESTIONS[names[int(rng.choice(len(names), p=shares))]](rng, objects)
        if question is not None:
            return question

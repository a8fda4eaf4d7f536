"""Questions and answers in plain sentences about a scene: listing, count, existence, colour.

Answers are fixed functions of the scene: groups of colour and kind in the order of the simulator's
tables, counts as words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from vl2_ros.datasets import questions
from vl2_ros.datasets.nouns import OTHER_NOUNS, phrase_of, pluralize, with_article
from vl2_ros.datasets.questions import ASK_FOR_OBJECT, REFUSAL
from vl2_ros.datasets.spoken import say_nothing_named
from vl2_ros.datasets.wording import Thing, chance, pick, roughen, say_things, spoken_words
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS

NUMBER_WORDS = (
    ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    + ("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen")
    + ("nineteen", "twenty")
)


class SceneObject(Protocol):
    """The properties of an object that sentences use."""

    @property
    def kind(self) -> str:
        """Return one of `KINDS`."""

    @property
    def color(self) -> str:
        """Return one of `COLORS`."""


def number_word(count: int) -> str:
    """Return 0 to 20 as a word ("no" for 0), larger ones as "many"."""
    return NUMBER_WORDS[count] if count < len(NUMBER_WORDS) else "many"


def matches(thing: Thing, item: SceneObject) -> bool:
    """Return whether an object is one of the things; the noun "object" matches every kind."""
    return thing.noun in (item.kind, "object") and thing.color in (None, item.color)


def count_matches(thing: Thing, objects: Sequence[SceneObject]) -> int:
    """Count the objects that the thing's words fit."""
    return sum(matches(thing, item) for item in objects)


def join_listing(parts: Sequence[str]) -> str:
    """Join as answers do: "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def listing_answer(objects: Sequence[SceneObject]) -> str:
    """Answer what is there, e.g. "There are a red mug, two blue cubes and a white bowl."."""
    groups = Counter((KINDS.index(item.kind), COLORS.index(item.color)) for item in objects)
    if not groups:
        return "There is nothing on the table."
    parts = []
    for (kind, color), count in sorted(groups.items()):
        phrase = phrase_of(COLORS[color], KINDS[kind])
        if count == 1:
            parts.append(with_article(phrase))
        else:
            parts.append(f"{number_word(count)} {pluralize(phrase)}")
    return f"There {'is' if len(objects) == 1 else 'are'} {join_listing(parts)}."


def count_answer(thing: Thing, objects: Sequence[SceneObject]) -> str:
    """Answer how many there are, e.g. "There are three cubes."."""
    count = count_matches(thing, objects)
    if count == 1:
        return f"There is one {thing.phrase}."
    return f"There are {number_word(count)} {pluralize(thing.phrase)}."


def existence_answer(thing: Thing, objects: Sequence[SceneObject]) -> str:
    """Answer whether there is one; a yes names the colour or the number."""
    found = [item for item in objects if matches(thing, item)]
    if not found:
        return f"No, there is no {thing.phrase}."
    if len(found) > 1:
        return f"Yes, there are {number_word(len(found))} {pluralize(thing.phrase)}."
    return f"Yes, there is {with_article(phrase_of(found[0].color, thing.noun))}."


def color_answer(kind: str, objects: Sequence[SceneObject]) -> str:
    """Answer what colour a kind has, colours in table order where there are several."""
    found = {item.color for item in objects if item.kind == kind}
    if not found:
        return f"There is no {kind}."
    colors = join_listing([color for color in COLORS if color in found])
    several = count_matches(Thing(None, kind), objects) > 1
    return f"The {pluralize(kind)} are {colors}." if several else f"The {kind} is {colors}."


def draw_existence(
    objects: Sequence[SceneObject], rng: np.random.Generator
) -> Iterator[tuple[Thing, bool]]:
    """Draw a thing that is there, then one that is not but is of its colour or its kind.

    Yields:
        The thing, and whether it is there.
    """
    there = objects[int(rng.integers(len(objects)))]
    pairs = {(item.color, item.kind) for item in objects}
    if rng.random() < 0.5:
        others = [(color, there.kind) for color in COLORS]
    else:
        others = [(there.color, kind) for kind in KINDS]
    absent = [pair for pair in others if pair not in pairs]
    yield Thing(there.color, there.kind), True
    if absent:
        yield Thing(*absent[int(rng.integers(len(absent)))]), False


def sample_question(rng: np.random.Generator, objects: Sequence[SceneObject]) -> tuple[str, str]:
    """Draw a question (or a remark) and its answer in plain text.

    Returns:
        The question with its noise, and the answer.
    """
    draw = rng.random()
    if draw < 0.16:
        question = _pick_question(rng, questions.LISTING, questions.SPOKEN_LISTING)
        return roughen(rng, question, place=False), listing_answer(objects)
    for share, sample in _SCENE_QUESTIONS:
        if draw < share:
            return sample(rng, objects)
    return _sample_remark(rng, objects)


def _pick_question(rng: np.random.Generator, written: Sequence[str], spoken: Sequence[str]) -> str:
    return pick(rng, spoken if chance(rng, 0.6) else written)


def _sample_remark(rng: np.random.Generator, objects: Sequence[SceneObject]) -> tuple[str, str]:
    """Draw what is answered by a fixed sentence, whatever the scene."""
    draw = rng.random()
    if draw < 0.12:
        said, answer = pick(rng, questions.CHAT)
        return roughen(rng, said, place=False), answer
    if draw < 0.25:
        ways, answer = pick(rng, questions.SPOKEN_CHAT)
        return roughen(rng, pick(rng, ways), place=False), answer
    if draw < 0.4:
        return roughen(rng, pick(rng, questions.OFF_TOPIC), place=False), REFUSAL
    if draw < 0.5:
        thing = _question_thing(rng, objects, present=0.7, color=0.3)
        said = pick(rng, questions.ABOUT_THINGS).replace("{n}", spoken_words(rng, thing))
        return roughen(rng, said, place=False, upper=False), REFUSAL
    if draw < 0.67:
        thing = _question_thing(rng, objects, present=0.6, color=0.5)
        said = _pick_question(rng, questions.HANDLING, questions.SPOKEN_HANDLING)
        said = said.replace("{x}", say_things(rng, [thing], pick(rng, ("one", "one", "a one"))))
        return roughen(rng, said, place=False, upper=False), REFUSAL
    bare = say_nothing_named(rng) if chance(rng, 0.65) else pick(rng, questions.NOTHING_NAMED)
    return roughen(rng, bare, place=chance(rng, 0.3)), ASK_FOR_OBJECT


def _question_thing(
    rng: np.random.Generator, objects: Sequence[SceneObject], *, present: float, color: float
) -> Thing:
    if objects and chance(rng, present):
        item = pick(rng, objects)
        return Thing(item.color if chance(rng, color) else None, item.kind)
    if chance(rng, 0.15):
        return Thing(None, pick(rng, OTHER_NOUNS))
    return Thing(pick(rng, COLORS) if chance(rng, color) else None, pick(rng, KINDS))


def _count_question(rng: np.random.Generator, objects: Sequence[SceneObject]) -> tuple[str, str]:
    template = _pick_question(rng, questions.COUNT, questions.SPOKEN_COUNT)
    if chance(rng, 0.12):
        word = pick(rng, ("objects", "objects", "things", "items"))
        template = template.replace("{xs}", word).replace("{x1}", word.removesuffix("s"))
        question = roughen(rng, template, place=False)
        return question, count_answer(Thing(None, "object"), objects)
    thing = _question_thing(rng, objects, present=0.75, color=0.2)
    template = template.replace("{xs}", spoken_words(rng, thing, plural=True))
    template = template.replace("{x1}", spoken_words(rng, thing))
    question = roughen(rng, template, place=False, upper=thing.is_known)
    return question, count_answer(thing, objects)


def _existence_question(
    rng: np.random.Generator, objects: Sequence[SceneObject]
) -> tuple[str, str]:
    thing = _question_thing(rng, objects, present=0.5, color=0.4)
    single = spoken_words(rng, thing)
    question = (
        _pick_question(rng, questions.EXISTENCE, questions.SPOKEN_EXISTENCE)
        .replace("{xs}", spoken_words(rng, thing, plural=True))
        .replace("{x}", with_article(single))
        .replace("{n}", single)
    )
    question = roughen(rng, question, place=False, upper=thing.is_known)
    return question, existence_answer(thing, objects)


def _color_question(rng: np.random.Generator, objects: Sequence[SceneObject]) -> tuple[str, str]:
    counts = Counter(item.kind for item in objects)
    unique = [kind for kind, count in counts.items() if count == 1]
    draw = rng.random()
    if unique and draw < 0.8:
        kind = pick(rng, unique)
    elif counts and draw < 0.88:
        kind = pick(rng, list(counts))
    else:
        kind = pick(rng, KINDS)
    words = spoken_words(rng, Thing(None, kind))
    question = _pick_question(rng, questions.COLOR, questions.SPOKEN_COLOR).replace("{n}", words)
    question = _insert_colors(rng, question, [o.color for o in objects if o.kind == kind])
    return roughen(rng, question, place=False), color_answer(kind, objects)


def _insert_colors(rng: np.random.Generator, question: str, seen: Sequence[str]) -> str:
    """Fill "is it {c} or {d}?": mostly one right colour and another one."""
    right = pick(rng, list(seen)) if seen and chance(rng, 0.8) else pick(rng, COLORS)
    wrong = pick(rng, [color for color in COLORS if color != right])
    first, second = (right, wrong) if chance(rng, 0.5) else (wrong, right)
    return question.replace("{c}", first).replace("{d}", second)


def _is_colored_question(
    rng: np.random.Generator, objects: Sequence[SceneObject]
) -> tuple[str, str]:
    item = pick(rng, list(objects)) if objects and chance(rng, 0.75) else None
    kind = item.kind if item else pick(rng, KINDS)
    color = item.color if item and chance(rng, 0.5) else pick(rng, COLORS)
    thing = Thing(None, kind)
    question = (
        pick(rng, questions.IS_COLORED)
        .replace("{ns}", spoken_words(rng, thing, plural=True))
        .replace("{n}", spoken_words(rng, thing))
        .replace("{c}", color)
    )
    return roughen(rng, question, place=False), existence_answer(Thing(color, kind), objects)


def _count_both(rng: np.random.Generator, objects: Sequence[SceneObject]) -> tuple[str, str]:
    first = _question_thing(rng, objects, present=0.8, color=0.1)
    second = _question_thing(rng, objects, present=0.8, color=0.1)
    if first.noun == second.noun:
        return _count_question(rng, objects)
    question = (
        pick(rng, questions.COUNT_BOTH)
        .replace("{xs}", spoken_words(rng, first, plural=True))
        .replace("{ys}", spoken_words(rng, second, plural=True))
    )
    answer = f"{count_answer(first, objects)} {count_answer(second, objects)}"
    return roughen(rng, question, place=False, upper=False), answer


#: Upper ends of the shares of questions about the scene, behind the listings.
_SCENE_QUESTIONS = (
    (0.29, _count_question),
    (0.32, _count_both),
    (0.48, _existence_question),
    (0.6, _color_question),
    (0.65, _is_colored_question),
)

"""Plain-text answers about scenes to scores: what is there, how many, which colour.

Compares sentences with the objects of a simulated scene; knows no picture.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vl2_ros.datasets.nouns import pluralize
from vl2_ros.datasets.scene_text import (
    NUMBER_WORDS,
    SceneObject,
    color_answer,
    count_answer,
    existence_answer,
)
from vl2_ros.datasets.wording import Thing
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS

_SINGULAR = {kind: kind for kind in KINDS} | {pluralize(kind): kind for kind in KINDS}
_GROUP = re.compile(
    rf"\b(an?|{'|'.join(NUMBER_WORDS[1:])}) ({'|'.join(COLORS)}) ({'|'.join(_SINGULAR)})\b"
)


def parse_listing(sentence: str) -> Counter[tuple[str, str]]:
    """Count the (colour, kind) pairs that a listing names.

    Example:
        >>> sorted(parse_listing("There are a red mug and two blue cubes.").items())
        [(('blue', 'cube'), 2), (('red', 'mug'), 1)]
    """
    found: Counter[tuple[str, str]] = Counter()
    for number, color, noun in _GROUP.findall(sentence):
        count = 1 if number in ("a", "an") else NUMBER_WORDS.index(number)
        found[color, _SINGULAR[noun]] += count
    return found


@dataclass(slots=True)
class SceneAnswerScores:
    """Running totals over frames; every property is in 0..1."""

    _listed: int = 0
    _listed_right: int = 0
    _present: int = 0
    _asked: Counter[str] = field(default_factory=Counter)
    _right: Counter[str] = field(default_factory=Counter)

    def ask(
        self,
        say: Callable[[str], str],
        objects: Sequence[SceneObject],
        rng: np.random.Generator,
    ) -> None:
        """Ask one listing, count, existence and (where a kind is unique) colour question.

        Args:
            say: answers a question about the frame in words.
            objects: what the frame shows.
            rng: draws what is asked about; half of the existence questions are about absent kinds.
        """
        listing = parse_listing(say("What is on the table?"))
        truth = Counter((item.color, item.kind) for item in objects)
        self._listed += listing.total()
        self._present += truth.total()
        self._listed_right += (listing & truth).total()
        kinds = Counter(item.kind for item in objects)
        present, absent = sorted(kinds), sorted(set(KINDS) - set(kinds))
        if present:
            thing = Thing(None, str(rng.choice(present)))
            question = f"How many {pluralize(thing.noun)} are there?"
            self._note("count", say(question), count_answer(thing, objects))
        pool = present if present and (not absent or rng.random() < 0.5) else absent
        thing = Thing(None, str(rng.choice(pool)))
        right = existence_answer(thing, objects)
        said = say(f"Is there a {thing.noun}?")
        self._note("existence", said.split(",")[0], right.split(",")[0])
        unique = [kind for kind in present if kinds[kind] == 1]
        if unique:
            kind = str(rng.choice(unique))
            said = say(f"What colour is the {kind}?")
            self._note("color", said, color_answer(kind, objects))

    def _note(self, question: str, said: str, right: str) -> None:
        self._asked[question] += 1
        self._right[question] += said.strip() == right

    def to_dict(self) -> dict[str, float]:
        """Return listing F1 over objects and the share of right answers to the other questions."""
        named = self._listed + self._present
        scores = {"listing_f1": 2 * self._listed_right / named if named else 0.0}
        for question in ("count", "existence", "color"):
            asked = self._asked[question]
            scores[f"{question}_accuracy"] = self._right[question] / asked if asked else 0.0
        return scores

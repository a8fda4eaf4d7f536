"""Score plain-text answers about scenes: what is there, how many, which colour.

Compares sentences with the objects of a simulated scene; knows no image.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np

from vl2_ros.datasets.nouns import pluralize, with_article
from vl2_ros.datasets.scene_questions.relations import PlacedThing, Relation, draw_relations
from vl2_ros.datasets.scene_text import (
    NUMBER_WORDS,
    SceneObject,
    color_answer,
    count_answer,
    count_matches,
    draw_existence,
    existence_answer,
)
from vl2_ros.datasets.wording import Thing
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS

T = TypeVar("T")

#: Questions with one right answer among few, in the order of the table.
QUESTIONS = ("count", "existence", "color", "relation")
#: Bins of probabilities that calibration is measured in.
_BINS = 10

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


class Said(NamedTuple):
    """An answer in words: the model's own, and whether they are given or "I am not sure." is.

    Beside a yes or no stands its probability against the other; None otherwise.
    """

    words: str
    is_given: bool = True
    score: float | None = None

    def yes_probability(self) -> float | None:
        """Return the probability of yes, of an answer that is yes or no."""
        if self.score is None:
            return None
        says_yes = self.words.strip().lower().startswith("yes")
        return self.score if says_yes else 1.0 - self.score


@dataclass(slots=True)
class SceneAnswerScores:
    """Running totals over frames; every number is in 0..1.

    Beside each share of right answers stands its chance: what the best answer that is always the
    same scores on the very questions that were asked. Words count whether they are given or not; of
    yes and no stands beside it the share that is given, and what is right of that.
    """

    _listed: int = 0
    _listed_right: int = 0
    _scenes: list[Counter[tuple[str, str]]] = field(default_factory=list)
    _truths: dict[str, Counter[str]] = field(
        default_factory=lambda: {question: Counter() for question in QUESTIONS}
    )
    _right: Counter[str] = field(default_factory=Counter)
    _given: list[bool] = field(default_factory=list)
    _yes: list[tuple[float, bool]] = field(default_factory=list)

    def ask(
        self,
        say: Callable[[str], Said],
        objects: Sequence[SceneObject],
        rng: np.random.Generator,
    ) -> None:
        """Ask one listing, two existence and (where a kind is unique) one colour question.

        Args:
            say: answers a question about the frame in words.
            objects: what the frame shows.
            rng: draws what is asked about.
        """
        listing = parse_listing(say("What is on the table?").words)
        truth = Counter((item.color, item.kind) for item in objects)
        self._listed += listing.total()
        self._listed_right += (listing & truth).total()
        self._scenes.append(truth)
        if objects:
            self._ask_existence(say, objects, rng)
            self._ask_color(say, objects, rng)

    def ask_count(
        self, say: Callable[[str], Said], objects: Sequence[SceneObject], kind: str
    ) -> None:
        """Ask how many there are of a kind, which may be none."""
        thing = Thing(None, kind)
        said = say(f"How many {pluralize(kind)} are there?").words.strip()
        number = str(count_matches(thing, objects))
        self._note("count", number, said == count_answer(thing, objects))

    def ask_relations(
        self,
        say: Callable[[str], Said],
        objects: Sequence[PlacedThing],
        rng: np.random.Generator,
    ) -> None:
        """Ask for a side with a yes and with a no, and for what is nearest, where it is clear."""
        for relation in draw_relations(rng, objects):
            said = say(relation.question).words.strip()
            self._note("relation", relation.key, _answers(said, relation))

    def _ask_existence(
        self,
        say: Callable[[str], Said],
        objects: Sequence[SceneObject],
        rng: np.random.Generator,
    ) -> None:
        """Ask for one thing that is there and one that is not, but of its colour or its kind."""
        for thing, _ in draw_existence(objects, rng):
            said = say(f"Is there {with_article(thing.phrase)}?")
            right = existence_answer(thing, objects).split(",")[0]
            is_right = said.words.strip().split(",")[0] == right
            self._note("existence", right, is_right)
            probability = said.yes_probability()
            if probability is not None:
                self._yes.append((probability, right == "Yes"))
            if said.is_given:
                self._given.append(is_right)

    def _ask_color(
        self,
        say: Callable[[str], Said],
        objects: Sequence[SceneObject],
        rng: np.random.Generator,
    ) -> None:
        """Ask for the colour of a thing alone of its kind: the colour asked least so far."""
        kinds = Counter(item.kind for item in objects)
        unique = [item for item in objects if kinds[item.kind] == 1]
        if not unique:
            return
        asked = self._truths["color"]
        fewest = min(asked[item.color] for item in unique)
        item = _pick(rng, [item for item in unique if asked[item.color] == fewest])
        said = say(f"What colour is the {item.kind}?").words.strip()
        self._note("color", item.color, said == color_answer(item.kind, objects))

    def _note(self, question: str, truth: str, is_right: bool) -> None:
        self._truths[question][truth] += 1
        self._right[question] += is_right

    def to_dict(self) -> dict[str, float]:
        """Return listing F1 over objects, shares of right answers, and the chance of each."""
        named = self._listed + sum(truth.total() for truth in self._scenes)
        scores = {
            "listing_f1": 2 * self._listed_right / named if named else 0.0,
            "listing_chance": score_best_listing(self._scenes),
        }
        for question in QUESTIONS:
            truths = self._truths[question]
            asked = truths.total()
            scores[f"{question}_accuracy"] = self._right[question] / asked if asked else 0.0
            scores[f"{question}_chance"] = max(truths.values()) / asked if asked else 0.0
            if question == "existence":
                given = len(self._given)
                scores["yes_no_given"] = given / asked if asked else 0.0
                scores["yes_no_given_right"] = sum(self._given) / given if given else 0.0
        scores["calibration_error"] = calibration_error(self._yes)
        return scores


def _answers(said: str, relation: Relation) -> bool:
    """Return whether a sentence gives the answer: yes or no, or the nearest thing alone."""
    if relation.key in ("yes", "no"):
        return said.lower().split(",")[0].rstrip(".") == relation.key
    return said == relation.answer


def calibration_error(answers: Sequence[tuple[float, bool]]) -> float:
    """Return the expected calibration error of probabilities, 0..1; 0 without any.

    Answers are put into ten bins of equal width by their probability; in each, the mean probability
    is compared with the share that is true.

    Args:
        answers: probability of yes, and whether yes is right.
    """
    if not answers:
        return 0.0
    probabilities = np.array([probability for probability, _ in answers])
    is_true = np.array([true for _, true in answers], dtype=np.float64)
    bins = np.minimum((probabilities * _BINS).astype(int), _BINS - 1)
    apart = [abs((probabilities[bins == one] - is_true[bins == one]).sum()) for one in range(_BINS)]
    return float(sum(apart) / len(answers))


def score_best_listing(scenes: Sequence[Counter[tuple[str, str]]]) -> float:
    """Return the F1 of the best listing that is the same for all scenes, 0..1.

    Args:
        scenes: (colour, kind) pairs of each scene, counted.
    """
    # The second mug of a scene is a thing of its own, which fewer scenes have.
    things = Counter(
        (pair, nth) for truth in scenes for pair, count in truth.items() for nth in range(count)
    )
    right, best, present = 0, 0.0, things.total()
    for length, (_, found) in enumerate(things.most_common(), 1):
        right += found
        best = max(best, 2 * right / (length * len(scenes) + present))
    return best


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from vl2_ros.datasets.commands import sample_perception, sample_text
from vl2_ros.datasets.nouns import (
    COLOR_KIND_PHRASES,
    COLOR_WORDS,
    KIND_WORDS,
    OTHER_NOUNS,
    pluralize,
)
from vl2_ros.datasets.questions import CHAT, NOTHING_NAMED
from vl2_ros.evaluation.phrasings import Phrasing, load_phrasings, score_phrasings
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS
from vl2_ros.structures import Branch, Command, Detections, Frame, Result, Route

PHRASINGS = load_phrasings()
#: Things that only the held-out sentences name.
UNSEEN_NOUNS = ("stethoscope", "harmonica", "pumpkin", "trumpet", "hedgehog", "saxophone", "walnut")

_SINGULARS = [*(w for words in KIND_WORDS.values() for w in words), *OTHER_NOUNS, *UNSEEN_NOUNS]
_THINGS = [*_SINGULARS, *map(pluralize, _SINGULARS), "object", "objects"]
_THINGS += [word for words in COLOR_WORDS.values() for word in words]
_THING = re.compile(rf"\b({'|'.join(sorted(map(re.escape, _THINGS), key=len, reverse=True))})\b")
_DETERMINER = re.compile(r"\b(the|an?|every|all|each|any|my|that|this|our|two|both|these|those)\b")


def frame_of(sentence):
    """The wording around the things: lower case, no marks, no determiners, things as x."""
    words = re.sub(r"[^a-z' ]", " ", sentence.lower())
    words = " ".join(_DETERMINER.sub(" ", _THING.sub("x", words)).split())
    while (shorter := re.sub(r"\bx( and| or)? x\b", "x", words)) != words:
        words = shorter
    return words


def test_there_are_two_hundred_of_all_routes():
    assert len(PHRASINGS) >= 200
    assert len({phrasing.sentence for phrasing in PHRASINGS}) == len(PHRASINGS)
    counts = Counter(phrasing.routes[0] for phrasing in PHRASINGS)
    for route in (Route.DETECT, Route.SEGMENT, Route.GROUND, Route.ANSWER):
        assert counts[route] >= 40
    assert sum(len(phrasing.routes) > 1 for phrasing in PHRASINGS) >= 4


def test_expected_phrases_are_written_as_answers_write_them():
    known = {*KINDS, *COLOR_KIND_PHRASES, *OTHER_NOUNS, *UNSEEN_NOUNS}
    for phrasing in PHRASINGS:
        assert set(phrasing.phrases) <= known, phrasing
        assert (phrasing.phrases == ()) == (phrasing.routes == (Route.ANSWER,))
    assert not set(UNSEEN_NOUNS) & set(OTHER_NOUNS)


@pytest.mark.slow
def test_training_never_says_a_held_out_sentence_or_its_frame(scene_of):
    sentences = {phrasing.sentence.lower().strip(" .!?") for phrasing in PHRASINGS}
    frames = {frame_of(phrasing.sentence) for phrasing in PHRASINGS}
    rng = np.random.default_rng(11)
    said = [sample_perception(rng, scene_of(rng)).question for _ in range(130_000)]
    said += [sample_text(rng, scene_of(rng)).question for _ in range(70_000)]
    heard = {question.lower().strip(" .!?") for question in said}
    assert sentences & heard == set()
    heard = {frame_of(question) for question in said[::4]}
    assert frames & heard == set()
    fixed = {frame_of(line) for line in (*NOTHING_NAMED, *(said for said, _ in CHAT))}
    assert frames & fixed == set()


class Parrot:
    """Answers from a table of sentences and their branches."""

    def __init__(self, table):
        self._table = table

    def answer(self, frame, command):
        branches = tuple(
            Branch(route, phrases, Detections.empty())
            for route, phrases in self._table[command.text]
        )
        return Result("", 0, "", "text", branches)


def test_scores_count_routes_and_phrases_apart():
    frames = [Frame(np.zeros((4, 4, 3), np.uint8))]
    asked = (
        Phrasing("a", (Route.DETECT,), ("mug", "bowl")),
        Phrasing("b", (Route.DETECT,), ("mug",)),
        Phrasing("c", (Route.ANSWER,), ()),
        Phrasing("d", (Route.GROUND, Route.SEGMENT), ("mug", "cube")),
    )
    table = {
        "a": [(Route.DETECT, ("mug", "bowl"))],
        "b": [(Route.DETECT, ("cup",))],
        "c": [],
        "d": [(Route.SEGMENT, ("mug", "cube"))],
    }
    seen = []
    scores = score_phrasings(
        Parrot(table), frames, asked, progress=lambda done, total: seen.append((done, total))
    )
    assert scores.route_accuracy == 0.75
    assert scores.phrase_accuracy == 0.5
    assert (scores.route_chance, scores.phrase_chance) == (0.5, 0.25)
    assert [sentence for sentence, _ in scores.mistakes] == ["b", "d"]
    assert seen[-1] == (4, 4)


@pytest.fixture
def scene_of():
    from types import SimpleNamespace

    def make(rng):
        pairs = zip(rng.integers(12, size=4), rng.integers(8, size=4), strict=True)
        return [SimpleNamespace(kind=KINDS[k], color=COLORS[c]) for k, c in pairs]

    return make


def test_commands_fit_the_limits():
    for phrasing in PHRASINGS:
        assert Command(phrasing.sentence).text == phrasing.sentence

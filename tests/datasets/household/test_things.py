from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from vl2_ros.datasets.commands import sample_class_list, sample_perception
from vl2_ros.datasets.household.questions import NOTHING, list_kinds, sample_household_text
from vl2_ros.datasets.household.things import HOUSEHOLD, SYNONYMS, draw_absent, find_colors
from vl2_ros.datasets.nouns import KIND_WORDS
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.household.kinds import HOUSEHOLD_KINDS
from vl2_ros.sim.household.labels import HouseholdObject


def make_object(kind: str, color: str = "") -> HouseholdObject:
    return HouseholdObject(kind, color, (0.0, 0.0, 10.0, 10.0), 100, 1.0, {})


SCENE = (
    make_object("person"),
    make_object("chair", "red"),
    make_object("chair", "red"),
    make_object("potted plant"),
    make_object("cup", "blue"),
    make_object("cup"),
    make_object("lamp", "white"),
)
SEEDS = range(400)


def split_phrase(phrase: str) -> tuple[str, str]:
    first, _, rest = phrase.partition(" ")
    return (first, rest) if first in COLORS else ("", phrase)


def test_targets_are_all_objects_of_a_phrase() -> None:
    colored = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        sample = sample_class_list if seed % 2 else sample_perception
        example = sample(rng, SCENE, world=HOUSEHOLD)
        for phrase, found in zip(example.phrases, example.targets, strict=True):
            color, noun = split_phrase(phrase)
            fitting = [
                index
                for index, one in enumerate(SCENE)
                if one.kind == noun and color in ("", one.color)
            ]
            assert list(found) == fitting
            # The colour of one cup is not known, so no cup is asked for by its colour.
            assert not (color and noun in ("cup", "person", "potted plant"))
            colored += bool(color)
    assert colored > 20


def test_a_class_list_has_each_object_once_and_now_and_then_all_kinds() -> None:
    lengths = Counter()
    for seed in SEEDS:
        example = sample_class_list(
            np.random.default_rng(seed), SCENE, max_names=24, world=HOUSEHOLD
        )
        assert len(set(example.phrases)) == len(example.phrases) <= 64
        named = [index for found in example.targets for index in found]
        assert sorted(named) == list(range(len(SCENE)))
        lengths[len(example.phrases)] += 1
    assert 0.1 < lengths[len(HOUSEHOLD_KINDS)] / len(SEEDS) < 0.3


def test_what_is_drawn_as_absent_is_absent() -> None:
    for seed in SEEDS:
        thing = draw_absent(np.random.default_rng(seed), SCENE)
        there = [one for one in SCENE if one.kind == thing.noun]
        assert not there or all(thing.color and one.color != thing.color for one in there)
        assert all(one.color for one in there)


def test_colours_are_sure_or_not_named() -> None:
    assert find_colors(SCENE, "chair") == ("red", "red")
    assert find_colors(SCENE, "cup") == () == find_colors(SCENE, "bed")


def test_yes_is_as_frequent_as_no_and_answers_are_true() -> None:
    answers = Counter()
    for seed in range(3000):
        example = sample_household_text(np.random.default_rng(seed), SCENE)
        if example.answer.startswith(("Yes", "No")):
            answers[example.answer[:2]] += 1
            for one in re.findall(r"there is no (.*)\.", example.answer):
                color, noun = split_phrase(one)
                assert not any(x.kind == noun and color in ("", x.color) for x in SCENE)
    assert abs(answers["Ye"] - answers["No"]) < 0.1 * answers.total()
    assert answers.total() > 900


def test_every_count_of_a_scene_is_asked_for() -> None:
    scene = tuple([make_object("chair")] * 3 + [make_object("bed")] + [make_object("vase")] * 2)
    counts = Counter()
    for seed in range(3000):
        answer = sample_household_text(np.random.default_rng(seed), scene).answer
        if found := re.fullmatch(r"There (?:is|are) (no|one|two|three) [a-z ]+\.", answer):
            counts[found[1]] += 1
    assert set(counts) == {"no", "one", "two", "three"}
    assert max(counts.values()) < 1.5 * min(counts.values())


def test_listings_name_every_object() -> None:
    assert list_kinds(()) == NOTHING
    assert list_kinds(SCENE) == (
        "There are a person, a cup, a blue cup, two red chairs, a potted plant and a white lamp."
    )
    assert list_kinds(SCENE[:1]) == "There is a person."


@pytest.mark.parametrize("task", ["perception", "class_lists", "text"])
def test_an_empty_scene_can_be_asked_about(task: str) -> None:
    from vl2_ros.datasets.sources.household import HOUSEHOLD_SAMPLERS

    for seed in range(50):
        example = HOUSEHOLD_SAMPLERS[task](np.random.default_rng(seed), ())
        assert not any(example.targets)


def test_synonyms_stand_for_one_kind() -> None:
    words = [word for said in SYNONYMS.values() for word in said]
    assert len(set(words)) == len(words) and not set(words) & set(HOUSEHOLD_KINDS)
    assert set(SYNONYMS) <= set(HOUSEHOLD_KINDS) and not set(SYNONYMS) & set(KIND_WORDS)

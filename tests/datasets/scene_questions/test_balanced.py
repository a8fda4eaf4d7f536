"""Questions in words have answers that no guess finds, and that are right."""

from __future__ import annotations

import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from vl2_ros.datasets.commands import sample_words
from vl2_ros.datasets.scene_questions.balanced import (
    QUESTIONS,
    draw_count_question,
    draw_existence_question,
    draw_question,
)
from vl2_ros.datasets.scene_questions.relations import (
    LEAST_GAP,
    PlacedThing,
    draw_nearest,
    draw_relations,
    draw_side,
    place_objects,
)
from vl2_ros.datasets.scene_text import NUMBER_WORDS, count_matches
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS


def draw_scene(rng: np.random.Generator, count: int, kinds: int = 12) -> list[PlacedThing]:
    return [
        PlacedThing(
            KINDS[int(rng.integers(kinds))], COLORS[int(rng.integers(8))], *rng.random(2).tolist()
        )
        for _ in range(count)
    ]


def test_yes_is_as_frequent_as_no_with_a_colour_and_without():
    rng = np.random.default_rng(0)
    answers: Counter[tuple[bool, str]] = Counter()
    for _ in range(3000):
        asked = draw_existence_question(rng, draw_scene(rng, 5))
        is_there = count_matches(asked.things[0], []) > 0 or asked.answer.startswith("Yes")
        assert asked.nouns[0] in asked.question
        answers[asked.things[0].color is not None, "yes" if is_there else "no"] += 1
    for colored in (False, True):
        yes, no = answers[colored, "yes"], answers[colored, "no"]
        assert abs(yes / (yes + no) - 0.5) < 0.05


def test_coloured_no_shares_colour_or_kind_with_what_is_there():
    rng = np.random.default_rng(1)
    shared: Counter[str] = Counter()
    for _ in range(600):
        scene = draw_scene(rng, 4)
        asked = draw_existence_question(rng, scene)
        if asked.answer.startswith("No") and asked.things[0].color is not None:
            assert count_matches(asked.things[0], scene) == 0
            colors = {item.color for item in scene}
            kinds = {item.kind for item in scene}
            assert asked.things[0].color in colors or asked.things[0].noun in kinds
            shared["color"] += asked.things[0].color in colors
            shared["kind"] += asked.things[0].noun in kinds
    assert min(shared.values()) > 40


def test_numbers_are_asked_about_equally_where_all_occur():
    rng = np.random.default_rng(2)
    numbers: Counter[int] = Counter()
    for _ in range(3000):
        # As scenes of labels are drawn: many of few kinds.
        scene = draw_scene(rng, int(rng.integers(3, 9)), kinds=int(rng.integers(1, 6)))
        asked = draw_count_question(rng, scene)
        if asked.things[0].noun != "object":
            number = count_matches(asked.things[0], scene)
            assert NUMBER_WORDS[number] in asked.answer
            numbers[number] += 1
    assert set(numbers) == {0, 1, 2, 3, 4}
    assert min(numbers.values()) > 0.1 * numbers.total()
    assert max(numbers.values()) < 0.35 * numbers.total()


@pytest.mark.parametrize("is_right", [True, False])
def test_side_is_true_and_clear(is_right):
    rng = np.random.default_rng(3)
    sides: Counter[str] = Counter()
    for _ in range(200):
        scene = draw_scene(rng, 5)
        relation = draw_side(rng, scene, is_right=is_right)
        if relation is None:
            continue
        first, second = (
            next(one for one in scene if (one.color, one.kind) == (thing.color, thing.noun))
            for thing in relation.things
        )
        assert abs(first.x - second.x) >= LEAST_GAP
        true = "left" if first.x < second.x else "right"
        asked = "left" if " left of " in relation.question else "right"
        assert (asked == true) == is_right == relation.answer.startswith("Yes")
        assert f"is {true} of" in relation.answer
        sides[asked] += 1
    assert min(sides.values()) > 60


def test_nearest_is_the_nearest_and_clearly_so():
    scene = [
        PlacedThing("mug", "red", 0.1, 0.5),
        PlacedThing("ball", "blue", 0.3, 0.5),
        PlacedThing("box", "black", 0.9, 0.5),
    ]
    rng = np.random.default_rng(4)
    said = {draw_nearest(rng, scene).answer for _ in range(40)}
    assert said == {
        "The blue ball is nearest to the red mug.",
        "The red mug is nearest to the blue ball.",
        "The blue ball is nearest to the black box.",
    }
    level = [scene[0], PlacedThing("ball", "blue", 0.1, 0.8), PlacedThing("box", "black", 0.1, 0.2)]
    assert {draw_nearest(rng, level).things[0].noun for _ in range(40)} == {"ball", "box"}


def test_things_that_words_do_not_tell_apart_have_no_relations():
    twins = [PlacedThing("mug", "red", 0.1, 0.5), PlacedThing("mug", "red", 0.9, 0.5)]
    assert list(draw_relations(np.random.default_rng(0), twins)) == []


def test_every_question_is_drawn_as_often_as_its_weight():
    rng = np.random.default_rng(5)
    weights = {"existence": 1.0, "count": 2.0, "listing": 1.0}
    found: Counter[str] = Counter(
        draw_question(rng, draw_scene(rng, 4), weights).name for _ in range(800)
    )
    assert set(found) == set(weights)
    assert abs(found["count"] / 800 - 0.5) < 0.07
    everything = dict.fromkeys(QUESTIONS, 1.0)
    found = Counter(draw_question(rng, draw_scene(rng, 6), everything).name for _ in range(300))
    assert set(found) == set(QUESTIONS)
    assert draw_question(rng, [], everything).name in ("existence", "count", "listing")


def test_questions_in_words_ask_for_places_and_for_nothing_that_is_guessed():
    rng = np.random.default_rng(6)
    begins: Counter[str] = Counter()
    for _ in range(2000):
        example = sample_words(rng, draw_scene(rng, 6))
        assert not example.phrases and "[" not in example.answer
        # Of a side the answer repeats what is asked about what.
        begins["side"] += re.search(r"(left|right) of the", example.answer) is not None
        begins["nearest"] += "is nearest to" in example.answer
        begins["yes"] += example.answer.startswith("Yes, there")
        begins["no"] += example.answer.startswith("No, there")
    assert begins["side"] > 60 and begins["nearest"] > 20
    assert 0.75 < begins["yes"] / begins["no"] < 1.3


def test_objects_are_placed_at_the_middles_of_their_boxes():
    box = SimpleNamespace(kind="mug", color="red", box_xyxy=(100.0, 20.0, 140.0, 40.0))
    assert place_objects([box], (240, 320)) == (PlacedThing("mug", "red", 0.375, 0.125),)

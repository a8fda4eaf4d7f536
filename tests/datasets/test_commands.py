from __future__ import annotations

import hashlib
import re
from types import SimpleNamespace

import numpy as np
import pytest

from vl2_ros.datasets.commands import (
    ANSWER_OPENINGS,
    sample_class_list,
    sample_perception,
    sample_text,
)
from vl2_ros.datasets.nouns import COLOR_KIND_PHRASES, KIND_WORDS, OTHER_NOUNS, pluralize
from vl2_ros.datasets.scene_text import (
    color_answer,
    count_answer,
    existence_answer,
    listing_answer,
)
from vl2_ros.datasets.wording import Thing
from vl2_ros.model.language.tokens import ADDED_TOKENS
from vl2_ros.processing.language.answer import parse_answer_text
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS
from vl2_ros.structures import MAX_COMMAND_CHARACTERS, Route

SAMPLERS = (sample_perception, sample_text, sample_class_list)


def scene(*pairs):
    return [SimpleNamespace(color=pair.split()[0], kind=pair.split()[1]) for pair in pairs]


def random_scene(rng):
    count = int(rng.integers(10))
    return [
        SimpleNamespace(kind=KINDS[int(k)], color=COLORS[int(c)])
        for k, c in zip(rng.integers(12, size=count), rng.integers(8, size=count), strict=True)
    ]


def draw(sampler, count, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        objects = random_scene(rng)
        yield objects, sampler(rng, objects)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_equal_seeds_give_equal_examples(sampler):
    first = [example for _, example in draw(sampler, 200, seed=3)]
    assert first == [example for _, example in draw(sampler, 200, seed=3)]
    assert first != [example for _, example in draw(sampler, 200, seed=4)]


def test_a_seed_gives_the_same_commands_for_ever():
    digest = hashlib.sha256()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        objects = random_scene(rng)
        for sampler in 6 * SAMPLERS:
            example = sampler(rng, objects)
            said = (example.question, example.answer, *example.phrases, str(example.targets))
            digest.update("\n".join(said).encode())
    # A new sentence changes it on purpose; anything else that does is a mistake.
    assert digest.hexdigest() == (
        "e7f045367546a48ecd35e24ae373406d0982007f09d1cffec03753c23b1dcbf8"
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_questions_are_clean_commands(sampler):
    for _, example in draw(sampler, 3000):
        assert example.question.strip() == example.question
        assert 0 < len(example.question) <= MAX_COMMAND_CHARACTERS
        assert not any(token in example.question for token in ADDED_TOKENS)
        assert not re.search(r"[{}]", example.question), example.question


@pytest.mark.parametrize("sampler", (sample_perception, sample_class_list))
def test_each_phrase_has_its_routing_token_in_order(sampler):
    for _, example in draw(sampler, 3000):
        found = re.findall(r"(?:: |, )([^:,\[\]]+)(\[[A-Z]+\])", example.answer)
        assert tuple(phrase for phrase, _ in found) == example.phrases
        assert tuple(Route(token) for _, token in found) == example.routes
        assert example.route is example.routes[0]
        assert len(example.targets) == len(example.phrases)
        for route in set(example.routes):
            assert ANSWER_OPENINGS[route] in example.answer


@pytest.mark.parametrize("sampler", (sample_perception, sample_class_list))
def test_targets_are_the_objects_that_the_phrase_fits(sampler):
    for objects, example in draw(sampler, 3000):
        for phrase, targets in zip(example.phrases, example.targets, strict=True):
            words = phrase.split()
            expected = tuple(
                index
                for index, item in enumerate(objects)
                if phrase in (item.kind, f"{item.color} {item.kind}", "object")
                or words == [item.color, "object"]
            )
            assert targets == expected


def test_names_of_one_class_list_never_share_an_object():
    for _, example in draw(sample_class_list, 3000):
        taken = [index for targets in example.targets for index in targets]
        assert len(taken) == len(set(taken))
        assert len(example.phrases) == len(set(example.phrases))
        assert 6 <= len(example.phrases) <= 16


def test_every_kind_is_listed_in_a_third_of_the_class_lists():
    full = sum(set(e.phrases) == set(KINDS) for _, e in draw(sample_class_list, 4000))
    assert 0.31 < full / 4000 < 0.39


def test_colored_class_lists_contain_every_present_phrase_that_has_room():
    for objects, example in draw(sample_class_list, 500):
        if set(example.phrases) != set(KINDS):
            present = dict.fromkeys(f"{item.color} {item.kind}" for item in objects)
            assert (
                len(set(present) & set(example.phrases)) == min(len(present), len(example.phrases))
                or len(present) > 6
            )


def test_ground_asks_for_one_thing_that_is_nearly_always_unique():
    counts = [
        len(e.targets[0]) for _, e in draw(sample_perception, 6000) if e.routes == (Route.GROUND,)
    ]
    assert max(counts) == 1
    assert 0.65 < np.mean(counts) < 0.85


def test_all_routes_are_sampled_and_some_commands_open_two():
    routes = [example.routes for _, example in draw(sample_perception, 4000)]
    share = {route: sum(r[0] is route for r in routes) / 4000 for route in ANSWER_OPENINGS}
    assert min(share.values()) > 0.2
    assert 0.15 < sum(len(set(r)) == 2 for r in routes) / 4000 < 0.25


def test_some_things_lie_outside_the_simulator():
    phrases = [phrase for _, e in draw(sample_perception, 4000) for phrase in e.phrases]
    outside = [p for p in phrases if p not in KINDS and p not in COLOR_KIND_PHRASES]
    assert 0.1 < len(outside) / len(phrases) < 0.22


@pytest.mark.parametrize("sampler", (sample_perception, sample_text))
def test_wording_varies(sampler):
    questions = {example.question for _, example in draw(sampler, 5000)}
    assert len(questions) > 4000


def test_synonyms_become_the_kind_and_never_another_word():
    words = [word for synonyms in KIND_WORDS.values() for word in synonyms]
    assert len(words) == len(set(words))
    assert not set(words) & set(OTHER_NOUNS)
    assert tuple(KIND_WORDS) == KINDS
    assert len(OTHER_NOUNS) == len(set(OTHER_NOUNS)) >= 150


def test_text_answers_follow_the_scene():
    objects = scene("blue cube", "red mug", "blue cube", "white bowl")
    assert listing_answer(objects) == "There are a red mug, a white bowl and two blue cubes."
    assert listing_answer(objects[:1]) == "There is a blue cube."
    assert listing_answer([]) == "There is nothing on the table."
    assert count_answer(Thing(None, "cube"), objects) == "There are two cubes."
    assert count_answer(Thing("red", "mug"), objects) == "There is one red mug."
    assert count_answer(Thing(None, "box"), objects) == "There are no boxes."
    assert count_answer(Thing(None, "object"), objects) == "There are four objects."
    assert existence_answer(Thing(None, "mug"), objects) == "Yes, there is a red mug."
    assert existence_answer(Thing(None, "cube"), objects) == "Yes, there are two cubes."
    assert existence_answer(Thing("red", "cube"), objects) == "No, there is no red cube."
    assert color_answer("mug", objects) == "The mug is red."
    assert color_answer("cube", objects) == "The cubes are blue."
    assert color_answer("can", objects) == "There is no can."


def test_text_examples_open_no_route():
    for _, example in draw(sample_text, 3000):
        assert example.route is Route.ANSWER
        assert example.phrases == () and example.routes == ()
        assert "[" not in example.answer and example.answer.endswith(".")


@pytest.mark.parametrize(
    ("noun", "plural"),
    [("box", "boxes"), ("dish", "dishes"), ("cherry", "cherries"), ("toy", "toys")]
    + [("tin can", "tin cans"), ("person", "people"), ("toothbrush", "toothbrushes")],
)
def test_plurals_are_english(noun, plural):
    assert pluralize(noun) == plural


@pytest.mark.parametrize("sampler", (sample_perception, sample_class_list))
def test_answers_are_taken_apart_into_their_phrases(sampler):
    for _, example in draw(sampler, 4000, seed=8):
        groups = parse_answer_text(example.answer).groups
        assert tuple(group.phrase for group in groups) == example.phrases
        assert tuple(group.route for group in groups) == example.routes

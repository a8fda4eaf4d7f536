from __future__ import annotations

import re
from collections import defaultdict

import numpy as np
import pytest

from vl2_ros.datasets.nouns import KIND_WORDS, OTHER_NOUNS, pluralize
from vl2_ros.datasets.phrasings import (
    NEGATIONS,
    PASSIVES,
    REMARKS_ON_ONE,
    REQUESTS,
    SPOKEN_SENTENCES,
    SPOKEN_VERBS,
    WANTED,
)
from vl2_ros.datasets.spoken import negate, say_nothing_named, say_spoken, to_gerund
from vl2_ros.datasets.wording import Thing
from vl2_ros.structures import Route

ROUTES = (Route.DETECT, Route.SEGMENT, Route.GROUND)


@pytest.mark.parametrize(
    ("base", "gerund"),
    [
        ("put a mask on {x}", "putting a mask on {x}"),
        ("trace", "tracing"),
        ("see if you can find {x}", "seeing if you can find {x}"),
        ("cut {x} out", "cutting {x} out"),
        ("lie", "lying"),
        ("be on the lookout for {x}", "being on the lookout for {x}"),
        ("show me", "showing me"),
    ],
)
def test_gerunds_are_english(base, gerund):
    assert to_gerund(base) == gerund


@pytest.mark.parametrize("route", ROUTES)
def test_every_command_names_its_thing(route):
    rng = np.random.default_rng(0)
    for _ in range(3000):
        said = say_spoken(rng, route, [Thing("red", "hammer")])
        assert "red hammer" in said or "red" in said and "hamm" in said, said
        assert not re.search(r"[{}]", said), said


def test_one_wording_belongs_to_one_route():
    rng = np.random.default_rng(1)
    routes = defaultdict(set)
    for route in ROUTES:
        for _ in range(6000):
            said = say_spoken(rng, route, [Thing(None, "zebra")]).lower()
            routes[re.sub(r"\b(the|my|that|this|our)\b", "the", said)].add(route)
    assert [said for said, found in routes.items() if len(found) > 1] == []
    assert len(routes) > 9000


def test_tables_hold_their_places_once():
    wanted = [line for lines in WANTED.values() for line in lines]
    sentences = [line for lines in SPOKEN_SENTENCES.values() for line, _ in lines]
    remarks = [line for line, _ in REMARKS_ON_ONE]
    for line in (*wanted, *sentences, *remarks):
        assert line.count("{x}") == 1, line
    assert all(line.count("{n}") == 1 for line in REQUESTS)
    assert all(line.count("{x}") == 1 == line.count("{p}") for line in PASSIVES)
    assert all(line.count("{c}") == 1 == line.count("{y}") for line in NEGATIONS)
    bases = [line for lines in SPOKEN_VERBS.values() for line in lines]
    assert all(line.count("{x}") <= 1 for line in bases)
    assert len(set(bases)) == len(bases)


def test_commands_that_name_nothing_hold_no_thing():
    things = [
        word
        for words in KIND_WORDS.values()
        for word in words
        if word not in ("can", "box", "figure")
    ]
    things += [noun for noun in OTHER_NOUNS if " " in noun]
    thing = re.compile(rf"\b({'|'.join([*things, *map(pluralize, things)])})\b")
    rng = np.random.default_rng(2)
    for _ in range(4000):
        said = say_nothing_named(rng)
        assert not thing.search(said) and not re.search(r"[{}]", said), said


def test_negation_keeps_the_command_and_names_the_other_thing():
    rng = np.random.default_rng(3)
    for _ in range(200):
        said = negate(rng, "find the zebra", Thing(None, "hammer"))
        assert "find the zebra" in said and "hammer" in said

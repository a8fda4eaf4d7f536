"""Names in sentences: plurals, articles, lists."""

from __future__ import annotations

import pytest

from vl2_ros.datasets.nouns import COLOR_KIND_PHRASES, KIND_WORDS, OTHER_NOUNS, pluralize
from vl2_ros.processing.language.words import join_names, plural, with_article

#: Where training says one form and English the other.
OTHERWISE = {"scarf", "snowman"}


def test_trained_words_have_the_plurals_of_training() -> None:
    words = [word for several in KIND_WORDS.values() for word in several]
    for word in {*words, *COLOR_KIND_PHRASES, *OTHER_NOUNS} - OTHERWISE:
        assert plural(word) == pluralize(word)


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ("wine glass", "wine glasses"),
        ("fireman", "firemen"),
        ("human", "humans"),
        ("fish", "fish"),
        ("toy", "toys"),
        ("cherry", "cherries"),
        ("photo", "photos"),
        ("goggles", "goggles"),
        ("glass of water", "glasses of water"),
        ("man on a horse", "men on a horse"),
        ("man riding a horse", "man riding a horse"),
        ("猫", "猫"),
        ("region1", "region1"),
    ],
)
def test_plurals(one: str, several: str) -> None:
    assert plural(one) == several


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("apple", "an apple"),
        ("umbrella", "an umbrella"),
        ("uniform", "a uniform"),
        ("hourglass", "an hourglass"),
        ("black scissors", "black scissors"),
    ],
)
def test_articles(name: str, said: str) -> None:
    assert with_article(name) == said


def test_lists() -> None:
    assert join_names(["a"]) == "a"
    assert join_names(["a", "b", "c"]) == "a, b and c"

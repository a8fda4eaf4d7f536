from __future__ import annotations

import math

import pytest

from vl2_ros.errors import InputError
from vl2_ros.evaluation.texts.cider import score_cider, split_words

REFERENCES = [["a red mug on the table"], ["two black dogs run in deep snow"]]


def test_words_are_without_case_and_punctuation() -> None:
    assert split_words("A man's Red-brown mug, 2 dogs!") == (
        ["a", "man's", "red", "brown", "mug", "2", "dogs"]
    )


def test_the_reference_itself_scores_ten() -> None:
    captions = [texts[0] for texts in REFERENCES]
    assert score_cider(captions, REFERENCES) == pytest.approx(10.0)
    assert score_cider(["x y z w", "q r s t"], REFERENCES) == 0.0


def test_two_captions_by_hand() -> None:
    """All words of these references are in one record of two: every weight is log 2."""
    captions = ["a red cup", "two black dogs run in deep snow"]
    weight = math.log(2)
    # Words: a, red of three against six; pairs: "a red" of two against five; no more.
    words = 2 * weight**2 / (math.sqrt(3) * weight * math.sqrt(6) * weight)
    # "cup" is in no reference, which counts as in one.
    pairs = 1 * weight**2 / (math.sqrt(2) * weight * math.sqrt(5) * weight)
    penalty = math.exp(-(3**2) / (2 * 36))
    first = 10 * (words + pairs) / 4 * penalty
    assert score_cider(captions, REFERENCES) == pytest.approx((first + 10) / 2)


def test_repeated_words_count_as_often_as_in_the_reference() -> None:
    once, often = "red mug", "red red red red"
    references = [["red mug"], ["dog"]]
    weight = math.log(2)
    # One of four "red" counts, against red and mug; of the pairs none is shared.
    words = weight * weight / (4 * weight * math.sqrt(2) * weight)
    expected = 10 * words / 4 * math.exp(-(2**2) / (2 * 36))
    assert score_cider([often, "dog"], references) == pytest.approx((expected + 2.5) / 2)
    # Two words have no longer n-grams: half of the lengths count.
    assert score_cider([once, "dog"], references) == pytest.approx((5 + 2.5) / 2)


def test_words_that_every_record_has_weigh_nothing() -> None:
    assert score_cider(["a a", "b"], [["a b"], ["b a"]]) == pytest.approx(0.0)


def test_several_references_are_averaged() -> None:
    references = [["red mug", "dark cup"], ["dog"]]
    assert score_cider(["red mug", "dog"], references) == pytest.approx((5 / 2 + 2.5) / 2)


def test_records_without_references_are_refused() -> None:
    with pytest.raises(InputError, match="references"):
        score_cider(["a"], [[]])
    with pytest.raises(InputError, match="0 captions"):
        score_cider([], [])

"""The probability of "yes" against "no", whatever tokens the two are made of."""

from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.processing.language.tokenizer import load_tokenizer
from vl2_ros.processing.language.yes_no import YesNoScorer


class WordTokenizer:
    """Ids of a table; the words may share their first token."""

    def __init__(self, **ids: list[int]) -> None:
        self._ids = ids

    def encode(self, text, *, trusted=True):
        return self._ids[text.strip().lower()]


def logits(**values: float) -> np.ndarray:
    made = np.full(10, -9.0, np.float32)
    for name, value in values.items():
        made[int(name[1:])] = value
    return made


def test_probability_is_that_of_the_two_words_alone() -> None:
    scorer = YesNoScorer(WordTokenizer(yes=[3], no=[4]))
    at = logits(t3=1.0, t4=0.0, t7=8.0)
    assert scorer.depth == 1
    assert scorer.score("Yes, there is.", [3, 5], [at]) == pytest.approx(1 / (1 + np.exp(-1.0)))
    assert scorer.score("No.", [4, 5], [at]) == pytest.approx(1 / (1 + np.exp(1.0)))


def test_words_that_begin_alike_are_decided_later() -> None:
    scorer = YesNoScorer(WordTokenizer(yes=[2, 3], no=[2, 4]))
    first, second = logits(t2=5.0), logits(t3=0.0, t4=2.0)
    assert scorer.depth == 2
    assert scorer.score("no", [2, 4], [first, second]) == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert scorer.score("no", [2, 4], [first]) is None, "the answer ended before"


@pytest.mark.parametrize("text", ["Nothing.", "Yesterday.", "There is a yes.", "", "I see no mug."])
def test_other_answers_have_no_score(text: str) -> None:
    scorer = YesNoScorer(WordTokenizer(yes=[3], no=[4]))
    assert scorer.score(text, [3], [logits(t3=1.0)]) is None


@pytest.mark.parametrize("text", ["Yes, there is a mug.", "No, there is no mug.", " yes", "no"])
def test_the_embedded_tokenizer_writes_both_words(text: str) -> None:
    tokenizer = load_tokenizer(EMBEDDED_WEIGHTS)
    scorer, ids = YesNoScorer(tokenizer), tokenizer.encode(text)
    even = [np.zeros(tokenizer.vocab_size, np.float32)] * scorer.depth
    assert scorer.score(text, ids, even) == 0.5


def test_logits_far_apart_are_no_error() -> None:
    scorer = YesNoScorer(WordTokenizer(yes=[3], no=[4]))
    at = logits(t3=3e38, t4=-3e38)
    assert scorer.score("Yes", [3], [at]) == 1.0

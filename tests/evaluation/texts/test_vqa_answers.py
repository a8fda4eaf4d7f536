from __future__ import annotations

import pytest

from vl2_ros.errors import InputError
from vl2_ros.evaluation.texts.vqa_answers import normalise_answer, score_answer


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Yes", "yes"),
        ("A red mug.", "red mug"),
        ("the  two\tdogs", "2 dogs"),
        ("None", "0"),
        ("ten", "10"),
        ("eleven", "eleven"),
        ("3.5", "3.5"),
        ("St. Paul", "st paul"),
        # With a number that has a comma all marks are dropped, else those beside a space.
        ("1,000 red-brown", "1000 redbrown"),
        ("red-brown", "red brown"),
        ("red, brown", "red brown"),
        ("black/white", "black white"),
        ("dont", "don't"),
        ("wouldntve", "wouldn't've"),
        ("wouldn'tve", "wouldn't've"),
        ("yall", "y'all"),
        ("its", "its"),
        ("well", "well"),
        ("", ""),
    ],
)
def test_answers_are_brought_into_one_form(text: str, plain: str) -> None:
    assert normalise_answer(text) == plain


def test_accuracy_is_the_mean_over_leaving_out_each_person() -> None:
    """By hand: of ten people, n said "red"."""
    for count, expected in [
        (0, 0.0),
        # Left out is one of the n (then n - 1 others agree) or another person (then n).
        (1, (1 * 0 + 9 * (1 / 3)) / 10),
        (2, (2 * (1 / 3) + 8 * (2 / 3)) / 10),
        (3, (3 * (2 / 3) + 7 * 1) / 10),
        (4, 1.0),
        (10, 1.0),
    ]:
        people = ["Red."] * count + ["blue"] * (10 - count)
        if count == 10:
            people = ["red"] * 10
        assert score_answer("the red", people) == pytest.approx(expected)


def test_answers_on_which_all_agree_stay_as_they_are() -> None:
    assert score_answer("the red", ["the red"] * 10) == 0.0


def test_a_question_without_answers_is_refused() -> None:
    with pytest.raises(InputError, match="got none"):
        score_answer("red", [])

from __future__ import annotations

import pytest

from vl2_ros.evaluation.texts.choices import list_options, read_choice, rotate, write_choices

OPTIONS = ("a cat", "a dog", "two cats")


@pytest.mark.parametrize(
    ("answer", "index"),
    [
        ("B", 1),
        ("(C)", 2),
        (" A. a cat", 0),
        ("B: because", 1),
        ("The answer is C.", 2),
        ("the correct option is (B)", 1),
        ("A dog", 1),
        ("It is a dog.", 1),
        ("D", None),
        ("cat", None),
        ("a cat and a dog", None),
        ("Bananas", None),
        ("", None),
    ],
)
def test_the_choice_of_an_answer(answer: str, index: int | None) -> None:
    assert read_choice(answer, OPTIONS) == index


def test_a_question_lists_its_options() -> None:
    lines = write_choices("What is it?", OPTIONS).splitlines()
    assert lines[:4] == ["What is it?", "A. a cat", "B. a dog", "C. two cats"]
    assert len(lines) == 5


def test_turns_bring_every_option_to_every_letter() -> None:
    turned = [rotate("xyz", turns) for turns in range(3)]
    assert turned == [tuple("xyz"), tuple("yzx"), tuple("zxy")]


def test_options_end_at_the_first_that_is_missing() -> None:
    assert list_options({"A": "x", "B": " y ", "C": "nan", "D": "z"}) == ("x", "y")

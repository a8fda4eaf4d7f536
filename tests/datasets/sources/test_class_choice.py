from __future__ import annotations

import numpy as np

from vl2_ros.datasets.sources.labelled_source import ClassChoice


def draw_many(choice: ClassChoice, present: list[int], count: int) -> list[list[int]]:
    rng = np.random.default_rng(0)
    return [choice.draw(present, count, rng, evaluation=False) for _ in range(400)]


def test_half_of_the_questions_name_all_classes_and_the_others_those_of_the_image():
    drawn = draw_many(ClassChoice(100), [2, 5], 10)
    assert all(len(set(one)) == len(one) for one in drawn)
    assert all({2, 5} <= set(one) <= set(range(10)) for one in drawn)
    share = np.mean([len(one) == 10 for one in drawn])
    # One in nine of the others names all as well.
    assert 0.45 < share < 0.67
    assert {len(one) for one in drawn} == set(range(2, 11))
    assert len({tuple(one) for one in drawn if len(one) == 10}) > 100


def test_a_question_of_a_large_vocabulary_is_filled_up():
    drawn = draw_many(ClassChoice(30), [700, 3], 1000)
    assert all(len(one) == 30 and {3, 700} <= set(one) for one in drawn)
    many = draw_many(ClassChoice(30), list(range(50)), 1000)
    assert all(len(one) == 30 and max(one) < 50 for one in many)


def test_poses_are_asked_with_five_absent_classes_at_most():
    drawn = draw_many(ClassChoice(100, all_share=0.0, most_absent=5), [1], 54)
    assert {len(one) for one in drawn} == set(range(1, 7))


def test_an_image_without_an_object_is_asked_for_something():
    for choice in (ClassChoice(4), ClassChoice(4, most_absent=5), ClassChoice(2)):
        assert all(one for one in draw_many(choice, [], 4))


def test_evaluation_names_all_in_their_order():
    rng = np.random.default_rng(0)
    assert ClassChoice(100).draw([3], 5, rng, evaluation=True) == [0, 1, 2, 3, 4]

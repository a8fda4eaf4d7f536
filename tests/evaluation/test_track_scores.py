"""IDF1 and switches on sequences that were counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.errors import ShapeError
from vl2_ros.evaluation.track_scores import TrackedBoxes, TrackScorer


def make_boxes(labels: str | None = None, **ids_at: int) -> TrackedBoxes:
    """Boxes far from each other: `a=3` has the id 3 and lies at the place a."""
    corners = [[100.0 * ord(place[0]), 0, 100.0 * ord(place[0]) + 50, 50] for place in ids_at]
    return TrackedBoxes(
        list(ids_at.values()),
        np.array(corners, np.float32).reshape(-1, 4),
        [labels or "mug"] * len(ids_at),
    )


def score(*frames: tuple[TrackedBoxes, TrackedBoxes]) -> TrackScorer:
    scorer = TrackScorer()
    for truth, found in frames:
        scorer.add(truth, found)
    return scorer


def test_the_same_tracks_under_other_numbers_are_perfect():
    scorer = score(*[(make_boxes(a=1, b=2), make_boxes(a=9, b=4))] * 5)
    assert (scorer.idf1, scorer.box_f1, scorer.switches) == (1.0, 1.0, 0)


def test_a_track_that_is_broken_counts_with_its_longest_part():
    truth = make_boxes(a=1)
    scorer = score(*[(truth, make_boxes(a=5))] * 3, *[(truth, make_boxes(a=6))] * 7)
    # 7 of 10 true and of 10 found boxes.
    assert scorer.idf1 == pytest.approx(0.7)
    assert (scorer.box_f1, scorer.switches) == (1.0, 1)


def test_exchanged_ids_are_two_switches():
    truth = make_boxes(a=1, b=2)
    scorer = score(*[(truth, make_boxes(a=5, b=6))] * 4, *[(truth, make_boxes(a=6, b=5))] * 4)
    assert (scorer.idf1, scorer.switches) == (0.5, 2)


def test_one_found_track_serves_one_true_track():
    """Greedily 5 goes to the first object (3 frames); best is 5 to the second, 6 to the first."""
    first, second = make_boxes(a=1), make_boxes(b=2)
    scorer = score(
        *[(first, make_boxes(a=5))] * 3,
        *[(first, make_boxes(a=6))] * 2,
        *[(second, make_boxes(b=5))] * 2,
    )
    assert scorer.idf1 == pytest.approx(2 * 4 / 14)


def test_missed_and_false_boxes_lower_both():
    scorer = score((make_boxes(a=1, b=2), make_boxes(a=1)), (make_boxes(a=1), make_boxes(a=1, c=3)))
    # 2 of 3 true boxes and of 3 found ones.
    assert scorer.idf1 == scorer.box_f1 == pytest.approx(2 / 3)


def test_boxes_of_another_label_or_too_little_overlap_do_not_match():
    truth = make_boxes(a=1)
    shifted = TrackedBoxes([1], truth.boxes_xyxy + 20, ["mug"])  # IoU 0.22
    assert score((truth, make_boxes("bowl", a=1))).idf1 == 0.0
    assert score((truth, shifted)).idf1 == 0.0


def test_a_gap_is_no_switch_but_another_id_after_it_is():
    truth, nothing = make_boxes(a=1), make_boxes()
    assert score((truth, truth), (truth, nothing), (truth, truth)).switches == 0
    assert score((truth, truth), (truth, nothing), (truth, make_boxes(a=2))).switches == 1


def test_of_two_boxes_on_an_object_the_one_of_before_is_its_own():
    truth = make_boxes(a=1)
    both = TrackedBoxes(
        [7, 8], np.concatenate([truth.boxes_xyxy, truth.boxes_xyxy + 2]), ["mug"] * 2
    )
    assert score((truth, make_boxes(a=8)), (truth, both)).switches == 0


def test_sequences_do_not_mix():
    scorer = TrackScorer()
    for found in (make_boxes(a=1), make_boxes(a=2)):
        scorer.begin()
        scorer.add(make_boxes(a=1), found)
    assert (scorer.idf1, scorer.switches) == (1.0, 0)


def test_nothing_at_all_is_perfect():
    scorer = score((make_boxes(), make_boxes()))
    assert (scorer.idf1, scorer.box_f1) == (1.0, 1.0)
    assert score((make_boxes(), make_boxes(a=1))).idf1 == 0.0


def test_fields_of_other_lengths_are_refused():
    with pytest.raises(ShapeError, match="expected boxes_xyxy"):
        TrackedBoxes([1, 2], np.zeros((1, 4)), ["mug"])

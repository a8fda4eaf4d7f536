from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.geometry import Letterbox
from vl2_ros.processing.results.detection import semantic_map
from vl2_ros.processing.results.detection_branch import InstanceLimits, make_branch
from vl2_ros.structures import UNLABELLED, Branch, Detections, Route

SQUARE = Letterbox(frame_hw=(8, 8), model_hw=(8, 8), padded_hw=(8, 8))


def make_raw(logits: list[list[float]]) -> dict[str, np.ndarray]:
    """Query 0 covers the left half, query 1 the right half, others nothing."""
    columns = np.array([8.0, -8.0], np.float32)
    features = np.stack([columns, -columns, np.full(2, -8.0, np.float32)])
    queries = np.eye(3, dtype=np.float32)[np.minimum(np.arange(len(logits)), 2)]
    return {
        "pred_logits": np.array(logits, np.float32),
        "pred_boxes": np.full((len(logits), 4), 0.5, np.float32),
        "mask_queries": queries,
        "mask_features": np.repeat(features[:, None], 2, axis=1),
    }


def test_each_thing_that_is_single_keeps_its_best_query() -> None:
    raw = make_raw([[2.0, 3.0], [1.0, 2.0], [0.5, 1.0]])
    phrases = ("region1", "mug")
    limits = InstanceLimits(0.0, 100, single=frozenset({"region1"}))
    found = make_branch(raw, SQUARE, Route.DETECT, phrases, limits).detections
    assert found.labels == ("mug", "region1", "mug", "mug")
    found = make_branch(raw, SQUARE, Route.GROUND, phrases, InstanceLimits(0.0, 100)).detections
    assert found.labels == ("mug", "region1")


def test_columns_beyond_the_phrases_do_not_count() -> None:
    raw = make_raw([[1.0, 9.0], [2.0, 9.0]])
    found = make_branch(raw, SQUARE, Route.DETECT, ("mug",), InstanceLimits(0.0, 100)).detections
    assert found.scores.tolist() == pytest.approx([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-1))])


def test_label_map_is_made_for_segment_and_with_masks() -> None:
    raw = make_raw([[3.0, -9.0], [-9.0, 2.0]])
    branch = make_branch(raw, SQUARE, Route.SEGMENT, ("a", "b"), InstanceLimits(0.5, 100))
    assert branch.label_map is not None and branch.label_map.threshold == 0.5
    np.testing.assert_array_equal(branch.label_map.class_ids[:, :3], 0)
    np.testing.assert_array_equal(branch.label_map.class_ids[:, 5:], 1)
    bare = InstanceLimits(0.5, 100, with_masks=False)
    branch = make_branch(raw, SQUARE, Route.SEGMENT, ("a", "b"), bare)
    assert branch.label_map is None and branch.detections.masks is None
    assert make_branch(raw, SQUARE, Route.DETECT, ("a", "b"), bare).label_map is None


def test_pixels_of_no_sure_class_are_unlabelled() -> None:
    logits = np.array([[3.0], [0.0]], np.float32)  # .953 and .5
    masks = np.zeros((2, 2, 2), np.float32)
    masks[0, :, 0], masks[0, :, 1] = 20.0, -20.0
    masks[1, :, 0], masks[1, :, 1] = -20.0, 20.0
    letterbox = Letterbox(frame_hw=(2, 2), model_hw=(2, 2), padded_hw=(2, 2))
    for threshold, expected in ((0.0, [0, 0]), (0.4, [0, 0]), (0.6, [0, UNLABELLED])):
        found = semantic_map(logits, masks, letterbox, num_classes=1, score_threshold=threshold)
        assert found.tolist() == [expected] * 2
    found = semantic_map(logits, masks, letterbox, num_classes=1, score_threshold=0.99)
    assert (found == UNLABELLED).all()


def test_counts_are_reported_in_the_order_of_the_phrases() -> None:
    found = Detections(
        np.zeros((3, 4), np.float32), np.ones(3, np.float32), np.array([1, 1, 0]), ("b", "b", "a")
    )
    branch = Branch(Route.DETECT, ("a", "b", "c"), found)
    assert branch.counts == (1, 2, 0)


@pytest.mark.parametrize("joined", [False, True])
def test_a_mask_ends_with_its_thing_where_masks_are_joined(joined):
    features = np.full((1, 8, 8), -8.0, np.float32)
    features[0, :3, :3] = features[0, 6:, 6:] = 8.0
    raw = {
        "pred_logits": np.full((1, 1), 4.0, np.float32),
        "pred_boxes": np.array([[0.25, 0.25, 0.5, 0.5]], np.float32),
        "mask_queries": np.ones((1, 1), np.float32),
        "mask_features": features,
    }
    branch = make_branch(
        raw, SQUARE, Route.DETECT, ("a",), InstanceLimits(0.5, 10), joined_masks=joined
    )
    (mask,) = branch.detections.masks
    assert mask[0, 0] and mask[-1, -1] == (not joined)

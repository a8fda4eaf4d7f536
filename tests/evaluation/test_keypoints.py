from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.evaluation.keypoints import FoundKeypoints, KeypointTruth, OksScorer, PckScorer

SIGMAS = (0.05, 0.1)
#: COCO's own, of its 17 keypoints.
COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)


def make_truth(*points: tuple[float, float, int], area: float = 4000.0) -> KeypointTruth:
    return KeypointTruth(
        np.array([points], float), np.array([[0.0, 0, 100, 80]]), np.array([area]), np.zeros(1, int)
    )


def make_found(*points: tuple[float, float]) -> FoundKeypoints:
    return FoundKeypoints(np.array([points], float), np.array([0.9]), np.zeros(1, int))


def oks_of(truth: KeypointTruth, found: FoundKeypoints) -> float:
    """AP over the ten thresholds .50 to .95 gives OKS to a twentieth."""
    scorer = OksScorer(("person",), SIGMAS)
    scorer.add(truth, found)
    return scorer.score().ap


def test_found_where_it_is_scores_one() -> None:
    truth = make_truth((10, 10, 2), (50, 60, 1))
    assert oks_of(truth, make_found((10, 10), (50, 60))) == pytest.approx(1.0)


def test_similarity_falls_with_distance_as_defined() -> None:
    # exp(-d^2 / (2 area (2 sigma)^2)) at d 10, area 4000: .2865 for sigma .05, .7316 for sigma .1;
    # their mean is .509, just over the first of ten thresholds.
    truth = make_truth((10, 10, 2), (50, 60, 2))
    assert oks_of(truth, make_found((20, 10), (50, 70))) == pytest.approx(0.1)
    # Only the second is labelled: .7316 passes .50 to .70, five of ten.
    truth = make_truth((10, 10, 0), (50, 60, 2))
    assert oks_of(truth, make_found((90, 90), (50, 70))) == pytest.approx(0.5)


def test_typed_results_score_as_the_published_file(eval_reference: Path) -> None:
    truth = json.loads((eval_reference / "keypoints_gt.json").read_text())
    found = json.loads((eval_reference / "keypoints_dt.json").read_text())
    people = truth["annotations"]
    corners = np.array([row["bbox"] for row in people])
    corners[:, 2:] += corners[:, :2]
    scorer = OksScorer(("person",), COCO_SIGMAS)
    scorer.add(
        KeypointTruth(
            np.array([row["keypoints"] for row in people], float).reshape(-1, 17, 3),
            corners,
            np.array([row["area"] for row in people]),
            np.zeros(len(people), int),
            np.array([row["iscrowd"] for row in people], np.bool_),
        ),
        FoundKeypoints(
            np.array([row["keypoints"] for row in found]).reshape(-1, 17, 3)[..., :2],
            np.array([row["score"] for row in found]),
            np.zeros(len(found), int),
        ),
    )
    scores = scorer.score()
    assert scores.ap == pytest.approx(0.5048844884488449, abs=1e-6)
    assert scores.ap50 == pytest.approx(0.7227722772277227, abs=1e-6)


def test_near_keypoints_are_counted_by_share_of_the_longer_side() -> None:
    scorer = PckScorer(share=0.2)
    box = np.array([0.0, 0.0, 100.0, 80.0])  # near is within 20 pixels
    points = np.array([[10, 10, 2], [50, 60, 1], [0, 0, 0]], float)
    scorer.add(points, box, np.array([[30, 10], [50, 80.5], [500, 500]], float))
    scorer.add(points, box, np.array([[10, 10], [50, 60], [0, 0]], float))
    scorer.add(points, box, None)
    np.testing.assert_allclose(scorer.by_keypoint(), [2 / 3, 1 / 3, np.nan])
    assert scorer.score() == pytest.approx(0.5)


def test_what_does_not_fit_together_says_so() -> None:
    with pytest.raises(ShapeError, match=r"keypoints must be \(N, K, 3\)"):
        make_truth((1, 2))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"keypoints_xy must be \(1, K, 2\)"):
        FoundKeypoints(np.zeros((1, 2, 3)), np.zeros(1), np.zeros(1, int))
    with pytest.raises(InputError, match="3 keypoints an instance, expected 2"):
        oks_of(make_truth((1, 2, 2), (1, 2, 2), (1, 2, 2)), make_found((1, 2), (1, 2)))
    with pytest.raises(InputError, match="expected instances to compare, got 0 true"):
        OksScorer(("person",), SIGMAS).score()
    with pytest.raises(InputError, match="one number of keypoints"):
        PckScorer().score()
    with pytest.raises(ShapeError, match=r"found_xy must be \(1, 2\)"):
        PckScorer().add(np.ones((1, 3)), np.zeros(4), np.zeros((2, 2)))
    scorer = PckScorer()
    scorer.add(np.zeros((1, 3)), np.zeros(4), np.zeros((1, 2)))
    with pytest.raises(InputError, match="at least one labelled keypoint"):
        scorer.score()

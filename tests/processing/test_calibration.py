"""What a checkpoint knows about its limits: stored, read back, and applied to features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vl2_ros.errors import ConfigError, ShapeError
from vl2_ros.processing.calibration import Calibration, Domain, pool_tokens


def make_domain(limit: float = 0.5) -> Domain:
    return Domain(
        center=np.array([1.0, 2.0, 0.0, 0.0]),
        scale=np.array([1.0, 2.0, 1.0, 1.0]),
        direction=np.array([1.0, 0.5, 0.0, 0.0]),
        limit=limit,
    )


def test_features_are_pooled_over_the_tokens() -> None:
    tokens = np.array([[1.0, 5.0], [3.0, 5.0]], np.float32)
    np.testing.assert_allclose(pool_tokens(tokens), [2.0, 5.0, 1.0, 0.0])
    np.testing.assert_allclose(pool_tokens(np.stack([tokens, tokens])), [[2.0, 5.0, 1.0, 0.0]] * 2)


def test_a_frame_is_inside_up_to_the_limit() -> None:
    domain = make_domain()
    assert domain.contains(np.array([[1.0, 2.0]]))
    assert domain.contains(np.array([[1.5, 2.0]])), "the limit itself is inside"
    assert not domain.contains(np.array([[1.5, 2.1]]))
    np.testing.assert_allclose(domain.project(np.array([[[1.0, 2.0]], [[3.0, 6.0]]])), [0.0, 3.0])


def test_other_features_raise() -> None:
    with pytest.raises(ShapeError, match="expected features of 2 channels, got 3"):
        make_domain().contains(np.zeros((4, 3)))


def test_a_saved_calibration_comes_back(tmp_path: Path) -> None:
    saved = Calibration(make_domain(), 2.0, -0.5, 0.8, "0123456789abcdef")
    assert saved.save(tmp_path).name == "calibration.json"
    loaded = Calibration.load(tmp_path)
    assert (loaded.least_answer_score, loaded.identity) == (0.8, "0123456789abcdef")
    assert (loaded.yes_scale, loaded.yes_shift) == (2.0, -0.5)
    assert loaded.domain is not None and loaded.domain.limit == 0.5
    np.testing.assert_allclose(loaded.domain.direction, make_domain().direction)


def test_a_checkpoint_without_one_knows_no_limits(tmp_path: Path) -> None:
    loaded = Calibration.load(tmp_path)
    assert (loaded.domain, loaded.least_answer_score, loaded.identity) == (None, 0.0, "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 7}, "must have format 2, got 7"),
        ({"least_answer_score": 1.5}, "must lie in 0..1, got 1.5"),
        ({"least_answer_score": "high"}, "must be a number"),
        ({"yes_scale": 0}, "yes_scale must be above 0 and finite, got 0"),
        ({"yes_shift": None}, "yes_shift must be a number"),
        ({"identity": None}, "identity must be a text"),
        ({"domain": [1]}, "domain must be an object"),
        ({"domain": {"center": [0.0]}}, "scale must be a list"),
        (
            {"domain": {"limit": 0, "center": [0.0], "scale": [0.0], "direction": [0.0]}},
            "every scale must be positive",
        ),
        (
            {"domain": {"limit": 0, "center": [0.0], "scale": [1, 2], "direction": [0.0]}},
            "lists of one length",
        ),
        (
            {"domain": {"limit": 0, "center": [True], "scale": [1], "direction": [0.0]}},
            "center must be a number",
        ),
    ],
)
def test_damaged_files_raise(tmp_path: Path, change: dict, message: str) -> None:
    path = Calibration(least_answer_score=0.5, identity="x").save(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigError, match=message):
        Calibration.load(tmp_path)


@pytest.mark.parametrize("score", [0.5, 0.7, 1.0])
def test_without_a_calibration_a_score_is_what_it_was(score: float) -> None:
    assert Calibration().calibrate_score(score, says_yes=True) == score


def test_a_calibrated_yes_and_no_are_probabilities_of_one_thing() -> None:
    calibration = Calibration(yes_scale=0.5, yes_shift=-1.0)
    # Odds of 9 to 1 become 3 to 1, then e times less.
    yes = 3.0 / (3.0 + np.e)
    assert calibration.calibrate_score(0.9, says_yes=True) == pytest.approx(yes)
    assert calibration.calibrate_score(0.1, says_yes=False) == pytest.approx(1.0 - yes)
    assert 0.0 < calibration.calibrate_score(1.0, says_yes=False) < 1.0

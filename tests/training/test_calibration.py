"""Calibration: the direction away from training, the limits, and what they are chosen on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vl2_ros.errors import InputError
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.structures import Result
from vl2_ros.training.calibration import (
    add_noise,
    calibrate,
    choose_least_score,
    fit_domain,
    fit_yes_odds,
    list_images,
    render_sizes,
)


def test_the_direction_separates_where_single_features_do_not() -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(size=(800, 1)) * 10
    inside = np.concatenate([common, common], axis=1)[:400] + rng.normal(size=(400, 2)) * 0.3
    outside = np.concatenate([common, common + 3], axis=1)[400:] + rng.normal(size=(400, 2)) * 0.3
    domain = fit_domain(inside, outside)

    def project(rows: np.ndarray) -> np.ndarray:
        return (rows - domain.center) / domain.scale @ domain.direction

    assert (project(inside) < domain.limit).mean() > 0.97
    assert (project(outside) > domain.limit).mean() > 0.97


def test_the_smaller_side_weighs_as_much() -> None:
    rng = np.random.default_rng(1)
    inside, outside = rng.normal(size=(900, 3)), rng.normal(size=(9, 3)) + (4, 0, 0)
    domain = fit_domain(inside, outside)
    assert (((outside - domain.center) / domain.scale) @ domain.direction > 0).all()


def test_the_least_score_is_the_first_from_which_on_most_are_right() -> None:
    scores = np.linspace(0.5, 1.0, 1000)
    is_right = scores > 0.7  # of the answers from s on, (1 - 0.7) / (1 - s) are right
    assert choose_least_score(scores, is_right) == pytest.approx(1 - 0.3 / 0.9, abs=0.002)
    assert choose_least_score(scores, np.ones(1000, bool)) == 0.5


@pytest.mark.parametrize("count", [0, 20, 1000])
def test_guesses_are_never_given(count: int) -> None:
    guesses = np.arange(count) % 2 == 0
    assert choose_least_score(np.linspace(0.5, 0.9, count), guesses) == 1.0


def test_images_are_found_below_the_folders(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "deep/a.JPG", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in list_images([tmp_path])] == ["b.png", "a.JPG"]
    with pytest.raises(InputError, match=r"found none in .*deeper"):
        list_images([tmp_path / "deeper"])


def test_noise_depends_on_its_seed_alone_and_keeps_the_image() -> None:
    rgb = np.full((40, 60, 3), 90, np.uint8)
    one, same, other = (add_noise(rgb, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any() and abs(one.mean() - 90.0) < 25


def test_frames_come_in_all_sizes_and_every_seed_once() -> None:
    seen = [(rgb.shape[:2], seed) for rgb, _, seed in render_sizes(1_000_000, 6)]
    assert sorted(seed for _, seed in seen) == list(range(1_000_000, 1_000_006))
    assert {shape for shape, _ in seen} == {
        (240, 320),
        (480, 640),
        (360, 640),
        (480, 480),
        (480, 360),
    }


class BrightnessEncoder:
    """Features of one token: the mean of each colour."""

    def run(self, inputs):
        return {"image_tokens": inputs["pixels"].mean(axis=(2, 3))[:, None]}


def test_a_model_learns_its_limits_from_frames_and_images(tmp_path: Path) -> None:
    for index in range(4):
        glaring = np.full((20, 20, 3), 250 - index, np.uint8)
        Image.fromarray(glaring).save(tmp_path / f"{index}.png")
    asked = []

    def answer(frame, command):
        asked.append(command.text)
        # It says yes to everything and is as sure of it each time.
        return Result("", 0, "", "Yes.", raw_text="Yes.", answer_score=0.75)

    pipeline = SimpleNamespace(
        engines=SimpleNamespace(vision_encoder=BrightnessEncoder()),
        processing=ProcessingConfig(vision_side=28, vision_tokens=1, max_tiles=1),
        info=SimpleNamespace(identity="0123"),
        answer=answer,
    )
    steps = []
    made = calibrate(
        pipeline,
        [tmp_path],
        fit_frames=6,
        tune_frames=6,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(done, 12) for done in range(1, 13)]
    assert made.identity == "0123" and made.least_answer_score == 1.0
    assert asked and all(text.startswith("Is there a") for text in asked)
    white = np.array([[2.0, 2.0, 2.0]], np.float32)
    assert made.domain is not None
    assert not made.domain.contains(white) and made.domain.contains(white * 0)


def test_probabilities_that_are_too_sure_are_fitted_to_what_was_right() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0.0, 2.0, 4000)
    is_yes = rng.random(4000) < 1.0 / (1.0 + np.exp(-odds))
    # Three times too sure, and too often yes.
    claimed = 1.0 / (1.0 + np.exp(-(3.0 * odds + 1.0)))
    says_yes = claimed >= 0.5
    scores = np.where(says_yes, claimed, 1.0 - claimed)
    scale, shift = fit_yes_odds(scores, says_yes, says_yes == is_yes)
    assert scale == pytest.approx(1.0 / 3.0, rel=0.1)
    assert shift == pytest.approx(-1.0 / 3.0, abs=0.1)


def test_few_answers_and_answers_by_chance_are_fitted_to_nothing() -> None:
    few = np.full(10, 0.9)
    assert fit_yes_odds(few, few > 0, few > 0) == (1.0, 0.0)
    rng = np.random.default_rng(1)
    scores = rng.uniform(0.5, 1.0, 400)
    scale, shift = fit_yes_odds(scores, scores > 0, rng.random(400) < 0.5)
    assert 0.0 < scale < 0.3 and abs(shift) < 0.5

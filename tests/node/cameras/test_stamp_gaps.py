"""Images that are missing show in the stamps of a steady camera, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.node.cameras.stamp_gaps import StampGaps

PERIOD_S = 1 / 30


def note(stamps_s: np.ndarray) -> StampGaps:
    gaps = StampGaps()
    for stamp_s in stamps_s:
        gaps.note(round(1e9 * float(stamp_s)) + 10**18)
    return gaps


def make_stamps(count: int = 60, kept: float = 1.0, jitter: float = 0.0, seed: int = 0):
    """Stamps of a camera with 30 Hz, of which a share comes; jitter in periods."""
    rng = np.random.default_rng(seed)
    stamps_s = (np.arange(count) + jitter * rng.uniform(-1, 1, count)) * PERIOD_S
    return stamps_s[rng.random(count) < kept]


@pytest.mark.parametrize("jitter", [0.0, 0.05])
@pytest.mark.parametrize("kept", [0.4, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_missing_images_are_counted(kept, jitter, seed):
    stamps_s = make_stamps(200, kept, jitter, seed)[-64:]
    found = note(stamps_s).find_missing()
    sent = round((stamps_s[-1] - stamps_s[0]) / PERIOD_S)
    missing = sent + 1 - len(stamps_s)
    if kept > 0.4:
        assert (found.sent, found.missing) == (sent, missing)
    # Where so few come some gaps are as long as pauses.
    assert 0.8 * missing <= found.missing <= missing
    assert found.period_s == pytest.approx(PERIOD_S, rel=0.06)


def test_every_third_image_is_enough():
    assert note(make_stamps(180)[::3]).find_missing().missing == 0, "that is a camera of 10 Hz"
    stamps_s = np.delete(make_stamps(180), np.s_[20::3])
    assert note(stamps_s[:60]).find_missing().missing == 20


@pytest.mark.parametrize("seed", range(5))
def test_of_a_camera_that_is_not_steady_nothing_is_said(seed):
    rng = np.random.default_rng(seed)
    assert note(np.cumsum(rng.uniform(0.03, 0.3, 60))).find_missing() is None
    assert note(np.cumsum(rng.exponential(0.1, 60))).find_missing() is None


@pytest.mark.parametrize("count", [0, 1, 5, 12])
def test_of_few_images_nothing_is_said(count):
    assert note(make_stamps(count)).find_missing() is None


@pytest.mark.parametrize("count", range(0, 80, 4))
@pytest.mark.parametrize("rates", [(1, 2), (2, 1), (1, 3), (3, 1)])
def test_another_rate_is_none_that_has_gaps(rates, count):
    """Of a camera that exposes for longer in the dark, and shorter in the light again."""
    before = np.arange(80) * rates[0] * PERIOD_S
    after = before[-1] + np.arange(1, count + 1) * rates[1] * PERIOD_S
    found = note(np.hstack([before, after])).find_missing()
    assert found is None or found.missing < found.sent / 3


@pytest.mark.parametrize("pause_s", [60.0, 1.0, -100.0, 0.0])
def test_a_pause_and_a_step_of_the_clock_are_no_loss(pause_s):
    before = np.arange(30) * PERIOD_S
    after = before[-1] + pause_s + np.arange(20) * PERIOD_S
    found = note(np.hstack([before, after])).find_missing()
    assert (found.missing, found.sent) == (0, 48)


def test_what_is_cleared_is_forgotten():
    gaps = note(make_stamps(60, 0.5))
    gaps.clear()
    assert gaps.find_missing() is None

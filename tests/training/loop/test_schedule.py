from __future__ import annotations

import pytest

from vl2_ros.training.loop.schedule import learning_rate_share
from vl2_ros.training.recipes.recipe import Rates


def test_learning_rate_warms_up_stays_and_falls_to_its_end():
    rates = Rates(warmup=0.1, flat=0.2, final=0.05)
    assert learning_rate_share(rates, 49, 1000) == 0.5
    assert learning_rate_share(rates, 199, 1000) == 1.0
    assert learning_rate_share(rates, 599, 1000) == pytest.approx(0.525)
    assert learning_rate_share(rates, 999, 1000) == pytest.approx(0.05)


def test_rate_without_warmup_begins_at_the_peak():
    assert learning_rate_share(Rates(warmup=0.0, flat=1.0), 0, 7) == 1.0
    assert learning_rate_share(Rates(warmup=0.0, flat=1.0), 6, 7) == 1.0

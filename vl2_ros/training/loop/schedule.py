"""The learning rate over the steps of a run."""

from __future__ import annotations

import math

from vl2_ros.training.recipes.recipe import Rates


def learning_rate_share(rates: Rates, step: int, steps: int) -> float:
    """Return the factor on the peak learning rate of a step: warm-up, flat, cosine.

    Args:
        rates: shares of the steps, and of the peak.
        step: 0 to `steps` - 1.
        steps: of the whole run.
    """
    warmup = min(1.0, (step + 1) / max(1.0, rates.warmup * steps))
    share = (step + 1) / steps
    if share <= rates.flat or rates.flat == 1.0:
        return warmup
    progress = (share - rates.flat) / (1.0 - rates.flat)
    cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
    return warmup * (rates.final + (1.0 - rates.final) * cosine)

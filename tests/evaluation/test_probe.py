"""A linear probe reads what tokens hold, and no more."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vl2_ros.datasets.token_labels.label_table import COLOR_ROWS, KIND_ROWS
from vl2_ros.errors import InputError
from vl2_ros.evaluation.probe import ProbedTokens, encode_frames, measure_probe, probe_tower
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_processing
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.sim.tabletop import TabletopSimulator


def make_tokens(seed: int, *, noise: float) -> ProbedTokens:
    """Tokens that say their kind in some channels, and nothing of their colour."""
    chance = torch.Generator().manual_seed(seed)
    kinds = torch.randint(-1, 4, (3000,), generator=chance)
    colors = torch.where(kinds > 0, torch.randint(1, 3, (3000,), generator=chance), kinds)
    tokens = noise * torch.randn(3000, 12, generator=chance)
    tokens[torch.arange(3000), kinds.clamp(min=0)] += 1.0
    return ProbedTokens(tokens, kinds, colors, torch.arange(3000) % 5 == 0)


def test_probe_finds_the_kind_and_not_the_colour():
    scores = measure_probe(make_tokens(0, noise=0.1), make_tokens(1, noise=0.1))
    assert scores["kind_accuracy"] > 0.98 and scores["centre_kind_accuracy"] > 0.98
    assert scores["kind_accuracy_mug"] > 0.95
    assert 0.3 < scores["kind_chance"] < 0.4
    assert abs(scores["color_accuracy"] - 0.5) < 0.06
    assert 0.5 <= scores["color_chance"] < 0.55
    assert scores["tokens"] == (make_tokens(1, noise=0.1).kinds > 0).sum()


def test_probe_is_the_same_every_time_and_worse_with_noise():
    clear, noisy = (
        measure_probe(make_tokens(0, noise=noise), make_tokens(1, noise=noise))
        for noise in (0.1, 1.0)
    )
    assert measure_probe(make_tokens(0, noise=1.0), make_tokens(1, noise=1.0)) == noisy
    assert noisy["kind_chance"] + 0.1 < noisy["kind_accuracy"] < clear["kind_accuracy"] - 0.1


def test_frames_without_objects_and_shared_scenes_are_refused():
    tokens = make_tokens(0, noise=0.1)
    empty = ProbedTokens(tokens.tokens, 0 * tokens.kinds, 0 * tokens.colors, tokens.centres)
    with pytest.raises(InputError, match="frames with objects"):
        measure_probe(empty, tokens)
    with pytest.raises(InputError, match=r"outside of 2000000\.\.2000009"):
        probe_tower(None, None, seeds=range(2_000_005, 2_000_050), fit_frames=10)


@pytest.mark.slow
def test_tokens_of_the_embedded_model_show_colours():
    network, processing = load_model(EMBEDDED_WEIGHTS), load_processing(EMBEDDED_WEIGHTS)
    done: list[tuple[int, int]] = []
    scores = probe_tower(
        network.float(),
        processing,
        seeds=range(9_500_000, 9_500_012),
        fit_frames=40,
        progress=lambda *numbers: done.append(numbers),
    )
    assert done[-1] == (52, 52)
    assert scores["color_accuracy"] > scores["color_chance"] + 0.3
    assert scores["kind_accuracy"] > scores["kind_chance"]


def test_each_patch_has_a_label():
    network, processing = load_model(EMBEDDED_WEIGHTS), load_processing(EMBEDDED_WEIGHTS)
    with TabletopSimulator() as simulator:
        probed = encode_frames(network.float(), processing, iter([simulator.render(5)]))
    grid = network.config.vision_grid
    assert probed.tokens.shape == (grid**2, 192) and probed.kinds.shape == (grid**2,)
    assert probed.kinds.max() < KIND_ROWS and probed.colors.max() < COLOR_ROWS
    assert np.isfinite(probed.tokens.numpy()).all()

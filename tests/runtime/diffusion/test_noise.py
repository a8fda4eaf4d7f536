"""The noise of a seed is torch's, wherever it is drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vl2_ros.runtime.diffusion.noise import Noise

#: Of whole and of cut blocks, the sizes of latents among them.
SHAPES = ((1, 4, 8, 8), (1, 4, 9, 9), (1, 4, 64, 64), (1, 4, 10, 13), (1, 2, 2, 4))


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, 2**32 + 7, 2**63 - 1])
def test_draws_are_those_of_torch(seed):
    generator, noise = torch.Generator().manual_seed(seed), Noise(seed)
    for shape in SHAPES * 2:
        drawn, known = noise.draw(shape), torch.randn(shape, generator=generator).numpy()
        assert drawn.dtype == np.float32 and drawn.shape == shape
        # Their logarithms and cosines differ in the last place.
        assert np.abs(drawn - known).max() < 2e-6


def test_noise_is_normal_and_reproducible():
    drawn = Noise(3).draw((1, 4, 64, 64))
    assert abs(drawn.mean()) < 0.03 and abs(drawn.std() - 1) < 0.03
    assert np.array_equal(drawn, Noise(3).draw((1, 4, 64, 64)))
    assert not np.array_equal(drawn, Noise(4).draw((1, 4, 64, 64)))

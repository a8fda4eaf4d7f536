from __future__ import annotations

import pytest
import torch
from torch import nn

from vl2_ros.errors import ConfigError
from vl2_ros.model.language.projector import make_projector, pixel_shuffle, shuffle_tokens


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("linear", {"weight", "bias"}),
        ("mlp1x_gelu", {"0.weight", "0.bias"}),
        ("mlp3x_gelu", {f"{i}.{part}" for i in (0, 2, 4) for part in ("weight", "bias")}),
        ("internvl", {f"{i}.{part}" for i in (0, 1, 3) for part in ("weight", "bias")}),
    ],
)
def test_layer_indices_are_those_of_the_release(kind: str, keys: set[str]):
    projector = make_projector(kind, 8, 6)
    assert set(projector.state_dict()) == keys
    assert projector(torch.zeros(2, 3, 8)).shape == (2, 3, 6)


def test_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="got 'qformer'"):
        make_projector("qformer", 8, 6)


def test_gelu_is_exact():
    gelus = [layer for layer in make_projector("mlp2x_gelu", 4, 4) if isinstance(layer, nn.GELU)]
    assert [layer.approximate for layer in gelus] == ["none"]


def test_pixel_shuffle_puts_rows_of_a_block_first():
    maps = torch.arange(4 * 4 * 2).reshape(1, 4, 4, 2)
    merged = pixel_shuffle(maps)
    for row in range(2):
        for column in range(2):
            for inner in range(4):
                source = maps[0, 2 * row + inner // 2, 2 * column + inner % 2]
                assert torch.equal(merged[0, row, column, 2 * inner : 2 * inner + 2], source)
    tokens = shuffle_tokens(maps.reshape(1, 16, 2))
    assert torch.equal(tokens, merged.reshape(1, 4, 8))

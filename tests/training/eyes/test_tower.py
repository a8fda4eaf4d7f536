"""A tower for larger images starts with the weights of the smaller one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vl2_ros.errors import ConfigError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.projector import shuffle_tokens
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.training.eyes.tower import (
    enlarge_processing,
    enlarge_vision,
    interpolate_positions,
)


def make_network(**changes) -> VisionLLM:
    torch.manual_seed(0)
    config = replace(ModelConfig.tiny(with_detection=False), **changes)
    return VisionLLM(config, TokenIds.from_base(64)).eval()


@pytest.fixture(scope="module")
def network() -> VisionLLM:
    return make_network()


def test_enlarged_network_has_as_many_tokens_and_all_other_weights(network):
    larger = enlarge_vision(network, 112)
    assert larger.config.vision_grid == 8
    assert larger.config.tokens_per_tile == network.config.tokens_per_tile == 16
    assert network.config.vision["image_size"] == 56
    old, new = network.state_dict(), larger.state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed == {
        "vision_encoder.embeddings.position_embedding.weight",
        "projector.0.weight",
    }


def test_merged_token_starts_as_the_mean_of_four(network):
    larger = enlarge_vision(network, 112)
    patches = torch.randn(1, 64, 32)
    merged = larger.projector[0](shuffle_tokens(patches))
    mean = shuffle_tokens(patches).unflatten(-1, (4, 32)).mean(2)
    torch.testing.assert_close(merged, network.projector[0](mean), atol=1e-5, rtol=1e-4)


def test_positions_follow_the_image():
    table = torch.zeros(1 + 16, 2)
    table[0] = 7.0
    # The first channel counts columns, the second one rows.
    table[1:, 0], table[1:, 1] = torch.arange(4.0).repeat(4), torch.arange(4.0).repeat_interleave(4)
    larger = interpolate_positions(table, 8)
    assert larger.shape == (65, 2) and torch.equal(larger[0], table[0])
    columns = larger[1:, 0].unflatten(0, (8, 8))
    assert (columns.diff(dim=1) > 0).all() and columns.diff(dim=0).abs().max() < 1e-5
    assert torch.equal(interpolate_positions(table, 4), table)


def test_enlarged_network_is_left_as_it_is(network):
    larger = enlarge_vision(network, 112)
    assert enlarge_vision(larger, 112) is larger
    with pytest.raises(ConfigError, match="side 224; got one of 112 pixels"):
        enlarge_vision(larger, 224)


def test_projector_with_a_norm_first_is_refused():
    with pytest.raises(ConfigError, match="begin with a linear layer"):
        enlarge_vision(make_network(projector_type="internvl_mlp"), 112)


def test_processing_takes_the_tiles_of_the_network(network):
    larger = enlarge_vision(network, 112)
    changed = enlarge_processing(ProcessingConfig(vision_side=56, vision_tokens=16), larger)
    assert (changed.vision_side, changed.vision_tokens) == (112, 16)


def test_patches_are_those_that_the_projector_reads(network):
    pixels = torch.rand(2, 3, 56, 56)
    with torch.no_grad():
        patches = network.encode_patches(pixels)
        tokens = network.encode_images(pixels).image_tokens
        torch.testing.assert_close(network.projector(patches), tokens)

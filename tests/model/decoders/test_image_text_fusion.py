from __future__ import annotations

import pytest
import torch
from transformers import GroundingDinoConfig
from transformers.models.grounding_dino.modeling_grounding_dino import GroundingDinoFusionLayer

from vl2_ros.model.decoders.attention.image_text_fusion import ImageTextFusion


@pytest.fixture
def config() -> GroundingDinoConfig:
    return GroundingDinoConfig(
        d_model=32,
        encoder_ffn_dim=96,
        encoder_attention_heads=4,
        fusion_dropout=0.0,
        fusion_droppath=0.0,
    )


def run(layer: GroundingDinoFusionLayer, classes: int) -> list[torch.Tensor]:
    source = torch.Generator().manual_seed(3)
    vision = torch.randn(2, 11, 32, generator=source, requires_grad=True)
    text = torch.randn(2, classes, 32, generator=source, requires_grad=True)
    no_pixel = torch.zeros(2, 11, dtype=torch.bool)
    no_pixel[1, 7:] = True
    no_class = torch.zeros(2, classes, dtype=torch.bool)
    no_class[1, 1:] = True
    (tokens, _), (read, _) = layer(vision, text, no_pixel, no_class)
    (tokens.square().sum() + read.square().sum()).backward()
    return [tokens, read, vision.grad, text.grad, *(one.grad for one in layer.parameters())]


@pytest.mark.parametrize("classes", [1, 5])
def test_results_and_gradients_are_those_of_the_replaced_module(config, classes):
    torch.manual_seed(0)
    plain = GroundingDinoFusionLayer(config)
    for part in (plain.vision_param, plain.text_param):
        torch.nn.init.uniform_(part, 0.5, 1.0)
    ours = ImageTextFusion(config)
    ours.load_state_dict(plain.state_dict())
    for one, other in zip(run(plain, classes), run(ours, classes), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=2e-4)


def test_dropped_weights_drop_their_share_of_the_bias(config):
    config.fusion_dropout = 1.0
    layer = ImageTextFusion(config).train()
    torch.nn.init.ones_(layer.text_param)
    torch.nn.init.ones_(layer.attn.values_vision_proj.bias)
    text = torch.randn(1, 3, 32)
    _, (read, _) = layer(torch.randn(1, 6, 32), text)
    # Nothing is read, so only the bias of the last projection is added.
    expected = layer.layer_norm_text(text) + layer.attn.out_text_proj.bias
    torch.testing.assert_close(read, expected)

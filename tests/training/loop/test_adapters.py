from __future__ import annotations

import pytest
import torch

from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.detection.decoder import DetectionDecoder
from vl2_ros.training.loop.adapters import add_adapters
from vl2_ros.training.recipes.recipe import Lora

pytest.importorskip("peft")


def test_every_adapter_of_a_decoder_has_an_effect():
    torch.manual_seed(0)
    decoder = DetectionDecoder(DetectionConfig.tiny())
    states = torch.randn(1, 2, decoder.config.num_embs, decoder.config.l_hidden_size)
    add_adapters(decoder, Lora(rank=2, modules=("encoder.*", "decoder.*")))
    down = {name: one for name, one in decoder.named_parameters() if ".lora_A." in name}
    assert len(down) > 20
    for name, one in decoder.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(one)
    found = decoder(torch.randn(1, 3, 64, 96), states, torch.ones(1, 2, dtype=torch.bool))
    (found.pred_logits.sum() + found.pred_boxes.square().sum() + found.mask_logits.sum()).backward()
    idle = [name for name, one in down.items() if one.grad is None]
    assert not idle

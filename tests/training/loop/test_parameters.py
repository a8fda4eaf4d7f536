"""Which parameters a recipe trains, by pattern."""

from __future__ import annotations

import pytest
import torch

from tests.training.toy import change
from vl2_ros.errors import ConfigError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.training.loop.parameters import choose_trained, fits
from vl2_ros.training.recipes.reading import read_recipe


class Tied(torch.nn.Module):
    """A network whose output layer is its table of words."""

    def __init__(self) -> None:
        super().__init__()
        self.network = torch.nn.Module()
        self.network.llm = torch.nn.Module()
        self.network.llm.embed_tokens = torch.nn.Embedding(5, 3)
        self.network.llm.layer = torch.nn.Linear(3, 3)
        self.network.llm.lm_head = torch.nn.Linear(3, 5, bias=False)
        self.network.llm.lm_head.weight = self.network.llm.embed_tokens.weight


@pytest.mark.parametrize("name", ["llm.embed_tokens", "llm.lm_head"])
def test_tied_tables_go_by_both_names(name):
    table = ["network.llm.embed_tokens.weight"]
    assert choose_trained(Tied(), change({"trained": (name,)})) == table
    rest = choose_trained(Tied(), change({"trained": ("llm",), "frozen": (name,)}))
    assert rest == ["network.llm.layer.weight", "network.llm.layer.bias"]
    with pytest.raises(ConfigError, match="fits nothing"):
        choose_trained(Tied(), change({"trained": (name + "s",)}))


@pytest.mark.parametrize("stage", ["stage2_multi_task", "stage3_decoders"])
def test_reference_points_learn_slowly(stage):
    network = VisionLLM(ModelConfig.tiny(), TokenIds.from_base(64))
    names = [name for name, _ in network.named_parameters() if "reference_points" in name]
    factors = dict(read_recipe(stage).rates.factors())
    slow = [pattern for pattern, factor in factors.items() if factor == 0.1]
    assert names and all(fits(name, slow) for name in names)

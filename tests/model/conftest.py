from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.model.renamed_release import rename_release_keys
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM


@dataclass(frozen=True)
class CoreGolden:
    tensors: Mapping[str, Tensor]
    info: Mapping[str, Any]

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.tensors[name]
        return tensor.bool() if name.endswith(("mask", "masks")) else tensor

    def numbered(self, stem: str) -> list[Tensor]:
        found = []
        while f"{stem}_{len(found)}" in self.tensors:
            found.append(self.tensors[f"{stem}_{len(found)}"])
        return found


def build_core_model(info: Mapping[str, Any], weights: Mapping[str, Tensor]) -> VisionLLM:
    ids = info["token_ids"]
    llm = info["config"]["llm_config"]
    tokens = TokenIds.from_lookup(ids.get, eos=llm["eos_token_id"], pad=llm["pad_token_id"])
    model = VisionLLM(ModelConfig.from_release(info["config"]), tokens).eval()
    state = rename_release_keys(weights)
    # The mappers are there without the networks behind them; test_prompt_mapper.py has them.
    state = {name: tensor for name, tensor in state.items() if not name.startswith("image_")}
    model.load_state_dict(state, strict=True)
    return model


@pytest.fixture(scope="session")
def read_core(golden_dir: Path) -> Callable[[str], CoreGolden]:
    def read(name: str) -> CoreGolden:
        info = json.loads((golden_dir / f"{name}.json").read_text())
        return CoreGolden(load_file(golden_dir / f"{name}.safetensors"), info)

    return read


@pytest.fixture(scope="session")
def core_model(read_core: Callable[[str], CoreGolden]) -> VisionLLM:
    golden = read_core("core_weights")
    return build_core_model(golden.info, golden.tensors)


@pytest.fixture
def tiny_tokens() -> TokenIds:
    return TokenIds.from_base(64)


@pytest.fixture
def tiny_model(tiny_tokens: TokenIds) -> VisionLLM:
    torch.manual_seed(0)
    return VisionLLM(ModelConfig.tiny(with_detection=False), tiny_tokens).eval()

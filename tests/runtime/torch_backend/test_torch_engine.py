"""Engines around a small network: what they say of themselves, and what they need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vl2_ros.errors import ConfigError, EngineError, InputError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.runtime.torch_backend.engine import TorchLanguageSession, make_engine

CPU = torch.device("cpu")
PIXELS = np.zeros((3, 3, 56, 56), np.float32)


def make_model(**changes) -> VisionLLM:
    torch.manual_seed(0)
    config = replace(ModelConfig.tiny(with_detection=False), **changes)
    return VisionLLM(config, TokenIds.from_base(64)).eval()


def test_maps_for_regions_come_only_from_a_model_that_reads_them():
    with_regions = make_engine(make_model(), "vision_encoder", CPU)
    output = with_regions.run({"pixels": PIXELS})
    assert with_regions.info.outputs == ("image_tokens", "region_maps") == tuple(output)
    assert output["image_tokens"].shape == (3 * 16, 64)
    assert output["region_maps"].shape == (3, 3, 32, 4, 4)  # levels, tiles, channels, grid
    without = make_engine(make_model(use_region_encoder=False), "vision_encoder", CPU)
    assert tuple(without.run({"pixels": PIXELS})) == without.info.outputs == ("image_tokens",)


def test_a_region_reads_its_own_tile():
    model = make_model()
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=PIXELS.shape).astype(np.float32)
    maps = make_engine(model, "vision_encoder", CPU).run({"pixels": pixels})["region_maps"]
    encoder = make_engine(model, "region_encoder", CPU)
    masks = np.ones((3, 56, 56), np.float32)

    def encode(*tiles: int) -> np.ndarray:
        inputs = {"pixels": pixels, "region_maps": maps, "masks": masks[: len(tiles)]}
        return encoder.run(inputs | {"tile_index": np.array(tiles)})["region_features"]

    together = encode(2, 0, 2)
    assert together.shape == (3, 64)
    np.testing.assert_allclose(together[0], together[2], atol=1e-6)
    np.testing.assert_allclose(together[1:2], encode(0), atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_a_model_without_region_encoder_has_no_such_engine():
    with pytest.raises(ConfigError, match="no region encoder"):
        make_engine(make_model(use_region_encoder=False), "region_encoder", CPU)


def test_missing_inputs_are_named():
    with pytest.raises(EngineError, match="region_encoder needs.*missing: region_maps, tile_index"):
        make_engine(make_model(), "region_encoder", CPU).run({"pixels": PIXELS, "masks": PIXELS[0]})


def test_features_and_marks_of_regions_must_agree():
    model = make_model()
    ids = np.array([1, model.tokens.region, 5, model.tokens.region])
    session = TorchLanguageSession(model, CPU)
    with pytest.raises(InputError, match="2 <region> ids, got 1 features"):
        session.feed(ids, None, np.zeros((1, 64), np.float32))
    assert session.feed(ids, None, np.ones((2, 64), np.float32)).hidden.shape == (4, 64)

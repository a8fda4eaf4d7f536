"""The full-size 7B + Swin-T network, without its weights, against the specified tables."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from tests.model.checkpoint.release_tables import (
    ReleaseSizes,
    gdino_keys,
    glue_keys,
    llm_keys,
    release_config,
    release_keys,
    vision_keys,
)
from vl2_ros.model.checkpoint.release_keys import rename_key
from vl2_ros.model.checkpoint.weights import build_empty_model
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds

SIZES = ReleaseSizes()


@pytest.fixture(scope="module")
def model():
    config = ModelConfig.from_release(release_config(SIZES))
    return build_empty_model(config, TokenIds.from_base(32000))


def count_part(model, part):
    parameters = model.get_submodule(part).parameters()
    return sum(parameter.numel() for parameter in parameters)


def test_tables_hold_the_published_counts():
    def total(rows):
        return sum(torch.Size(shape).numel() for _, shape in rows)

    glue = list(glue_keys(SIZES))
    assert total(vision_keys(SIZES)) == 303_507_456
    assert total(llm_keys(SIZES)) == 6_738_628_608
    assert total(row for row in glue if row[0].startswith("region_encoder")) == 4_540_608
    assert total(row for row in glue if row[0].startswith("vl_bridge")) == 20_979_712
    assert total(row for row in glue if row[0].startswith("emb_embeddings")) == 557_056
    assert len(list(gdino_keys(SIZES))) == 843


@pytest.mark.parametrize(
    ("part", "count"),
    [
        ("vision_encoder", 303_507_456),
        ("llm", 6_738_628_608),
        ("region_encoder", 4_540_608),
        ("projector", 20_979_712),
        ("super_link", 557_056),
    ],
)
def test_parts_have_the_published_parameter_counts(model, part, count):
    assert count_part(model, part) == count


def test_detection_decoder_has_65_4_million_parameters(model):
    assert round(count_part(model, "detection_decoder") / 1e6, 1) == 65.4
    assert round(count_part(model, "detection_decoder.backbone") / 1e6, 1) == 27.5


def test_pose_decoder_has_65_8_million_parameters(model):
    assert round(count_part(model, "pose_decoder") / 1e6, 2) == 65.79


def test_every_released_tensor_has_its_place_and_every_place_a_tensor(model):
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    filled: Counter[str] = Counter()
    for name, shape in release_keys(SIZES).items():
        targets = rename_key(name)
        assert targets is not None, name
        if not targets:
            assert name.endswith("relative_position_index")
            continue
        for target in targets:
            assert (shape[0] // target.blocks, *shape[1:]) == ours.get(target.name), name
            filled[target.name] += 1
    assert set(filled) == set(ours)
    shared = {name: count for name, count in filled.items() if count > 1}
    # Two box heads under 12 names, a mask head under 6, a keypoint head under 10, a head of
    # keypoint sizes under 8; weight and bias of three layers each.
    assert Counter(shared.values()) == Counter({12: 12, 6: 6, 10: 6, 8: 6})


def test_nothing_big_is_allocated_and_every_computed_buffer_is(model):
    real = [tensor for tensor in model.state_dict().values() if not tensor.is_meta]
    assert sum(tensor.nbytes for tensor in real) < 2 * 2**20
    stored = set(model.state_dict())
    computed = [tensor for name, tensor in model.named_buffers() if name not in stored]
    assert computed
    assert not any(tensor.is_meta for tensor in computed)

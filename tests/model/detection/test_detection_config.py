from __future__ import annotations

import json
from dataclasses import replace

import pytest

from vl2_ros.errors import ConfigError
from vl2_ros.model.detection.config import DetectionConfig

SWIN = {"model_type": "swin", "depths": [2, 2, 6, 2]}


def test_json_round_trip_keeps_the_config() -> None:
    for config in (DetectionConfig.tiny(), DetectionConfig.full_size()):
        plain = json.loads(json.dumps(config.to_dict()))
        assert DetectionConfig.from_dict(plain) == config


def test_release_integers_become_the_declared_types() -> None:
    release = {
        "backbone_config": {**SWIN, "mlp_ratio": 4, "drop_path_rate": 0, "top_p": 1.0},
        "giou_cost": 2,
        "positional_embedding_temperature": 20.0,
        "dropout": 0,
        "length_penalty": 1.0,
    }
    config = DetectionConfig.from_release(release, 4096)
    assert type(config.giou_cost) is float
    assert type(config.dropout) is float
    assert type(config.positional_embedding_temperature) is int
    assert type(config.backbone_config["mlp_ratio"]) is float
    assert "top_p" not in config.backbone_config


def test_absent_values_are_the_released_ones() -> None:
    config = DetectionConfig.from_release({"backbone_config": SWIN}, 4096)
    assert (config.d_model, config.num_queries, config.dn_number) == (256, 900, 100)
    assert (config.l_hidden_size, config.num_embs) == (4096, 4)
    assert config.class_logits == "dot"


def test_null_values_are_the_released_ones() -> None:
    names = ("two_stage", "norm", "query_dim", "d_model", "num_embs", "l_hidden_size")
    config = DetectionConfig.from_release({"backbone_config": SWIN} | dict.fromkeys(names), 4096)
    assert config == DetectionConfig.from_release({"backbone_config": SWIN}, 4096)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"two_stage": False}, "two_stage"),
        ({"norm": "BN"}, "norm"),
        ({"l_hidden_size": 2048}, "l_hidden_size"),
        ({"backbone_config": {"model_type": "internimage-H"}}, "internimage-H"),
        ({"backbone_config": None}, "backbone_config"),
        ({"backbone_config": {"model_type": "swin", "depths": [2, 2, 6]}}, "stage"),
    ],
)
def test_a_form_that_is_not_built_is_named(changes: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        DetectionConfig.from_release({"backbone_config": SWIN, **changes}, 4096)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"norm_groups": 5}, "norm_groups"),
        ({"mask_branch_width": 20}, "mask"),
        ({"encoder_attention_heads": 3}, "heads"),
        ({"class_logits": "cosine"}, "class_logits"),
        ({"mask_loss_layers": "first"}, "mask_loss_layers"),
        ({"num_feature_levels": 2}, "num_feature_levels"),
        ({"num_queries": 0}, "num_queries"),
    ],
)
def test_a_combination_that_cannot_work_is_refused(changes: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        replace(DetectionConfig.tiny(), **changes)


def test_an_unknown_saved_field_is_refused() -> None:
    with pytest.raises(ConfigError, match="colour"):
        DetectionConfig.from_dict({**DetectionConfig.tiny().to_dict(), "colour": 1})

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from vl2_ros.errors import ConfigError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.pose.config import OKS_SIGMAS, PoseConfig

#: What the published configuration says (docs/spec/unipose.md, section 2).
PUBLISHED = {
    "backbone": "swin_T_224_1k",
    "hidden_dim": 256,
    "nheads": 8,
    "dim_feedforward": 2048,
    "enc_layers": 6,
    "dec_layers": 6,
    "num_queries": 900,
    "dn_number": 100,
    "dropout": 0,
    "keypoint_loss_coef": 10,
    "oks_loss_coef": 4,
    "num_classes": 2,
    "max_text_len": 256,
}


def test_json_round_trip_keeps_the_config() -> None:
    for config in (PoseConfig.tiny(), PoseConfig.full_size()):
        plain = json.loads(json.dumps(config.to_dict()))
        assert PoseConfig.from_dict(plain) == config


def test_published_values_are_the_defaults() -> None:
    config = PoseConfig.from_release(PUBLISHED, 4096)
    assert config == PoseConfig.full_size()
    assert type(config.dropout) is float
    # The similarity loss takes the weight of the distance, 4 is never read.
    assert (config.oks_weight, config.oks_cost) == (10.0, 4.0)
    assert config.max_text_len == 100
    assert len(OKS_SIGMAS) == config.num_keypoints == 68


def test_the_mask_of_the_published_scores_is_chosen_by_hand() -> None:
    assert PoseConfig.from_release(PUBLISHED, 4096).group_mask == "group"
    config = PoseConfig.from_release(PUBLISHED | {"group_mask": "released"}, 4096)
    assert config.group_mask == "released"


def test_sizes_of_the_backbone_come_from_its_name_or_beside_it() -> None:
    large = PoseConfig.from_release(PUBLISHED | {"backbone": "swin_L_384_22k"}, 4096)
    assert large.backbone_config["embed_dim"] == 192
    assert large.backbone_config["window_size"] == 12
    beside = PoseConfig.from_release(PUBLISHED | {"swin": {"embed_dim": 8}}, 4096)
    assert beside.backbone_config["embed_dim"] == 8
    assert list(beside.backbone_config["depths"]) == [2, 2, 6, 2]


def test_null_values_are_the_published_ones() -> None:
    names = ("two_stage_type", "backbone", "swin", "use_cdn", "nheads", "keypoint_loss_coef")
    missing = {name: value for name, value in PUBLISHED.items() if name not in names}
    nulls = PUBLISHED | dict.fromkeys(names)
    assert PoseConfig.from_release(nulls, 4096) == PoseConfig.from_release(missing, 4096)


def test_training_without_denoising_is_read() -> None:
    assert PoseConfig.from_release(PUBLISHED | {"use_cdn": False}, 4096).dn_number == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"two_stage_type": "no"}, "two_stage_type"),
        ({"return_interm_indices": [0, 1, 2, 3]}, "return_interm_indices"),
        ({"l_hidden_size": 2048}, "l_hidden_size"),
        ({"backbone": "internimage_h"}, "internimage_h"),
        ({"backbone": "swin_T_512"}, "swin_T_512"),
    ],
)
def test_a_form_that_is_not_built_is_named(changes: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        PoseConfig.from_release(PUBLISHED | changes, 4096)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"norm_groups": 5}, "norm_groups"),
        ({"encoder_attention_heads": 3}, "heads"),
        ({"num_feature_levels": 2}, "num_feature_levels"),
        ({"num_queries": 0}, "num_queries"),
        ({"box_layers": 4}, "box_layers"),
        ({"num_keypoints": 17}, "num_keypoints"),
        ({"num_keypoints": 69}, "num_keypoints"),
        ({"group_mask": "leaky"}, "group_mask"),
    ],
)
def test_a_combination_that_cannot_work_is_refused(changes: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        replace(PoseConfig.tiny(), **changes)


def test_an_unknown_saved_field_is_refused() -> None:
    with pytest.raises(ConfigError, match="colour"):
        PoseConfig.from_dict({**PoseConfig.tiny().to_dict(), "colour": 1})


def test_network_config_holds_it_or_none() -> None:
    for with_pose in (True, False):
        config = ModelConfig.tiny(with_pose=with_pose)
        assert (config.pose is not None) is with_pose
        assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    before = ModelConfig.tiny().to_dict()
    del before["pose"]
    assert ModelConfig.from_dict(before).pose is None
    with pytest.raises(ConfigError, match="the pose decoder takes"):
        replace(config, pose=PoseConfig.full_size())


def test_a_release_that_uses_it_must_describe_it() -> None:
    tiny = ModelConfig.tiny()
    release = {"vis_encoder_config": tiny.vision, "llm_config": tiny.llm, "use_unipose": True}
    with pytest.raises(ConfigError, match="unipose_config"):
        ModelConfig.from_release(release)

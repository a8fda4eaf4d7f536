from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from vl2_ros.errors import ConfigError
from vl2_ros.model.config import ModelConfig

SWIN = {"model_type": "swin", "depths": [2, 2, 6, 2], "window_size": None}


def release_config(**changes: Any) -> dict[str, Any]:
    return {
        "model_type": "visionllmv2",
        "vis_encoder_config": {
            "architectures": None,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
            "torch_dtype": "float32",
        },
        "llm_config": {
            "architectures": ["LlamaForCausalLM"],
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "vocab_size": 90,
            "rope_scaling": None,
        },
        "vl_bridge_type": "mlp3x_gelu",
        "num_embs": 3,
        "num_embs_gen": 8,
        "use_gdino": False,
        "gdino_config": None,
        **changes,
    }


def test_release_config_is_read():
    config = ModelConfig.from_release(release_config(use_region_encoder=True))
    assert config.projector_type == "mlp3x_gelu"
    assert (config.num_embs, config.num_embs_gen) == (3, 8)
    assert (config.vision_grid, config.tokens_per_tile, config.llm_width) == (4, 16, 64)
    assert config.use_region_encoder
    assert config.detection is None
    assert "torch_dtype" not in config.vision
    assert "rope_scaling" not in config.llm


def test_release_defaults_are_those_of_the_spec():
    release = release_config()
    for key in ("vl_bridge_type", "num_embs", "num_embs_gen"):
        del release[key]
    config = ModelConfig.from_release(release)
    assert config.projector_type == "mlp2x_gelu"
    assert config.vision_output_layer == -2
    assert (config.num_embs, config.num_embs_gen) == (4, 64)
    assert not config.use_pixel_shuffle
    assert not config.use_region_encoder


def test_null_is_what_a_missing_value_is():
    release = release_config(use_gdino=True, gdino_config={"backbone_config": SWIN})
    names = ("vl_bridge_type", "num_embs", "num_embs_gen", "vis_output_layer", "use_pixelshuffle")
    nulls = ModelConfig.from_release(release | dict.fromkeys(names))
    assert nulls == ModelConfig.from_release({k: v for k, v in release.items() if k not in names})
    assert nulls.detection.num_embs == 4


@pytest.mark.parametrize(
    ("part", "name"),
    [("vis_encoder_config", "InternVisionModel"), ("llm_config", "InternLM2ForCausalLM")],
)
def test_intern_variants_are_named_as_not_supported(part: str, name: str):
    release = release_config()
    release[part] = {**release[part], "architectures": [name]}
    with pytest.raises(ConfigError, match=f"{name}.*not supported"):
        ModelConfig.from_release(release)


def test_unmerged_adapters_are_refused():
    with pytest.raises(ConfigError, match="merge"):
        ModelConfig.from_release(release_config(use_llm_lora=True))


def test_another_model_type_is_refused():
    with pytest.raises(ConfigError, match="expected model_type 'visionllmv2', got 'llava'"):
        ModelConfig.from_release(release_config(model_type="llava"))


def test_missing_part_is_named():
    with pytest.raises(ConfigError, match="llm_config"):
        ModelConfig.from_release(release_config(llm_config=None))


@pytest.mark.parametrize("with_detection", [False, True])
def test_config_survives_json(with_detection: bool):
    config = replace(ModelConfig.tiny(with_detection=with_detection), table_init_std=0.02)
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_field_is_refused():
    values = ModelConfig.tiny(with_detection=False).to_dict()
    with pytest.raises(ConfigError, match="num_slots"):
        ModelConfig.from_dict({**values, "num_slots": 4})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"projector_type": "mlp0x_gelu"}, "projector_type"),
        ({"vision_output_layer": -5}, r"-4\.\.3"),
        ({"num_embs": 0}, "num_embs"),
        ({"attention": "flash"}, "attention"),
    ],
)
def test_impossible_values_are_refused(change: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        replace(ModelConfig.tiny(with_detection=False), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": 7}, "even patch_size"),
        ({"num_hidden_layers": 1}, "at least 2 vision layers"),
        ({"patch_size": None}, "patch_size must be an int"),
        ({"depth": 3}, "unknown"),
    ],
)
def test_impossible_vision_values_are_refused(change: dict[str, Any], message: str):
    config = ModelConfig.tiny(with_detection=False)
    with pytest.raises(ConfigError, match=message):
        replace(config, vision={**config.vision, **change}, vision_output_layer=-1)


@pytest.mark.parametrize("change", [{"num_embs": 3}, {"llm": {"hidden_size": 32}}])
def test_detection_decoder_must_fit_the_super_link(change: dict[str, Any]):
    config = ModelConfig.tiny()
    if "llm" in change:
        change = {"llm": {**config.llm, **change["llm"]}}
    with pytest.raises(ConfigError, match="detection decoder takes"):
        replace(config, **change)


def test_pixel_shuffle_needs_an_even_grid():
    config = ModelConfig.tiny(with_detection=False)
    odd = {**config.vision, "image_size": 70}
    assert replace(config, vision=odd).tokens_per_tile == 25
    with pytest.raises(ConfigError, match="even patch grid"):
        replace(config, vision=odd, use_pixel_shuffle=True)


def test_config_needs_no_tensor_library():
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from vl2_ros.model.config import ModelConfig\n"
        "from vl2_ros.model.language.slots import insert_slots\n"
        "from vl2_ros.model.language.tokens import TokenIds\n"
        "ModelConfig.tiny()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

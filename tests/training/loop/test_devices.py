from __future__ import annotations

import json

import pytest
import torch

from tests.training.toy import RECIPE, change
from vl2_ros.errors import ConfigError
from vl2_ros.training.loop.devices import choose_precision, name_precision, open_accelerator


def test_unknown_device_is_an_error():
    with pytest.raises(ConfigError, match="auto, cpu, cuda, got 'tpu'"):
        open_accelerator(RECIPE, "tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_that_is_not_there_is_an_error():
    with pytest.raises(ConfigError, match="no GPU here; expected auto or cpu"):
        open_accelerator(RECIPE, "cuda")


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_precision_is_the_recipes_and_a_resumed_run_keeps_its_own(name):
    recipe = change({"precision": name})
    assert name_precision(open_accelerator(recipe, "cpu")) == name
    assert name_precision(open_accelerator(recipe, "cpu", "float32")) == "float32"


def test_automatic_precision_follows_the_configuration_of_accelerate(monkeypatch):
    recipe = change({"precision": "auto"})
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert name_precision(open_accelerator(recipe, "cpu")) == "bfloat16"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp8")
    with pytest.raises(ConfigError, match="one of no, bf16, fp16, got 'fp8'"):
        open_accelerator(recipe, "cpu")


@pytest.mark.parametrize("is_faster", [True, False])
def test_automatic_precision_on_a_cpu_is_by_timing(monkeypatch, is_faster):
    monkeypatch.setattr("vl2_ros.training.loop.devices.bfloat16_is_faster", lambda: is_faster)
    expected = "bfloat16" if is_faster else "float32"
    assert choose_precision(torch.device("cpu")) == expected


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"gradient_accumulation_steps": "auto", "zero_optimization": {"stage": 2}}, "not support"),
        ({"gradient_accumulation_steps": 4}, "gradient_accumulation_steps: 4 there, 1 in the rec"),
        ({"gradient_clipping": 0.5}, "gradient_clipping: 0.5 there, 1.0 in the recipe"),
        ({"bf16": {"enabled": True}}, "bf16.enabled: True there, float32 here"),
        ({"zero_optimization": {"stage": 4}}, "zero_optimization.stage must be an int in 0..3"),
        ({"zero_optimization": 3}, "zero_optimization must be an object"),
    ],
)
def test_configuration_of_deepspeed_is_compared_and_not_run(
    tmp_path, monkeypatch, document, message
):
    (tmp_path / "zero.json").write_text(json.dumps(document))
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", str(tmp_path / "zero.json"))
    with pytest.raises(ConfigError, match=message):
        open_accelerator(RECIPE, "cpu")

"""Which model and how it runs: checked once, for every caller."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import pytest

from vl2_ros.errors import ConfigError
from vl2_ros.load_options import LoadOptions
from vl2_ros.model.parts import PARTS
from vl2_ros.node.parameters import ProcessParameters
from vl2_ros.parameter_table import note_of


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"weights": None}, "weights must be str, got None"),
        ({"weights": b"folder"}, "weights must be str, got b'folder'"),
        ({"device": "gpu"}, "device must be auto, cpu, cuda or cuda:1, ..., got 'gpu'"),
        ({"device": "cuda:"}, "device must be auto, cpu"),
        ({"backend": "tvm"}, "backend must be one of auto, .*, tensorrt, tensorrt-rtx, got 'tv"),
        ({"engines": 3}, "engines must be str, got 3"),
        ({"allow_fallback": "yes"}, "allow_fallback must be bool, got 'yes'"),
        ({"without": "pose_decoder"}, "without must be texts, got 'pose_decoder'"),
        ({"without": ("images",)}, f"'images'.*; expected some of {', '.join(PARTS)}"),
        ({"max_tiles": -1}, "max_tiles must be at least 0, got -1"),
        ({"max_tiles": 65}, "max_tiles must be at most 64, got 65"),
        ({"max_tiles": 1.0}, "max_tiles must be int, got 1.0"),
        ({"memory_budget_mb": -1.0}, "memory_budget_mb must be at least 0, got -1.0"),
        ({"memory_budget_mb": float("nan")}, "memory_budget_mb must be at least 0, got nan"),
        ({"memory_budget_mb": float("inf")}, "memory_budget_mb must be at most 1e"),
        ({"memory_budget_mb": True}, "memory_budget_mb must be float, got True"),
        (
            {"backend": "onnxruntime", "memory_budget_mb": 50},
            "the backend torch only, got 50 and onnxruntime; choose torch, or skip parts",
        ),
        (
            {"precision": "float16"},
            "precision must be one of auto, float32, bfloat16, int8, got 'float16'",
        ),
        (
            {"backend": "onnxruntime", "precision": "bfloat16"},
            "precision must be auto or float32 or int8 with the backend onnxruntime, got bfloat16",
        ),
        (
            {"backend": "torch", "precision": "int8"},
            "precision must be auto or float32 or bfloat16 with the backend torch, got int8",
        ),
        (
            {"backend": "tensorrt", "precision": "int8"},
            "precision must be auto with the backend tensorrt, got int8; choose",
        ),
        (
            {"precision": "int8", "memory_budget_mb": 50.0},
            "memory_budget_mb works with the backend torch, which has no int8, got 50",
        ),
        (
            {"precision": "int8", "device": "cuda"},
            "precision int8 is for the CPU, got the device cuda; choose the device cpu or auto",
        ),
        ({"cuda_graphs": 1}, "cuda_graphs must be bool, got 1"),
    ],
)
@pytest.mark.parametrize("table", [LoadOptions, ProcessParameters])
def test_bad_values_are_named(table, values, expected):
    with pytest.raises(ConfigError, match=expected):
        table(**values)


def test_defaults_are_the_embedded_model_with_all_its_parts():
    options = LoadOptions()
    assert (options.weights, options.device, options.backend) == ("", "auto", "auto")
    assert (options.without, options.memory_budget_mb) == ((), 0.0)


def test_paths_and_lists_become_what_a_ros_parameter_holds():
    options = LoadOptions(weights=Path("a/b"), engines=Path("c"), without=["pose_decoder"])
    assert (options.weights, options.engines) == ("a/b", "c")
    assert options == LoadOptions("a/b", engines="c", without=("pose_decoder",))
    assert hash(options) == hash(pickle.loads(pickle.dumps(options)))


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_devices_are_those_of_the_help(device):
    assert LoadOptions(device=device).device == device


def test_every_option_has_a_note_and_every_part_is_named():
    for item in dataclasses.fields(LoadOptions):
        assert note_of(item.name, LoadOptions).text
    with pytest.raises(ConfigError, match="no parameter 'colour'; expected one of: weights, dev"):
        note_of("colour", LoadOptions)


def test_a_process_has_the_same_options_first():
    names = [item.name for item in dataclasses.fields(ProcessParameters)]
    assert names[: len(dataclasses.fields(LoadOptions))] == [
        item.name for item in dataclasses.fields(LoadOptions)
    ]

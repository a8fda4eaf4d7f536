"""Checks of the inputs of every graph, on any backend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vl2_ros.errors import EngineError
from vl2_ros.model.graphs import GRAPHS
from vl2_ros.runtime.graph_inputs import check_graph_inputs

#: A decoder with the pixels of its backbone in place of maps.
SPEC = replace(
    GRAPHS["detection_decoder"],
    inputs=(
        *GRAPHS["detection_backbone"].inputs,
        *(one for one in GRAPHS["detection_decoder"].inputs if one.name != "maps"),
    ),
)


def make_inputs(classes: int = 2, side: int = 32) -> dict[str, np.ndarray]:
    return {
        "pixels": np.zeros((1, 3, side, side), np.float32),
        "pixel_mask": np.ones((1, side, side), bool),
        "super_link": np.zeros((1, classes, 4, 8), np.float32),
        "class_mask": np.ones((1, classes), bool),
    }


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_numpy_and_tensors_of_any_precision_pass(dtype):
    check_graph_inputs(SPEC, make_inputs())
    tensors = {name: torch.from_numpy(array) for name, array in make_inputs(20).items()}
    tensors["super_link"] = tensors["super_link"].to(dtype)
    check_graph_inputs(SPEC, tensors, {"slots": 4, "height": 32})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"class_mask": np.ones((1, 3), bool)},
            r"super_link has 2 for classes; got \(1, 3\)",
        ),
        ({"pixel_mask": np.ones((1, 32, 64), bool)}, "where pixels has 32 for width"),
        ({"pixels": np.zeros((1, 4, 32, 32), np.float32)}, "where the graph has 3 for 3"),
        ({"pixels": np.zeros((3, 32, 32), np.float32)}, r"shape \(rows, 3, height, width\), got"),
        ({"class_mask": np.ones((1, 2), np.int64)}, "class_mask as bool, got int64"),
        ({"super_link": np.ones((1, 2, 4, 8))}, "super_link as float32, got float64"),
        ({"super_link": np.ones((1, 2, 4, 8), ">f4")}, "super_link as float32, got >f4"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(EngineError, match=message):
        check_graph_inputs(SPEC, make_inputs() | changes)


def test_sizes_that_an_engine_fixes_are_asked_for():
    with pytest.raises(EngineError, match="where this engine has 64 for height"):
        check_graph_inputs(SPEC, make_inputs(), {"height": 64})


def test_all_that_is_missing_is_named():
    with pytest.raises(EngineError, match="missing: pixel_mask, super_link, class_mask"):
        check_graph_inputs(SPEC, {"pixels": make_inputs()["pixels"]})

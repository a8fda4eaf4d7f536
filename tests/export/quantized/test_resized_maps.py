from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import TensorProto, helper

from vl2_ros.export.quantized.resized_maps import multiply_resizes
from vl2_ros.runtime.onnxruntime_backend.engine import run_file


def write_resize(path: Path, **attributes: str | int) -> None:
    axes = ["rows", "channels", "height", "width"]
    node = helper.make_node(
        "Resize",
        ["maps", "", "", "sizes"],
        ["resized"],
        **{"mode": "linear", "coordinate_transformation_mode": "half_pixel", **attributes},
    )
    graph = helper.make_graph(
        [node],
        "resizing",
        [
            helper.make_tensor_value_info("maps", TensorProto.FLOAT, axes),
            helper.make_tensor_value_info("sizes", TensorProto.INT64, [4]),
        ],
        [helper.make_tensor_value_info("resized", TensorProto.FLOAT, [None] * 4)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.save(model, path)


@pytest.mark.parametrize("size", [(12, 16), (11, 15), (13, 7), (6, 8), (3, 4), (1, 1)])
def test_products_enlarge_and_shrink_as_resize_does(tmp_path, size):
    write_resize(tmp_path / "plain.onnx")
    model = onnx_ir.load(tmp_path / "plain.onnx")
    multiply_resizes(model)
    assert not any(node.op_type == "Resize" for node in model.graph)
    onnx_ir.save(model, tmp_path / "products.onnx")
    maps = np.random.default_rng(0).standard_normal((2, 3, 6, 8), np.float32)
    call = {"maps": maps, "sizes": np.array([2, 3, *size])}
    (plain,) = run_file(tmp_path / "plain.onnx", [call])
    (products,) = run_file(tmp_path / "products.onnx", [call])
    assert products["resized"].shape == (2, 3, *size)
    np.testing.assert_allclose(products["resized"], plain["resized"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "nearest"},
        {"coordinate_transformation_mode": "asymmetric"},
        {"antialias": 1},
    ],
)
def test_another_resize_stays(tmp_path, attributes):
    write_resize(tmp_path / "other.onnx", **attributes)
    model = onnx_ir.load(tmp_path / "other.onnx")
    multiply_resizes(model)
    assert [node.op_type for node in model.graph] == ["Resize"]

"""Graphs whose activations have fixed scales, run by ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vl2_ros.errors import EngineError
from vl2_ros.export.quantized.fixed_scales import quantise_fixed
from vl2_ros.runtime.onnxruntime_backend.engine import run_file

FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(3)
WIDTH = 32


def write(path: Path, nodes, inputs, outputs, weights) -> Path:
    graph = helper.make_graph(
        [helper.make_node(*node[:3], **(node[3] if len(node) > 3 else {})) for node in nodes],
        "graph",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(one.astype(np.float32), name) for name, one in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def write_products(folder: Path, *, outliers: bool = False) -> Path:
    """Write y = tanh(x A + b) A: two products that share a matrix, one of them with a bias."""
    nodes = [
        ("MatMul", ["x", "a"], ["p"]),
        ("Add", ["p", "b"], ["s"]),
        # Without outliers; with some, a few values are some hundred times larger than most.
        ("Pow", ["s", "power"], ["t"]) if outliers else ("Tanh", ["s"], ["t"]),
        ("MatMul", ["t", "a"], ["y"]),
    ]
    weights = {
        "a": RNG.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH),
        "b": RNG.standard_normal(WIDTH),
        "power": np.array(7.0),
    }
    shapes = {"x": ["rows", WIDTH]}, {"y": ["rows", WIDTH]}
    return write(folder / "products.onnx", nodes, *shapes, weights)


def write_convolutions(folder: Path) -> Path:
    """Write two convolutions with a pool and a sum between, and one that makes the output."""
    nodes = [
        ("Conv", ["x", "k0", "b0"], ["c0"], {"pads": [1] * 4}),
        ("Relu", ["c0"], ["r0"]),
        ("MaxPool", ["r0"], ["m"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Conv", ["m", "k1"], ["c1"], {"pads": [1] * 4}),
        ("Add", ["c1", "m"], ["s"]),
        ("Relu", ["s"], ["r1"]),
        ("Conv", ["r1", "k2"], ["y"]),
    ]
    weights = {
        "k0": RNG.standard_normal((16, 3, 3, 3)) / 5,
        "b0": RNG.standard_normal(16),
        "k1": RNG.standard_normal((16, 16, 3, 3)) / 12,
        "k2": RNG.standard_normal((8, 16, 1, 1)) / 4,
    }
    shapes = {"x": ["rows", 3, 16, 16]}, {"y": ["rows", 8, 8, 8]}
    return write(folder / "convolutions.onnx", nodes, *shapes, weights)


def run(path: Path, x: np.ndarray) -> np.ndarray:
    (outputs,) = run_file(path, [{"x": x}])
    return outputs["y"]


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def round_graph(source: Path, *calls: np.ndarray) -> Path:
    out = source.with_name(f"int8.{source.name}")
    quantise_fixed(source, out, [{"x": one} for one in calls])
    return out


def count_operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def find_error(path: Path, source: Path, x: np.ndarray) -> float:
    expected = run(source, x)
    return float(np.abs(run(path, x) - expected).max() / np.abs(expected).max())


def test_products_are_close_and_multiply_bytes_with_their_bias(tmp_path: Path):
    source = write_products(tmp_path)
    x = draw(50, WIDTH)
    out = round_graph(source, x)
    assert find_error(out, source, x) < 0.03
    operators = count_operators(out)
    assert operators["MatMulIntegerToFloat"] == operators["QuantizeLinear"] == 2
    assert not operators["MatMul"] and not operators["Add"]
    model = onnx.load(out)
    stored = Counter(one.data_type for one in model.graph.initializer if len(one.dims) == 2)
    assert stored == {TensorProto.INT8: 1}, "a shared matrix is stored once"


def test_a_position_is_the_same_whatever_goes_through_the_same_call(tmp_path: Path):
    for name, has_outliers in (("plain", False), ("outliers", True)):
        (tmp_path / name).mkdir()
        source = write_products(tmp_path / name, outliers=has_outliers)
        x = draw(50, WIDTH)
        out = round_graph(source, x)
        alone = np.concatenate([run(out, row[None]) for row in x])
        assert np.array_equal(run(out, x), alone)
        # One that is far larger than those measured changes nothing for the others.
        loud = np.concatenate([x[:-1], 100 * x[-1:]])
        assert np.array_equal(run(out, loud)[:-1], alone[:-1])


def test_each_position_has_its_own_scale_where_some_are_far_larger(tmp_path: Path):
    source = write_products(tmp_path, outliers=True)
    x = draw(400, WIDTH)
    x[0] *= 4
    out = round_graph(source, x)
    assert count_operators(out)["ReduceMax"] == 1
    expected, got = run(source, x), run(out, x)
    # Beside one that is a thousand times larger.
    error = np.abs(got - expected)[1:].mean() / np.abs(expected)[1:].mean()
    assert error < 0.15


def test_maps_stay_bytes_between_convolutions(tmp_path: Path):
    source = write_convolutions(tmp_path)
    x = draw(2, 3, 16, 16)
    out = round_graph(source, x)
    assert find_error(out, source, x) < 0.05
    operators = count_operators(out)
    assert not operators["Relu"], "ranges that begin at zero cut off at zero"
    # Pixels, both inner convolutions, the pool and the sum; the last one makes the output.
    assert operators["QuantizeLinear"] == 5
    assert operators["Conv"] == 3
    inner = [one for one in onnx.load(out).graph.node if one.op_type == "Conv"]
    assert inner[-1].input[1] == "k2"


def test_a_graph_without_weights_is_refused(tmp_path: Path):
    source = write(
        tmp_path / "none.onnx",
        [("Tanh", ["x"], ["y"])],
        {"x": ["rows", 4]},
        {"y": ["rows", 4]},
        {},
    )
    with pytest.raises(EngineError, match=r"neither a matrix nor a convolution.*float32"):
        round_graph(source, draw(3, 4))

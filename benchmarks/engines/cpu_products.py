"""Compare how ONNX Runtime multiplies by float32, int8 and int4 weights on this CPU.

    python benchmarks/engines/cpu_products.py [--width 4096] [--inner 11008] [--threads 2]

A token is one position, a prompt 640; the last column is the mean error of the last position as a
share of its mean magnitude, where the first position is a hundred times larger than the others, as
in language models. All forms are timed in turns, the best of each is printed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from vl2_ros.export.quantized.graph import quantise_graph
from vl2_ros.export.quantized.rounding import round_columns

PROMPT, ROUNDS = 640, 5


def write(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> Path:
    """Write a graph from `x` to `y`."""
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    stored = [numpy_helper.from_array(one, name) for name, one in constants.items()]
    graph = helper.make_graph(nodes, "product", sides[:1], sides[1:], stored)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def write_plain(weights: np.ndarray, path: Path) -> Path:
    """A product of floats."""
    return write(path, [helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weights})


def write_blocks(weights: np.ndarray, path: Path, block: int) -> Path:
    """MatMulNBits with int8 weights: activations are rounded in blocks, inside of the kernel."""
    height, width = weights.shape
    blocks = weights.T.reshape(width, -1, block)
    scales = (np.abs(blocks).max(-1) / 127).astype(np.float32)
    values = (np.rint(blocks / scales[..., None]) + 128).astype(np.uint8)
    sizes = {"K": height, "N": width, "bits": 8, "block_size": block, "accuracy_level": 4}
    inputs = ["x", "w", "s"]
    node = helper.make_node("MatMulNBits", inputs, ["y"], domain="com.microsoft", **sizes)
    return write(path, [node], {"w": values, "s": scales.reshape(-1)})


def write_one_scale(weights: np.ndarray, path: Path) -> Path:
    """DynamicQuantizeLinear, one scale for all positions, and MatMulInteger."""
    rounded = round_columns(weights)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["s", "c"], ["sc"]),
        helper.make_node("Mul", ["f", "sc"], ["y"]),
    ]
    return write(path, nodes, {"w": rounded.values, "c": rounded.scales})


def write_own(weights: np.ndarray, path: Path, precision: str) -> Path:
    """What the exporter writes: a scale for each position, or int4 in blocks."""
    wide = write_plain(weights, path.with_name("wide.onnx"))
    quantise_graph(wide, path, precision, form="integer", most_inline_bytes=1 << 30)
    return path


FORMS: dict[str, Callable[[np.ndarray, Path], Path]] = {
    "float32": write_plain,
    "int8, MatMulNBits, block 32": lambda weights, path: write_blocks(weights, path, 32),
    "int8, MatMulNBits, block 128": lambda weights, path: write_blocks(weights, path, 128),
    "int8, MatMulInteger, one scale": write_one_scale,
    "int8, MatMulInteger, a scale each position": lambda w, path: write_own(w, path, "int8"),
    "int4, MatMulNBits, block 128": lambda weights, path: write_own(weights, path, "int4"),
}


def main() -> None:
    """Print a row for every form."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--inner", type=int, default=11008)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    weights = (rng.standard_normal((options.width, options.inner)) * 0.02).astype(np.float32)
    prompt = rng.standard_normal((PROMPT, options.width)).astype(np.float32)
    prompt[0] *= 100
    exact = prompt[-1] @ weights
    setup = onnxruntime.SessionOptions()
    setup.intra_op_num_threads, setup.log_severity_level = options.threads, 3
    with tempfile.TemporaryDirectory() as folder:
        sessions = {
            name: onnxruntime.InferenceSession(str(make(weights, Path(folder) / "m.onnx")), setup)
            for name, make in FORMS.items()
        }
    seconds: dict[tuple[str, int], float] = {}
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            for count in (1, PROMPT):
                began = time.perf_counter()
                session.run(None, {"x": prompt[-count:]})
                spent = time.perf_counter() - began
                seconds[name, count] = min(spent, seconds.get((name, count), spent))
    print(f"onnxruntime {onnxruntime.__version__}, {options.threads} threads")
    print("| weights | token ms | prompt ms | error |\n|---|---|---|---|")
    for name, session in sessions.items():
        got = session.run(None, {"x": prompt})[0][-1]
        error = np.abs(got - exact).mean() / np.abs(exact).mean()
        times = " | ".join(f"{1e3 * seconds[name, count]:.1f}" for count in (1, PROMPT))
        print(f"| {name} | {times} | {error:.3f} |")


if __name__ == "__main__":
    main()

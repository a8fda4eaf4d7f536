"""Graphs of language models with whole-number weights, run by ONNX Runtime."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vl2_ros.errors import EngineError
from vl2_ros.export.operator_check import check_operators
from vl2_ros.export.quantized.graph import OPSET, quantise_graph
from vl2_ros.export.quantized.rounding import round_blocks, round_columns
from vl2_ros.model.graphs import QUANTISED

INLINE = 1 << 30
FORMS = [("int8", "widened"), ("int4", "widened"), ("int8", "integer")]


def quantise(source: Path, out: Path, precision: str, form: str = "widened", **options) -> Path:
    options = {"most_inline_bytes": INLINE, **options}
    quantise_graph(source, out, precision, form=form, **options)
    return out


def write_chain(
    path: Path, *, width: int = 64, count: int = 3, dtype=np.float32, outside: bool = False
) -> list[np.ndarray]:
    """Write tanh(x W0) W1 ... and a head; return the matrices."""
    rng = np.random.default_rng(1)
    matrices = [
        (rng.standard_normal((width, width)) / np.sqrt(width)).astype(dtype)
        for _ in range(count + 1)
    ]
    nodes, name = [], "input_embeds"
    for index in range(count):
        nodes.append(helper.make_node("MatMul", [name, f"w{index}"], [f"p{index}"]))
        nodes.append(helper.make_node("Tanh", [f"p{index}"], [name := f"t{index}"]))
    nodes.append(helper.make_node("MatMul", [name, f"w{count}"], ["logits"]))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    shape = ["tokens", width]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("input_embeds", kind, shape)],
        [helper.make_tensor_value_info("logits", kind, shape)],
        [numpy_helper.from_array(one, f"w{index}") for index, one in enumerate(matrices)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    beside = {"save_as_external_data": True, "location": f"{path.name}.data"} if outside else {}
    onnx.save(model, path, **beside)
    return matrices


def run(path: Path, values: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # The activations of int4 are rounded by a kernel of the library otherwise.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    session = onnxruntime.InferenceSession(str(path), options)
    return session.run(["logits"], {"input_embeds": values})[0]


def draw(width: int = 64, count: int = 5) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((count, width)).astype(np.float32)


@pytest.mark.parametrize("precision", QUANTISED)
def test_widened_weights_are_the_rounded_ones(tmp_path, precision):
    """A chain in numpy with the matrices that the rounding gives; the head is as it was."""
    matrices = write_chain(tmp_path / "m.onnx")
    out = quantise(tmp_path / "m.onnx", tmp_path / "q.onnx", precision)
    expected = draw()
    for one in matrices[:-1]:
        rounded = round_columns(one) if precision == "int8" else round_blocks(one, 64)
        expected = np.tanh(expected @ rounded.widen())
    np.testing.assert_allclose(run(out, draw()), expected @ matrices[-1], atol=2e-5)


def test_products_of_whole_numbers_are_as_close(tmp_path):
    write_chain(tmp_path / "m.onnx")
    exact = run(tmp_path / "m.onnx", draw())
    out = quantise(tmp_path / "m.onnx", tmp_path / "q.onnx", "int8", "integer")
    assert np.abs(run(out, draw()) - exact).max() < 0.03 * np.abs(exact).max()
    operators = [node.op_type for node in onnx.load(out).graph.node]
    assert operators.count("MatMulInteger") == 3 and operators.count("MatMul") == 1


def test_one_large_position_does_not_spoil_the_others(tmp_path):
    """The first position of language models is hundreds of times larger than the others."""
    write_chain(tmp_path / "m.onnx", count=1)
    values = draw()
    values[0] *= 1000
    exact = run(tmp_path / "m.onnx", values)[1:]
    out = quantise(tmp_path / "m.onnx", tmp_path / "q.onnx", "int8", "integer")
    assert np.abs(run(out, values)[1:] - exact).max() < 0.03 * np.abs(exact).max()


def test_a_position_of_zeros_stays_finite(tmp_path):
    write_chain(tmp_path / "m.onnx")
    out = quantise(tmp_path / "m.onnx", tmp_path / "q.onnx", "int8", "integer")
    assert not run(out, np.zeros((2, 64), np.float32)).any()


@pytest.mark.parametrize(("precision", "form"), FORMS)
def test_weights_beside_the_file_give_the_same_graph(tmp_path, precision, form):
    write_chain(tmp_path / "in.onnx")
    write_chain(tmp_path / "m.onnx", outside=True)
    inside = quantise(tmp_path / "in.onnx", tmp_path / "a.onnx", precision, form)
    beside = quantise(
        tmp_path / "m.onnx", tmp_path / "b.onnx", precision, form, most_inline_bytes=0
    )
    assert (tmp_path / "b.onnx.data").stat().st_size > 64 * 64
    assert not (tmp_path / "a.onnx.data").exists()
    (tmp_path / "m.onnx.data").unlink()
    np.testing.assert_array_equal(run(inside, draw()), run(beside, draw()))


@pytest.mark.parametrize(("precision", "form"), FORMS)
def test_one_matrix_is_in_memory_at_a_time(tmp_path, precision, form):
    width, count = 512, 24
    write_chain(tmp_path / "m.onnx", width=width, count=count, outside=True)
    done: list[tuple[int, int]] = []
    tracemalloc.start()
    try:
        quantise(
            tmp_path / "m.onnx",
            tmp_path / "q.onnx",
            precision,
            form,
            most_inline_bytes=0,
            progress=lambda *one: done.append(one),
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    matrix = width * width * 4
    # Rounding has a few arrays of a matrix's size; all matrices would be 24.
    assert peak < 12 * matrix
    assert done[-1] == (count, count) and len(done) == count


@pytest.mark.parametrize(("precision", "form"), FORMS)
def test_the_graph_of_a_language_model_is_rewritten_but_for_its_head(
    export, tmp_path, precision, form
):
    exported = export("language_model")
    out = quantise(exported.path, tmp_path / "language_model.onnx", precision, form)
    model = onnx.load(out)
    onnx.checker.check_model(model)
    assert {one.domain: one.version for one in model.opset_import}[""] == OPSET
    kinds = {one.name: one.data_type for one in model.graph.initializer}
    wanted = TensorProto.INT8 if precision == "int8" else TensorProto.INT4
    # Two layers of seven matrices.
    assert list(kinds.values()).count(wanted) == 14
    wide = [
        node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in kinds
    ]
    assert len(wide) == 1, "the head alone keeps its weights"
    if form == "widened":
        check_operators(out)


@pytest.mark.parametrize(("precision", "form"), FORMS)
def test_weights_in_a_checkpoint_are_found_by_their_references(tmp_path, precision, form):
    """The embedded graph refers to float16 tensors of another layout in `model.safetensors`."""
    from vl2_ros.loading import EMBEDDED_WEIGHTS

    source = EMBEDDED_WEIGHTS / "language_model.onnx"
    out = quantise(source, tmp_path / "language_model.onnx", precision, form)
    model = onnx.load(out)
    assert not any(one.external_data for one in model.graph.initializer)
    kinds = [one.data_type for one in model.graph.initializer]
    wanted = TensorProto.INT8 if precision == "int8" else TensorProto.INT4
    assert kinds.count(wanted) == 28
    head = 2048 * 256 * 2
    each = 1 if precision == "int8" else 0.5
    assert out.stat().st_size < 1.2 * (head + each * 4 * 256 * (4 * 256 + 3 * 640))


def test_graphs_that_cannot_be_rounded_are_refused(tmp_path):
    path, out = tmp_path / "m.onnx", tmp_path / "q.onnx"
    write_chain(path, width=72)
    with pytest.raises(EngineError, match=r"int8 or int4, got 'int2'; change the precision"):
        quantise(path, out, "int2")
    with pytest.raises(EngineError, match=r"w0: a width of 72 has no blocks .* int8"):
        quantise(path, out, "int4")
    with pytest.raises(EngineError, match=r"activations of 3 matrices, got those of 1; change"):
        quantise(path, out, "int4", moments=[np.eye(72, dtype=np.float32)])
    write_chain(path, count=0)
    with pytest.raises(EngineError, match=r"no product with a matrix of weights.* float32"):
        quantise(path, out, "int8")
    assert not out.exists() and not (tmp_path / "q.onnx.data").exists()

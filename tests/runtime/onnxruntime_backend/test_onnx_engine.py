"""ONNX files as engines: what they take, what they refuse, and what is said about a bad file."""

from __future__ import annotations

import os
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.runtime.onnxruntime_backend.onnx_files import read_one, write_mapper
from vl2_ros.errors import ConfigError, EngineError
from vl2_ros.runtime.engine import to_numpy
from vl2_ros.runtime.onnxruntime_backend.engine import (
    OnnxArray,
    OnnxEngine,
    OnnxOptions,
    choose_providers,
    optimise_graph,
)

STATES = np.arange(24, dtype=np.float32).reshape(1, 3, 8)


@pytest.fixture
def engine(tmp_path) -> OnnxEngine:
    return OnnxEngine(read_one(write_mapper(tmp_path / "m.onnx"), "prompt_mapper"))


def test_an_engine_says_what_it_is_and_computes(engine):
    assert (engine.info.graph, engine.info.backend) == ("prompt_mapper", "onnxruntime")
    assert engine.info.inputs == ("super_link",)
    assert engine.info.outputs == ("prompt_embeds", "no_words")
    output = engine.run({"super_link": STATES, "not of this graph": STATES})["prompt_embeds"]
    np.testing.assert_array_equal(output, np.tile(STATES.sum(1, keepdims=True), (1, 77, 1)))


def test_inputs_need_not_be_contiguous_nor_numpy(engine):
    import torch

    wanted = engine.run({"super_link": STATES})["prompt_embeds"]
    for given in (np.asfortranarray(STATES), torch.from_numpy(STATES)):
        np.testing.assert_array_equal(engine.run({"super_link": given})["prompt_embeds"], wanted)


def test_the_two_widths_of_floats_are_one_kind(tmp_path):
    half = write_mapper(tmp_path / "half.onnx", kind=TensorProto.FLOAT16)
    output = OnnxEngine(read_one(half, "prompt_mapper")).run({"super_link": STATES})
    np.testing.assert_allclose(output["prompt_embeds"][0, 0], STATES.sum(1)[0], rtol=1e-3)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "prompt_mapper needs the inputs super_link; missing: super_link"),
        ({"super_link": STATES.astype(np.int64)}, "super_link as float32, got int64"),
        ({"super_link": STATES.astype(np.float64)}, "super_link as float32, got float64"),
        ({"super_link": STATES[0]}, r"\(1, image_slots, llm_width\), got \(3, 8\)"),
        ({"super_link": STATES[..., :5]}, r"this engine has 8 for llm_width; got \(1, 3, 5\)"),
        ({"super_link": STATES.repeat(2, 0)}, r"the graph has 1 for 1; got \(2, 3, 8\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(engine, inputs, message):
    with pytest.raises(EngineError, match=message):
        engine.run(inputs)


def test_a_truncated_file_is_refused_before_it_is_loaded(tmp_path):
    file = read_one(write_mapper(tmp_path / "m.onnx"), "prompt_mapper")
    file.path.write_bytes(file.path.read_bytes()[:100])
    with pytest.raises(EngineError, match="damaged or was replaced"):
        OnnxEngine(file)


def test_what_is_no_onnx_file_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"not a graph" * 20)
    with pytest.raises(EngineError, match=r"loading .*m\.onnx failed.*export the engines again"):
        OnnxEngine(read_one(path, "prompt_mapper"))


def test_the_file_of_another_graph_is_refused(tmp_path):
    mapper = write_mapper(tmp_path / "m.onnx")
    with pytest.raises(EngineError, match="is not the graph vae_decoder: expected latents -> pix"):
        OnnxEngine(read_one(mapper, "vae_decoder"))
    renamed = write_mapper(tmp_path / "r.onnx", output="embeds")
    with pytest.raises(EngineError, match=r"is not the graph prompt_mapper.*-> embeds"):
        OnnxEngine(read_one(renamed, "prompt_mapper"))


def test_missing_external_data_is_said(tmp_path):
    model = onnx.load(write_mapper(tmp_path / "m.onnx"))
    weights = onnx.numpy_helper.from_array(np.ones((1, 1, 8), np.float32), "weights")
    model.graph.initializer.append(weights)
    model.graph.node[2].input[0] = "scaled"
    scale = onnx.helper.make_node("Mul", ["super_link", "weights"], ["scaled"])
    model.graph.node.insert(0, scale)
    path = tmp_path / "big.onnx"
    onnx.save(model, path, save_as_external_data=True, location="big.data", size_threshold=0)
    file = read_one(path, "prompt_mapper")
    assert OnnxEngine(file).run({"super_link": STATES})
    (tmp_path / "big.data").unlink()
    with pytest.raises(EngineError, match=r"big\.onnx failed.*export the engines again"):
        OnnxEngine(file)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:0", ""])
def test_unknown_devices_are_refused(device):
    with pytest.raises(EngineError, match="expected cpu, cuda or cuda:0"):
        choose_providers(device)


def test_an_accelerator_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(EngineError, match=r"no CUDAExecutionProvider.*onnxruntime-gpu.*or use cpu"):
        choose_providers("cuda")


def test_providers_of_a_device_stand_in_order(monkeypatch):
    there = ["CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: there)
    assert choose_providers("cpu") == [("CPUExecutionProvider", {})]
    assert choose_providers("cuda:1", tensorrt=True) == [
        ("TensorrtExecutionProvider", {"device_id": "1"}),
        ("CUDAExecutionProvider", {"device_id": "1", "use_tf32": "0"}),
        ("CPUExecutionProvider", {}),
    ]


def test_a_provider_that_does_not_start_is_an_error_and_no_slow_answer(tmp_path, monkeypatch):
    # This build lists it only here; like one without its libraries it is skipped with a warning.
    there = ["CPUExecutionProvider", "CUDAExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: there)
    file = read_one(write_mapper(tmp_path / "m.onnx"), "prompt_mapper")
    with pytest.warns(UserWarning), pytest.raises(EngineError, match="could not start CUDA"):
        OnnxEngine(file, device="cuda")


def test_threads_may_be_chosen(tmp_path):
    file = read_one(write_mapper(tmp_path / "m.onnx"), "prompt_mapper")
    one = OnnxEngine(file, options=OnnxOptions(threads=1, memory_arena=False, spinning=True))
    assert one.run({"super_link": STATES})["prompt_embeds"].shape == (1, 77, 8)
    with pytest.raises(ConfigError, match="threads must be 0"):
        OnnxOptions(threads=-1)


def test_a_sum_and_its_norm_stay_two_nodes_on_the_cpu(tmp_path):
    floats = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 3, 8]), ("y", [1, 3, 8]), ("scale", [8]), ("bias", [8]))
    ]
    nodes = [
        helper.make_node("Add", ["x", "y"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "scale", "bias"], ["z"]),
    ]
    output = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 3, 8])
    graph = helper.make_graph(nodes, "main", floats, [output])
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "a.onnx")
    optimise_graph(tmp_path / "a.onnx", tmp_path / "b.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "b.onnx").graph.node]
    assert kinds == ["Add", "LayerNormalization"]


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads as Linux lists them")
def test_an_engine_starts_no_more_threads_than_configured(tmp_path):
    file = read_one(write_mapper(tmp_path / "m.onnx"), "prompt_mapper")
    engines = []
    for threads in (1, 3):
        before = len(os.listdir("/proc/self/task"))
        engines.append(OnnxEngine(file, options=OnnxOptions(threads=threads)))
        engines[-1].run({"super_link": STATES})
        # The thread that calls is one of them.
        assert len(os.listdir("/proc/self/task")) - before == threads - 1


def test_a_kept_output_comes_to_the_host_when_asked_for():
    import onnxruntime

    array = OnnxArray(onnxruntime.OrtValue.ortvalue_from_numpy(STATES))
    assert (array.shape, array.dtype) == ((1, 3, 8), np.float32)
    np.testing.assert_array_equal(to_numpy(array), STATES)
    # Versions for Python 3.10 lend no memory.
    if hasattr(onnxruntime.OrtValue, "__dlpack__"):
        np.testing.assert_array_equal(np.from_dlpack(array), STATES)

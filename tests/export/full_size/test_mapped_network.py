"""A network whose weights stay in the checkpoint's files computes and exports like a loaded one."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from vl2_ros.errors import EngineError
from vl2_ros.export.engine_folder import fixed_axes
from vl2_ros.export.full_size.mapped_network import MappedNetwork
from vl2_ros.export.onnx_export import export_onnx, make_example
from vl2_ros.model.checkpoint.folder import load_model, save_model
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.graph_modules import build_graph, spec_of
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM

WIDE = {"hidden_size": 256, "intermediate_size": 384, "num_hidden_layers": 1}
AXES = {"rows": 1, "tokens": (1, 5, 64), "past": (0, 7, 64)}
HALVES = [torch.float16, torch.bfloat16]


def write_checkpoint(folder: Path, dtype: torch.dtype) -> Path:
    """Write a network whose matrices are large enough to stay in the file."""
    torch.manual_seed(0)
    tiny = ModelConfig.tiny(with_detection=False)
    model = VisionLLM(replace(tiny, llm={**tiny.llm, **WIDE}), TokenIds.from_base(64))
    with torch.no_grad():
        for weight in model.llm.parameters():
            if weight.ndim == 1:
                weight.uniform_(0.5, 1.5)
    save_model(model, folder, dtype=dtype)
    return folder


@pytest.fixture(scope="module", params=HALVES, ids=str)
def checkpoint(request, tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), request.param)


@pytest.fixture(scope="module")
def halves(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("halves"), torch.float16)


def export(network: MappedNetwork, path: Path, precision: str, **options) -> dict:
    """Export the language model and return its initializers with their dtypes."""
    module, spec = (
        build_graph(network.model, "language_model"),
        spec_of(network.model, "language_model"),
    )
    with network.traced(module, getattr(torch, precision)) as traced:
        axes = fixed_axes(network.model) | AXES
        export_onnx(module, spec, axes, path, precision=precision, traced=traced, **options)
    stored = onnx.load(path, load_external_data=False).graph.initializer
    return {one.name: one.data_type for one in stored if np.prod(one.dims) > 1 << 15}


def assert_is_the_network(path: Path, checkpoint: Path, precision: str, tolerance: float) -> None:
    import onnxruntime

    loaded = load_model(checkpoint, parts=())
    spec, axes = spec_of(loaded, "language_model"), fixed_axes(loaded) | AXES
    inputs = make_example(spec, axes)
    with torch.no_grad():
        expected = build_graph(loaded, "language_model")(*inputs)
    session = onnxruntime.InferenceSession(str(path))
    feed = {
        tensor.name: one.numpy().astype(tensor.dtype_at(precision))
        for tensor, one in zip(spec.inputs, inputs, strict=True)
    }
    for got, wanted in zip(session.run(list(spec.output_names), feed), expected, strict=True):
        miss = np.abs(got.astype(np.float32) - wanted.numpy()).max() / wanted.abs().max()
        assert miss < tolerance


def is_empty(network: MappedNetwork) -> bool:
    """Return whether no matrix of the language model has values; norms are made with ones."""
    return all(one.is_meta for one in network.model.llm.parameters() if one.ndim > 1)


def test_layers_are_there_while_they_compute_and_give_the_same(checkpoint):
    loaded, network = load_model(checkpoint, parts=()), MappedNetwork(checkpoint, ())
    spec = spec_of(loaded, "language_model")
    inputs = make_example(spec, fixed_axes(loaded) | AXES)
    assert is_empty(network)
    with torch.inference_mode(), network.streamed(torch.float32):
        assert is_empty(network)
        got = build_graph(network.model, "language_model")(*inputs)
        words = network.model.llm.get_input_embeddings()(torch.tensor([3, 5]))
        assert is_empty(network)
    with torch.inference_mode():
        expected = build_graph(loaded, "language_model")(*inputs)
    assert all(map(torch.equal, got, expected))
    assert torch.equal(words, loaded.llm.get_input_embeddings().weight[[3, 5]])
    assert is_empty(network)


def test_a_call_that_fails_leaves_nothing_in_memory(halves):
    network = MappedNetwork(halves, ())
    with pytest.raises(RuntimeError), network.streamed(torch.float32):
        network.model.llm.model.layers[0](torch.zeros(1, 2, 7))
    assert is_empty(network)


def test_other_parts_have_their_weights_for_as_long_as_they_are_needed(checkpoint):
    loaded, network = load_model(checkpoint), MappedNetwork(checkpoint)
    module = build_graph(network.model, "vision_encoder")
    pixels = torch.rand(2, 3, 56, 56)
    with torch.no_grad(), network.filled(module, torch.float32):
        got = module(pixels)
        assert is_empty(network)
    with torch.no_grad():
        assert all(map(torch.equal, got, build_graph(loaded, "vision_encoder")(pixels)))
    assert is_empty(network)


def test_a_float32_graph_keeps_the_halves_of_its_checkpoint(checkpoint, tmp_path):
    network = MappedNetwork(checkpoint, ())
    path = tmp_path / "language_model.onnx"
    dtypes = set(export(network, path, "float32", is_compact=True, is_checked=False).values())
    stored = network.find_dtype("llm.lm_head.weight")
    halves = {torch.float16: onnx.TensorProto.FLOAT16, torch.bfloat16: onnx.TensorProto.BFLOAT16}
    assert dtypes == {halves[stored]}
    assert_is_the_network(path, checkpoint, "float32", 1e-5)
    assert is_empty(network)


@pytest.mark.parametrize("most_inline_bytes", [0, 1 << 30])
def test_a_float16_graph_is_the_network_with_weights_inside_or_beside_it(
    halves, tmp_path, most_inline_bytes
):
    path = tmp_path / "language_model.onnx"
    dtypes = export(MappedNetwork(halves, ()), path, "float16", most_inline_bytes=most_inline_bytes)
    assert set(dtypes.values()) == {onnx.TensorProto.FLOAT16}
    assert path.with_name(f"{path.name}.data").exists() == (most_inline_bytes == 0)
    assert_is_the_network(path, halves, "float16", 1e-2)


def test_one_large_weight_is_in_memory_at_a_time(halves, tmp_path, monkeypatch):
    network, alive, most = MappedNetwork(halves, ()), weakref.WeakSet(), [0]
    read = network.read

    def count(name: str, dtype: torch.dtype) -> torch.Tensor:
        value = read(name, dtype)
        gc.collect()
        if value.numel() >= 1 << 16:
            alive.add(value)
        most[0] = max(most[0], len(alive))
        return value

    monkeypatch.setattr(network, "read", count)
    export(network, tmp_path / "language_model.onnx", "float16", most_inline_bytes=0)
    assert most == [1]


def test_weights_that_the_exporter_computed_with_are_missed(halves, tmp_path):
    network = MappedNetwork(halves, ())
    graph = build_graph(network.model, "language_model")
    lost = torch.nn.Parameter(torch.ones(1 << 17))
    graph.register_parameter("lost", lost)
    forward = graph.forward
    graph.forward = lambda *inputs: ((found := forward(*inputs))[0] + lost.max(), *found[1:])
    spec, axes = spec_of(network.model, "language_model"), fixed_axes(network.model) | AXES
    with (
        network.traced(graph, torch.float32) as traced,
        pytest.raises(EngineError, match="the exporter made a constant"),
    ):
        export_onnx(graph, spec, axes, tmp_path / "language_model.onnx", traced=traced)
    assert not list(tmp_path.iterdir())

"""Plans on stand-ins of both libraries, which keep their rules but run on the host."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from tests.runtime.host_memory import HostMemory
from tests.runtime.onnxruntime_backend.onnx_files import write_mapper
from tests.runtime.tensorrt_backend.fake_tensorrt import TENSORRT_VERSIONS, VERSIONS, install
from vl2_ros.errors import EngineError
from vl2_ros.runtime.files.engine_files import EngineFile
from vl2_ros.runtime.tensorrt_backend.build import PlanOrder, build_plan
from vl2_ros.runtime.tensorrt_backend.engine import TensorRTEngine
from vl2_ros.runtime.tensorrt_backend.trusted_plans import TrustedPlans


@pytest.fixture(params=VERSIONS)
def trt(request, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return install(monkeypatch, request.param)


def write_cache_graph(path: Path) -> Path:
    """Write a `language_model` that appends the embeddings to its cache, as far as shapes go."""
    past = ["rows", 1, "past", 4]
    nodes = [
        helper.make_node("Constant", [], ["heads"], value_ints=[0, 1, -1, 4]),
        helper.make_node("Reshape", ["input_embeds", "heads"], ["new"]),
        helper.make_node("Concat", ["past_keys.0", "new"], ["keys.0"], axis=2),
        helper.make_node("Concat", ["past_values.0", "new"], ["values.0"], axis=2),
        helper.make_node("Identity", ["input_embeds"], ["hidden"]),
        helper.make_node("Neg", ["input_embeds"], ["logits"]),
    ]
    kinds = {
        "input_embeds": ["rows", "tokens", 4],
        "token_mask": ["rows", "tokens"],
        "past_mask": ["rows", "past"],
        "past_keys.0": past,
        "past_values.0": past,
        "logits": ["rows", "tokens", 4],
        "hidden": ["rows", "tokens", 4],
        "keys.0": ["rows", 1, "total", 4],
        "values.0": ["rows", 1, "total", 4],
    }
    masks = dict.fromkeys(("token_mask", "past_mask"), TensorProto.BOOL)
    values = [
        helper.make_tensor_value_info(name, masks.get(name, TensorProto.FLOAT), axes)
        for name, axes in kinds.items()
    ]
    inputs, outputs = values[:5], values[5:]
    graph = helper.make_graph(nodes, "main", inputs, outputs)
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


MAPPER_SHAPES = [{"image_slots": (1, 4, 8)}]
LANGUAGE_SHAPES = [
    {"rows": (1, 1, 2), "tokens": (1, 2, 8), "past": (0, 0, 0)},
    {"rows": (1, 1, 2), "tokens": (1, 1, 2), "past": (1, 4, 16)},
]


def build(trt, onnx_path: Path, graph: str, shapes=MAPPER_SHAPES, **options) -> EngineFile:
    out = onnx_path.with_suffix(".plan")
    order = PlanOrder(graph, shapes, workspace_bytes=1 << 20)
    build_plan(onnx_path, out, order, trt.library, **options)
    sha256 = hashlib.sha256(out.read_bytes()).hexdigest()
    return EngineFile(graph, out, sha256, "float32", {}, trt.library.find_runtime())


def load(trt, file: EngineFile, **options):
    trusted = TrustedPlans(file.path.parent / "trusted", [file.sha256])
    return TensorRTEngine(file, trt.library, trusted=trusted, memory=HostMemory(), **options)


def language_inputs(tokens: int, past: int, rows: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(tokens * 100 + past)
    keys = rng.normal(size=(rows, 1, past, 4)).astype(np.float32)
    embeds = rng.normal(size=(rows, tokens, 4)).astype(np.float32)
    masks = {"token_mask": np.ones((rows, tokens), bool), "past_mask": np.ones((rows, past), bool)}
    return {"input_embeds": embeds, **masks, "past_keys.0": keys, "past_values.0": keys + 1}


def test_a_plan_computes_what_its_graph_says(trt, tmp_path):
    engine = load(
        trt, build(trt, write_cache_graph(tmp_path / "m.onnx"), "language_model", LANGUAGE_SHAPES)
    )
    for tokens, past, rows in ((3, 0, 1), (1, 5, 1), (2, 6, 2)):
        inputs = language_inputs(tokens, past, rows)
        outputs = engine.run(inputs)
        assert tuple(outputs) == engine.info.outputs == ("logits", "hidden", "keys.0", "values.0")
        assert torch.equal(outputs["hidden"], torch.as_tensor(inputs["input_embeds"]))
        assert torch.equal(outputs["keys.0"][:, :, :past], torch.as_tensor(inputs["past_keys.0"]))
        assert outputs["values.0"].shape == (rows, 1, tokens + past, 4)
        np.testing.assert_array_equal(outputs["logits"], -inputs["input_embeds"])


def test_each_profile_has_one_context_that_never_changes_it(trt, tmp_path):
    engine = load(
        trt, build(trt, write_cache_graph(tmp_path / "m.onnx"), "language_model", LANGUAGE_SHAPES)
    )
    for tokens, past in ((3, 0), (1, 5), (8, 0), (2, 16), (1, 1)):
        engine.run(language_inputs(tokens, past))
    first, second = trt.module.Runtime.engines[-1].contexts
    assert [c[1] for c in first.calls if c[0] == "profile"] == [0]
    assert [c[1] for c in second.calls if c[0] == "profile"] == [1]
    assert sum(c[0] == "execute" for c in first.calls) == 2
    assert sum(c[0] == "execute" for c in second.calls) == 3


def test_shapes_come_before_addresses_and_all_before_the_start(trt, tmp_path):
    engine = load(trt, build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper"))
    given = torch.ones(1, 4, 8)
    outputs = engine.run({"super_link": given})
    (context,) = trt.module.Runtime.engines[-1].contexts
    assert context.calls == [
        ("profile", 0, 41),
        ("shape", "super_link", (1, 4, 8)),
        ("address", "super_link", given.data_ptr()),
        ("address", "prompt_embeds", outputs["prompt_embeds"].data_ptr()),
        ("address", "no_words", outputs["no_words"].data_ptr()),
        ("execute", 41),
    ]


def test_outputs_are_new_memory_in_every_run(trt, tmp_path):
    engine = load(trt, build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper"))
    first = engine.run({"super_link": np.ones((1, 4, 8), np.float32)})["prompt_embeds"]
    engine.run({"super_link": np.zeros((1, 4, 8), np.float32)})
    assert (first == 4).all()


def test_floats_are_brought_to_the_width_of_the_plan(trt, tmp_path):
    path = write_mapper(tmp_path / "m.onnx", kind=TensorProto.FLOAT16)
    engine = load(trt, build(trt, path, "prompt_mapper"))
    output = engine.run({"super_link": np.ones((1, 4, 8), np.float32)})["prompt_embeds"]
    assert output.dtype == torch.float16 and (output == 4).all()
    with pytest.raises(EngineError, match="takes super_link as float32, got int64"):
        engine.run({"super_link": np.ones((1, 4, 8), np.int64)})


def test_shapes_outside_of_every_profile_are_reported(trt, tmp_path):
    engine = load(
        trt, build(trt, write_cache_graph(tmp_path / "m.onnx"), "language_model", LANGUAGE_SHAPES)
    )
    for tokens, past in ((9, 0), (3, 5), (1, 17)):
        with pytest.raises(EngineError, match=f"past_keys.0.*{past}.*no range.*widen the profile"):
            engine.run(language_inputs(tokens, past))


def test_a_missing_input_is_named(trt, tmp_path):
    engine = load(trt, build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper"))
    with pytest.raises(EngineError, match="missing: super_link"):
        engine.run({})


def test_a_plan_that_is_not_trusted_is_not_opened(trt, tmp_path):
    file = build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper")
    with pytest.raises(EngineError, match=f"can run any code.*vl2 engines trust {file.sha256}"):
        TensorRTEngine(
            file, trt.library, trusted=TrustedPlans(tmp_path / "none"), memory=HostMemory()
        )
    assert trt.module.Runtime.engines == []


def test_a_trusted_hash_does_not_cover_other_bytes(trt, tmp_path):
    file = build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper")
    file.path.write_bytes(file.path.read_bytes() + b" ")
    with pytest.raises(EngineError, match="damaged or was replaced"):
        load(trt, file)
    assert trt.module.Runtime.engines == []


@pytest.mark.parametrize(
    "changes",
    [{"built_with": "tensorrt 10.4.0"}, {"built_for": "NVIDIA Orin sm_87"}],
    ids=["version", "gpu"],
)
def test_a_plan_of_another_machine_is_refused_unread(trt, tmp_path, changes):
    file = build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper")
    with pytest.raises(EngineError, match=r"was built with .* for .*vl2 engines build"):
        load(trt, replace(file, **changes))
    assert trt.module.Runtime.engines == []


def test_a_portable_plan_loads_with_later_versions_of_the_same_major(trt, tmp_path):
    file = build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper")
    major = trt.module.__version__.split(".")[0]
    load(trt, replace(file, built_with=f"{trt.library.backend} {major}.0.1", portable=True))
    with pytest.raises(EngineError, match="built with tensorrt.* 9"):
        load(trt, replace(file, built_with=f"{trt.library.backend} 9.1.0", portable=True))


def test_what_is_no_plan_is_reported_in_the_words_of_the_library(trt, tmp_path):
    (tmp_path / "m.plan").write_bytes(b"\0" * 100)
    sha256 = hashlib.sha256(b"\0" * 100).hexdigest()
    file = EngineFile("prompt_mapper", tmp_path / "m.plan", sha256, "float32", {})
    with pytest.raises(EngineError, match=r"cannot load .*Serialization assertion.*build it again"):
        load(trt, file)


def test_a_plan_of_another_graph_is_refused(trt, tmp_path):
    file = build(trt, write_mapper(tmp_path / "m.onnx", output="noise"), "prompt_mapper")
    with pytest.raises(EngineError, match="is not the graph prompt_mapper.*-> noise"):
        load(trt, file)


def test_networks_are_strongly_typed_and_float32_is_not_narrowed(trt, tmp_path):
    build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper")
    network, config = trt.module.Builder.built[-1]
    assert network.flags == 1 << int(trt.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert config.flags == set()
    assert config.limits == {"WORKSPACE": 1 << 20}


def test_profiles_hold_the_sizes_of_every_input(trt, tmp_path):
    build(trt, write_cache_graph(tmp_path / "m.onnx"), "language_model", LANGUAGE_SHAPES)
    first, second = trt.module.Builder.built[-1][1].profiles
    assert first["input_embeds"] == [[1, 1, 4], [1, 2, 4], [2, 8, 4]]
    assert first["past_keys.0"] == [[1, 1, 0, 4], [1, 1, 0, 4], [2, 1, 0, 4]]
    assert second["past_values.0"] == [[1, 1, 1, 4], [1, 1, 4, 4], [2, 1, 16, 4]]


def test_an_axis_without_sizes_is_named(trt, tmp_path):
    with pytest.raises(EngineError, match="leaves the axis 'past' of past_mask open.*of rows"):
        shapes = [{"rows": (1, 1, 1), "tokens": (1, 1, 1)}]
        build(trt, write_cache_graph(tmp_path / "m.onnx"), "language_model", shapes)


def test_operators_that_cannot_be_read_are_listed_with_their_nodes(trt, tmp_path):
    path = write_mapper(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.node[2].op_type = "Oven"
    onnx.save(model, path)
    with pytest.raises(EngineError, match=r"node 'node_7' \(Oven\): no importer"):
        build(trt, path, "prompt_mapper")


def test_a_build_that_fails_says_why_and_leaves_no_file(trt, tmp_path, monkeypatch):
    monkeypatch.setattr(trt.module.Builder, "fails", True)
    with pytest.raises(EngineError, match="out of memory; if memory was short, lower workspace_mb"):
        build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper")
    assert not (tmp_path / "m.plan").exists()


@pytest.mark.parametrize("trt", TENSORRT_VERSIONS, indirect=True)
def test_measured_times_are_kept_for_the_next_build(trt, tmp_path):
    cache = tmp_path / "timing.cache"
    path = write_mapper(tmp_path / "m.onnx")
    for expected in (b"timed;", b"timed;timed;"):
        build(trt, path, "prompt_mapper", timing_cache=cache)
        assert cache.read_bytes() == expected


@pytest.mark.parametrize("trt", TENSORRT_VERSIONS, indirect=True)
def test_measured_times_of_another_gpu_are_started_anew(trt, tmp_path):
    cache = tmp_path / "timing.cache"
    cache.write_bytes(b"foreign;")
    build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper", timing_cache=cache)
    assert cache.read_bytes() == b"timed;"


def test_a_build_reports_its_progress(trt, tmp_path):
    reported = []
    build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper", progress=reported.append)
    assert [round(one.share, 2) for one in reported] == [0, 0.5, 1, 1]
    assert {one.stage for one in reported} == {"Building Engine"}


def test_what_a_listener_raises_ends_the_build(trt, tmp_path):
    def stop(progress):
        if progress.share > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper", progress=stop)
    assert not (tmp_path / "m.plan").exists()

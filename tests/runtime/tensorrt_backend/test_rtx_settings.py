"""How TensorRT for RTX is asked to run a plan, on the stand-in of it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tests.runtime.onnxruntime_backend.onnx_files import write_mapper
from tests.runtime.tensorrt_backend.fake_tensorrt import install
from tests.runtime.tensorrt_backend.test_tensorrt_engine import (
    LANGUAGE_SHAPES,
    build,
    language_inputs,
    load,
    write_cache_graph,
)
from vl2_ros.errors import EngineError
from vl2_ros.runtime.tensorrt_backend.build import PlanOrder, build_plan
from vl2_ros.runtime.tensorrt_backend.library import describe_target, is_target, read_target

FIXED, OPEN = {"image_slots": (4, 4, 4)}, {"image_slots": (5, 6, 8)}


@pytest.fixture
def trt(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return install(monkeypatch, "tensorrt-rtx 1.7.1.116")


def read_settings(trt) -> list[tuple[str, str, str]]:
    configs = [one.config for one in trt.module.Runtime.engines[-1].contexts]
    return [
        (
            one.get_execution_context_allocation_strategy().name,
            one.dynamic_shapes_kernel_specialization_strategy.name,
            one.cuda_graph_strategy.name,
        )
        for one in configs
    ]


@pytest.mark.parametrize("replay", [True, False])
def test_only_profiles_of_fixed_shapes_are_recorded(trt, tmp_path, replay):
    file = build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper", [FIXED, OPEN])
    engine = load(trt, file, replay=replay)
    for slots in (4, 6, 4):
        output = engine.run({"super_link": np.ones((1, slots, 8), np.float32)})["prompt_embeds"]
        assert (output == slots).all()
    recorded = "WHOLE_GRAPH_CAPTURE" if replay else "DISABLED"
    assert read_settings(trt) == [
        ("ON_PROFILE_CHANGE", "LAZY", recorded),
        ("ON_PROFILE_CHANGE", "LAZY", "DISABLED"),
    ]


def test_no_kernel_is_made_for_one_length_of_the_growing_cache(trt, tmp_path):
    path = write_cache_graph(tmp_path / "m.onnx")
    engine = load(trt, build(trt, path, "language_model", LANGUAGE_SHAPES))
    for tokens, past in ((3, 0), (1, 5)):
        engine.run(language_inputs(tokens, past))
    assert [kinds for _, kinds, _ in read_settings(trt)] == ["LAZY", "NONE"]


def test_compiled_kernels_are_kept_for_the_next_start(trt, tmp_path):
    file = build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper", [FIXED, OPEN])
    for expected in (2, 0):
        engine = load(trt, file)
        for slots in (4, 6, 4, 8):
            engine.run({"super_link": np.ones((1, slots, 8), np.float32)})
        assert trt.module.Runtime.engines[-1].compiled == expected
    (kept,) = (tmp_path / "cache").rglob("prompt_mapper.*")
    assert kept.name == f"prompt_mapper.{file.sha256[:16]}.sm_87"


def test_kernels_of_another_driver_are_compiled_anew(trt, tmp_path):
    file = build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper")
    kept = tmp_path / "cache" / "vl2_ros" / "kernels" / f"prompt_mapper.{file.sha256[:16]}.sm_87"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"kernels of 1.6;kernel 1;")
    load(trt, file).run({"super_link": np.ones((1, 4, 8), np.float32)})
    assert trt.module.Runtime.engines[-1].compiled == 1
    assert kept.read_bytes() == b"kernels of 1.7.1.116;kernel 1;"


def test_where_kernels_cannot_be_kept_it_answers_all_the_same(trt, tmp_path, caplog):
    (tmp_path / "cache").write_text("not a folder")
    file = build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper")
    output = load(trt, file).run({"super_link": np.ones((1, 4, 8), np.float32)})["prompt_embeds"]
    assert (output == 4).all() and "compiled kernels are not kept" in caplog.text


def test_kernels_that_were_compiled_later_are_written_at_the_end(trt, tmp_path):
    file = build(trt, write_mapper(tmp_path / "m.onnx"), "prompt_mapper")
    engine = load(trt, file)
    engine.run({"super_link": np.ones((1, 4, 8), np.float32)})
    (context,) = trt.module.Runtime.engines[-1].contexts
    context.config.get_runtime_cache().kernels += b"specialised;"
    del engine
    (kept,) = (tmp_path / "cache").rglob("prompt_mapper.*")
    assert kept.read_bytes().endswith(b"specialised;")


def test_targets_are_named_to_the_builder(trt, tmp_path):
    path = write_mapper(tmp_path / "m.onnx")
    order = PlanOrder("prompt_mapper", [OPEN], 1 << 20, compute_capabilities=("12.0", "8.6"))
    build_plan(path, tmp_path / "m.plan", order, trt.library)
    (_, config) = trt.module.Builder.built[-1]
    assert [one.name for one in config.compute_capabilities] == ["SM120", "SM86"]


@pytest.mark.parametrize(
    ("version", "options", "message"),
    [
        ("tensorrt-rtx 1.7.1.116", {"compute_capabilities": ("8.7",)}, "7.5, 8.0.*, got 8.7"),
        ("tensorrt-rtx 1.7.1.116", {"version_compatible": True}, "remove version_compatible"),
        ("tensorrt 10.3.0", {"compute_capabilities": ("8.6",)}, "take tensorrt-rtx"),
    ],
)
def test_what_a_library_does_not_build_is_refused(monkeypatch, tmp_path, version, options, message):
    trt = install(monkeypatch, version)
    order = PlanOrder("prompt_mapper", [OPEN], 1 << 20, **options)
    with pytest.raises(EngineError, match=message):
        build_plan(write_mapper(tmp_path / "m.onnx"), tmp_path / "m.plan", order, trt.library)
    assert not (tmp_path / "m.plan").exists()


@pytest.mark.parametrize(
    ("named", "described", "fitting", "others"),
    [
        ((), "any GPU from 8.0", [(8, 0), (8, 9), (9, 0), (12, 1)], [(7, 5)]),
        (
            ("12.0", "8.6", "8.6"),
            "compute capability 8.6, 12.0",
            [(8, 6), (12, 0)],
            [(8, 9), (12, 1), (2, 0)],
        ),
    ],
)
def test_targets_are_described_and_found_again(named, described, fitting, others):
    assert describe_target(named) == described
    assert set(read_target(described)) == set(named)
    assert all(is_target(described, one) for one in fitting)
    assert not any(is_target(described, one) for one in others)
    assert not any(is_target("NVIDIA Orin sm_87", one) for one in fitting)


def test_what_is_no_compute_capability_is_refused():
    with pytest.raises(EngineError, match=r"such as 8\.6 or 12\.0, got 'sm_86'"):
        describe_target(("sm_86",))


@pytest.mark.parametrize("version", ["tensorrt-rtx 1.7.1.116", "tensorrt 10.3.0"])
def test_a_library_that_is_missing_is_named_with_how_to_install_it(monkeypatch, version):
    library = install(monkeypatch, version).library
    monkeypatch.setitem(sys.modules, library.module, None)
    with pytest.raises(EngineError, match=f"{library.title} cannot be loaded.*pip install"):
        library.find_runtime()

"""Plans through the store: built, compared, trusted, loaded, on the stand-in of TensorRT."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from tests.export.engine_folders import export_mapper, open_slots
from tests.runtime.host_memory import HostMemory
from tests.runtime.tensorrt_backend.fake_tensorrt import TENSORRT_VERSIONS, install
from vl2_ros.errors import EngineError
from vl2_ros.export.build_engines import build_engines, verify_engine
from vl2_ros.export.engine_builders import TensorRTBuilder, make_builder
from vl2_ros.export.engine_profile import EngineProfile, read_profile
from vl2_ros.export.engine_store import TIMING_CACHE, EngineStore
from vl2_ros.runtime.tensorrt_backend.engine import TensorRTEngine
from vl2_ros.runtime.tensorrt_backend.trusted_plans import TrustedPlans

GRAPHS = {"prompt_mapper": {"shapes": [{"image_slots": [1, 4, 8]}]}}
DOCUMENT = {"backend": "tensorrt", "device": "cuda", "graphs": GRAPHS}


@pytest.fixture(params=TENSORRT_VERSIONS)
def trt(request, monkeypatch):
    monkeypatch.setattr(
        "vl2_ros.runtime.tensorrt_backend.engine.CudaMemory", lambda device: HostMemory()
    )
    return install(monkeypatch, request.param)


@pytest.fixture
def trusted(tmp_path) -> TrustedPlans:
    return TrustedPlans(tmp_path / "trusted")


@pytest.fixture
def source(tmp_path) -> Path:
    return open_slots(export_mapper(tmp_path / "onnx"))


def make_profile(**changes: object) -> EngineProfile:
    return read_profile("testing", DOCUMENT | changes)


def test_a_plan_is_built_compared_trusted_and_loaded(trt, source, tmp_path, trusted):
    store = EngineStore(tmp_path / "engines")
    report = build_engines(make_profile(), source, store, TensorRTBuilder(make_profile(), trusted))
    (stored,) = report.engines
    assert stored.file.path.suffix == ".plan" and stored.misses[0].difference < 1e-6
    assert stored.file.sha256 in trusted
    file = store.published()["prompt_mapper"]
    assert file.built_with == f"tensorrt {trt.module.__version__}"
    assert file.built_for == "Testing GPU sm_87"
    assert file.axes["image_slots"] == (1, 4, 8)
    engine = TensorRTEngine(file, trt.library, trusted=trusted)
    output = engine.run({"super_link": torch.ones(1, 8, 8)})["prompt_embeds"]
    assert (output == 8).all()
    assert engine.info.identity == file.sha256[:16]
    assert (store.folder / TIMING_CACHE).is_file()


def test_a_plan_that_fails_the_gate_is_not_trusted(trt, tmp_path, source, trusted):
    export_mapper(source, off=0.5)
    store = EngineStore(tmp_path / "engines")
    fixed = make_profile(graphs={"prompt_mapper": {"shapes": [{"image_slots": 4}]}})
    with pytest.raises(EngineError, match="too far from torch"):
        build_engines(fixed, source, store, TensorRTBuilder(fixed, trusted))
    assert not trusted.path.exists() and store.published() == {}


def test_plans_that_came_with_their_list_are_not_opened(trt, source, tmp_path, trusted):
    store = EngineStore(tmp_path / "engines")
    build_engines(make_profile(), source, store, TensorRTBuilder(make_profile(), trusted))
    opened = len(trt.module.Runtime.engines)
    stranger = TrustedPlans(tmp_path / "another user's list")
    (file,) = store.published().values()
    verdict = verify_engine(file, TensorRTBuilder(make_profile(), stranger), source)
    assert f"vl2 engines trust {file.sha256}" in verdict.problem
    assert len(trt.module.Runtime.engines) == opened
    named = TrustedPlans(stranger.path, make_profile(trusted=[file.sha256]).trusted)
    assert verify_engine(file, TensorRTBuilder(make_profile(), named), source).problem == ""


@pytest.mark.parametrize(
    "changes", [{"workspace_mb": 64}, {"optimization_level": 1}, {"version_compatible": True}]
)
def test_options_of_the_builder_make_another_plan(trt, source, tmp_path, trusted, changes):
    store = EngineStore(tmp_path / "engines")
    for profile in (make_profile(), make_profile(**changes)):
        built = build_engines(profile, source, store, TensorRTBuilder(profile, trusted)).built
        assert built == ("prompt_mapper",)
    assert store.published()["prompt_mapper"].portable == ("version_compatible" in changes)


def test_another_gpu_or_version_builds_its_own_plan(trt, source, tmp_path, trusted):
    store = EngineStore(tmp_path / "engines")
    profile = make_profile()
    build_engines(profile, source, store, TensorRTBuilder(profile, trusted))
    for name, value in (("runtime", "tensorrt 12.0.0"), ("device_name", "NVIDIA Thor sm_110")):
        builder = TensorRTBuilder(profile, trusted)
        setattr(builder, name, value)
        # It is built for what it would not run on here, so the gate cannot load it.
        with pytest.raises(EngineError, match="was built with"):
            build_engines(profile, source, store, builder)
    assert len(store.list_engines()) == 1


def test_without_the_library_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match="TensorRT cannot be loaded.*pip install tensorrt"):
        make_builder(make_profile())

"""Plans for GPUs of other machines: stored unverified, copied, verified there, on the stand-in."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.export.engine_folders import export_mapper, find_mapper, open_slots
from tests.runtime.host_memory import HostMemory
from tests.runtime.tensorrt_backend.fake_tensorrt import install
from vl2_ros.errors import ConfigError, EngineError
from vl2_ros.export.build_engines import build_engines, verify_engine
from vl2_ros.export.engine_builders import TensorRTBuilder
from vl2_ros.export.engine_profile import EngineProfile, read_profile
from vl2_ros.export.engine_store import EngineStore
from vl2_ros.export.store_files import hash_file
from vl2_ros.runtime.files.first_load import FirstLoad, find_verified, record_path
from vl2_ros.runtime.files.parity_gate import OutputMiss
from vl2_ros.runtime.tensorrt_backend.trusted_plans import TrustedPlans

GRAPHS = {"prompt_mapper": {"shapes": [{"image_slots": [1, 4, 8]}]}}
DOCUMENT = {"backend": "tensorrt-rtx", "device": "cuda", "graphs": GRAPHS}
RUNTIME = "tensorrt-rtx 1.7.1.116"
HERE = f"{RUNTIME} on Testing GPU sm_87"
CUDA_MEMORY = "vl2_ros.runtime.tensorrt_backend.engine.CudaMemory"


@pytest.fixture(autouse=True)
def library(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return install(monkeypatch, RUNTIME)


@pytest.fixture
def set_gpu(monkeypatch):
    """Give this machine the stand-in of a GPU, or none."""

    def set_gpu(is_there: bool) -> None:
        def refuse(device: str):
            raise EngineError("no CUDA device")

        monkeypatch.setattr(CUDA_MEMORY, (lambda _: HostMemory()) if is_there else refuse)

    set_gpu(False)
    return set_gpu


@pytest.fixture
def trusted(tmp_path) -> TrustedPlans:
    return TrustedPlans(tmp_path / "trusted")


@pytest.fixture
def source(tmp_path) -> Path:
    return open_slots(export_mapper(tmp_path / "onnx"))


@pytest.fixture
def store(tmp_path) -> EngineStore:
    return EngineStore(tmp_path / "engines")


def make_profile(**changes: object) -> EngineProfile:
    return read_profile("testing", DOCUMENT | changes)


def build(source, store, trusted, **changes):
    profile = make_profile(**changes)
    return build_engines(profile, source, store, TensorRTBuilder(profile, trusted))


def test_without_a_gpu_a_plan_is_stored_unverified_with_its_calls(
    set_gpu, library, source, store, trusted
):
    (stored,) = build(source, store, trusted).engines
    assert stored.misses == () and find_verified(stored.file) == {}
    assert library.module.Runtime.engines == []
    file = store.published()["prompt_mapper"]
    assert (file.built_with, file.built_for) == (RUNTIME, "any GPU from 8.0")
    assert file == stored.file and file.sha256 in trusted
    ((sample, sha256),) = file.samples
    assert sample.parent == store.folder
    original = source / "prompt_mapper.sample0.npz"
    assert sample.read_bytes() == original.read_bytes() and hash_file(sample) == sha256
    assert store.list_engines() == [stored]


def test_a_second_build_does_nothing(set_gpu, library, source, store, trusted):
    build(source, store, trusted)
    before = {path.name: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    assert build(source, store, trusted).built == ()
    assert len(library.module.Builder.built) == 1
    assert {path.name: path.stat().st_mtime_ns for path in store.folder.iterdir()} == before


def test_a_plan_whose_call_is_damaged_is_built_again(set_gpu, library, source, store, trusted):
    (stored,) = build(source, store, trusted).engines
    stored.file.samples[0][0].write_bytes(b"x")
    (again,) = build(source, store, trusted).engines
    assert len(library.module.Builder.built) == 2
    again.file.check_samples()


def test_with_a_gpu_the_gate_runs_at_the_build(set_gpu, library, source, store, trusted):
    set_gpu(True)
    (stored,) = build(source, store, trusted).engines
    assert stored.misses[0].difference < 1e-6
    assert list(find_verified(stored.file)) == [HERE] and stored.file.samples
    loaded = len(library.module.Runtime.engines)
    build(source, store, trusted)
    assert len(library.module.Runtime.engines) == loaded


def test_with_a_gpu_a_plan_that_is_off_is_rejected(set_gpu, source, store, trusted):
    set_gpu(True)
    open_slots(export_mapper(source, off=0.5))
    with pytest.raises(EngineError, match="too far from torch and was rejected"):
        build(source, store, trusted)
    assert store.published() == {} and not trusted.path.exists()


def test_a_build_where_the_gpu_is_verifies_what_was_compiled_without(
    set_gpu, library, source, store, trusted
):
    build(source, store, trusted)
    set_gpu(True)
    report = build(source, store, trusted)
    assert report.built == () and report.engines[0].misses[0].difference < 1e-6
    assert len(library.module.Builder.built) == 1
    assert list(find_verified(report.engines[0].file)) == [HERE]


def test_a_plan_that_is_off_is_refused_where_the_gpu_is(set_gpu, source, store, trusted):
    open_slots(export_mapper(source, off=0.5))
    (stored,) = build(source, store, trusted).engines
    set_gpu(True)
    with pytest.raises(EngineError, match=r"is too far from torch on .*Testing GPU.*by 0\.\d"):
        build(source, store, trusted)
    verdict = verify_engine(stored.file, TensorRTBuilder(make_profile(), trusted), None)
    assert "does not answer: prompt_embeds by 0." in verdict.problem
    assert not record_path(stored.file).exists()


def test_a_copied_folder_is_trusted_by_the_user_then_verified(
    set_gpu, source, store, trusted, tmp_path
):
    build(source, store, trusted)
    robot = EngineStore(tmp_path / "robot")
    shutil.copytree(store.folder, robot.folder)
    set_gpu(True)
    own = TrustedPlans(tmp_path / "list of the robot")
    builder = TensorRTBuilder(make_profile(), own)
    (file,) = robot.published().values()
    verdict = verify_engine(file, builder, None)
    assert f"vl2 engines trust {file.sha256}" in verdict.problem
    # Neither a build there makes a plan of others one of its own.
    with pytest.raises(EngineError, match=r"can run any code.*vl2 engines trust"):
        build_engines(make_profile(), source, robot, builder)
    own.add(file.sha256)
    verdict = verify_engine(file, builder, None)
    assert verdict.problem == "" and verdict.misses[0].difference < 1e-6
    assert list(find_verified(file)) == [HERE]
    (old,) = store.published().values()
    assert find_verified(old) == {}


def test_without_a_gpu_a_check_says_so_and_loads_nothing(set_gpu, library, source, store, trusted):
    build(source, store, trusted)
    (file,) = store.published().values()
    verdict = verify_engine(file, TensorRTBuilder(make_profile(), trusted), None)
    assert verdict.problem == "compiled, not verified (no GPU here)" and verdict.is_pending
    assert library.module.Runtime.engines == []
    other = replace(file, built_with="tensorrt-rtx 1.6.0")
    verdict = verify_engine(other, TensorRTBuilder(make_profile(), trusted), None)
    assert "was built with tensorrt-rtx 1.6.0" in verdict.problem and not verdict.is_pending


def test_targets_are_part_of_a_plan_s_identity(set_gpu, library, source, store, trusted):
    set_gpu(True)
    for named, target, machines in (
        ([], "any GPU from 8.0", [HERE]),
        ([8.9, 8.6], "compute capability 8.6, 8.9", []),
    ):
        (stored,) = build(source, store, trusted, compute_capabilities=named).engines
        assert stored.file.built_for == target
        # A GPU that is none of the targets verifies nothing.
        assert list(find_verified(stored.file)) == machines
    assert len(library.module.Builder.built) == 2
    builder = TensorRTBuilder(make_profile(), trusted)
    verdict = verify_engine(stored.file, builder, None)
    assert "for compute capability 8.6, 8.9, here is" in verdict.problem


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compute_capabilities": [86]}, r"such as \[8.6, 8.9, 12.0\], got '86' in it"),
        ({"compute_capabilities": 8.6}, "compute_capabilities must be a list, got 8.6"),
        ({"version_compatible": True}, "version_compatible needs the backend tensorrt"),
        ({"device": "cpu"}, "backend tensorrt-rtx needs device cuda"),
        (
            {"backend": "tensorrt", "compute_capabilities": [8.6]},
            "compute_capabilities need the backend tensorrt-rtx, got tensorrt",
        ),
    ],
)
def test_what_a_profile_cannot_have_is_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        make_profile(**changes)


def test_unused_calls_and_records_are_cleaned_with_their_plan(set_gpu, source, store, trusted):
    set_gpu(True)
    build(source, store, trusted)
    (old,) = store.published().values()
    build(source, store, trusted, optimization_level=1)
    (new,) = store.published().values()
    assert {path.name for path in store.clean()} == {
        old.path.name,
        f"{old.path.stem}.json",
        record_path(old).name,
        old.samples[0][0].name,
    }
    new.check_samples()
    assert list(find_verified(new)) == [HERE]
    left = record_path(new).with_name(f"{record_path(new).name}.123")
    left.write_text("of a process that was killed")
    assert store.clean() == [left]
    store.clean(everything=True)
    assert [path.name for path in store.folder.iterdir()] == ["engines.lock"]


def test_calls_are_needed_before_a_plan_is_built(set_gpu, library, source, store, trusted):
    (source / "prompt_mapper.sample0.npz").unlink()
    with pytest.raises(EngineError, match="no stored inputs beside"):
        build(source, store, trusted)
    assert library.module.Builder.built == []


def test_a_verified_plan_answers_and_its_numbers_are_those_of_torch(
    set_gpu, library, source, store, trusted
):
    build(source, store, trusted)
    set_gpu(True)
    (file,) = store.published().values()
    builder = TensorRTBuilder(make_profile(), trusted)
    engine = FirstLoad(builder.load, builder.machine)(file)
    assert engine.info.backend == "tensorrt-rtx" and list(find_verified(file)) == [HERE]
    assert find_mapper(source).sha256 != file.sha256


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_stored_answers_go_with_the_plan_and_are_compared(
    set_gpu, source, store, trusted, monkeypatch, share
):
    (source / "prompt_mapper.answers.npz").write_bytes(b"commands")
    asked = []

    def measure(engine, file, decoder):
        asked.append((file.name, decoder))
        return [OutputMiss("routing tokens of 1000 commands", share, 0.005, "the commands")]

    monkeypatch.setattr("vl2_ros.runtime.files.first_load.measure_answers", measure)
    build(source, store, trusted)
    (file,) = store.published().values()
    assert [path.name for path, _ in file.samples] == [
        f"{file.path.stem}.sample0.npz",
        f"{file.path.stem}.answers.npz",
    ]
    set_gpu(True)
    verdict = verify_engine(file, TensorRTBuilder(make_profile(), trusted), None)
    assert asked == [("prompt_mapper", None)]
    assert ("routing tokens of 1000 commands" in verdict.problem) == (share > 0.005)
    store.clean(everything=True)
    assert [path.name for path in store.folder.iterdir()] == ["engines.lock"]

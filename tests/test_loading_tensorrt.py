"""Engines of TensorRT: what is missing is said in one line, what answers in their place, and when
engines from another machine are verified."""

from __future__ import annotations

import logging
import shutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from tests.export.engine_folders import export_mapper, open_slots
from tests.runtime.host_memory import HostMemory
from tests.runtime.tensorrt_backend.fake_tensorrt import install
from vl2_ros.errors import EngineError
from vl2_ros.export.build_engines import build_engines
from vl2_ros.export.engine_builders import TensorRTBuilder
from vl2_ros.export.engine_profile import read_profile
from vl2_ros.export.engine_store import EngineStore
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.runtime.engine import EngineInfo, Engines
from vl2_ros.runtime.files.engine_files import EngineFile, read_engine_files
from vl2_ros.runtime.files.first_load import find_verified
from vl2_ros.runtime.files.weights_identity import identify_weights
from vl2_ros.runtime.tensorrt_backend.trusted_plans import TrustedPlans

RUNTIME = "tensorrt-rtx 1.7.1.116"
CUDA_MEMORY = "vl2_ros.runtime.tensorrt_backend.engine.CudaMemory"
PROFILE = read_profile(
    "testing",
    {
        "backend": "tensorrt-rtx",
        "device": "cuda",
        "graphs": {"prompt_mapper": {"shapes": [{"image_slots": [1, 4, 8]}]}},
    },
)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path) -> None:
    for name in ("CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))


def load(weights: Path | str = "", **options) -> Pipeline:
    return load_pipeline(LoadOptions(weights, "cpu", "tensorrt-rtx", **options))


@pytest.fixture
def bare(monkeypatch) -> None:
    """A machine without the library and without a driver."""
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.setattr("vl2_ros.runtime.backend_choice.has_cuda_driver", lambda: False)


PACKAGE = r"TensorRT for RTX is not installed \(.*pip install 'vl2_ros\[rtx\]'\)"
DRIVER = "this machine has no NVIDIA GPU, or no driver of it"
ENGINES = (
    r"there are no tensorrt-rtx engines of this checkpoint \(`vl2 engines build --profile rtx`\)"
)


def test_all_that_is_missing_is_said_in_one_line(bare, monkeypatch):
    with pytest.raises(EngineError) as caught:
        load(allow_fallback=False)
    assert caught.match(f"tensorrt-rtx cannot be used: {PACKAGE}; {DRIVER}; {ENGINES}$")
    assert "\n" not in str(caught.value)
    monkeypatch.setattr("vl2_ros.runtime.backend_choice.has_cuda_driver", lambda: True)
    with pytest.raises(EngineError, match=f"cannot be used: {PACKAGE}; {ENGINES}$"):
        load(allow_fallback=False)


def test_tensorrt_names_its_own_package_and_profile(bare, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match=r"`pip install tensorrt`\).*build --profile discrete"):
        load_pipeline(LoadOptions(backend="tensorrt", allow_fallback=False))


def test_onnxruntime_answers_in_place_of_tensorrt(bare, caplog):
    with caplog.at_level(logging.WARNING):
        assert load().info.backend == "onnxruntime"
    (record,) = caplog.records
    assert record.message.startswith(
        "onnxruntime answers in place of tensorrt-rtx: the backend tensorrt-rtx cannot be used: "
    )


@pytest.fixture
def own(tmp_path) -> Path:
    """A copy of the embedded checkpoint that may be changed."""
    folder = tmp_path / "own"
    shutil.copytree(EMBEDDED_WEIGHTS, folder)
    return folder


def test_where_onnxruntime_fails_too_torch_answers_and_both_reasons_are_said(bare, own, caplog):
    (own / "vision_encoder.onnx").write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        assert load(own).info.backend == "torch"
    (record,) = [one for one in caplog.records if "answers in place" in one.message]
    assert record.message.startswith("torch answers in place of the engines: the backend")
    assert "vision_encoder.onnx is damaged" in record.message


def test_without_engines_of_onnxruntime_torch_answers(bare, own, caplog):
    (own / "engines.json").unlink()
    with caplog.at_level(logging.WARNING):
        assert load(own).info.backend == "torch"
    assert "torch answers in place of the engines: the backend tensorrt-rtx" in caplog.text


class _Scripted:
    info = EngineInfo("language_model", "tensorrt-rtx", "cuda:0", (), ())


@pytest.fixture
def set_off(tmp_path, monkeypatch):
    """Compile an engine without a GPU, its stored call off by a share; then give it the GPU."""

    def set_off(off: float) -> Path:
        module = install(monkeypatch, RUNTIME).module
        module.__spec__ = ModuleSpec(module.__name__, None)
        source = export_mapper(
            tmp_path / "onnx", checkpoint=identify_weights(EMBEDDED_WEIGHTS), off=off
        )
        build_engines(PROFILE, open_slots(source), store, TensorRTBuilder(PROFILE))
        monkeypatch.setattr(CUDA_MEMORY, lambda _: HostMemory())
        monkeypatch.setattr("vl2_ros.runtime.backend_choice.has_cuda_driver", lambda: True)
        return store.folder

    def refuse(device: str):
        raise EngineError("no CUDA device")

    def load_one(files, tokens, load_engine):
        if "prompt_mapper" not in files.graphs:
            return load_exported_engines(files, tokens, load_engine)
        load_engine(files.require("prompt_mapper"))
        return Engines(_Scripted(), _Scripted())

    from vl2_ros.loading import load_exported_engines

    store = EngineStore(tmp_path / "engines")
    monkeypatch.setattr(CUDA_MEMORY, refuse)
    # One small graph in place of all those of a checkpoint.
    monkeypatch.setattr("vl2_ros.loading._check_completeness", lambda *_: None)
    monkeypatch.setattr("vl2_ros.loading.load_exported_engines", load_one)
    return set_off


def find_engine(folder: Path) -> EngineFile:
    return read_engine_files(folder).require("prompt_mapper")


def test_engines_from_another_machine_are_verified_when_they_are_loaded_first(set_off, caplog):
    engines = set_off(0.0)
    reported = []
    for _ in range(2):
        options = LoadOptions("", "cpu", "tensorrt-rtx", engines, allow_fallback=False)
        loaded = load_pipeline(options, lambda *one: reported.append(one))
        assert loaded.info.backend == "tensorrt-rtx"
    (what,) = {one for one, _ in reported}
    assert what == f"verifying prompt_mapper on {RUNTIME} on Testing GPU sm_87"
    assert [share for _, share in reported] == [0.0, 1.0]
    assert list(find_verified(find_engine(engines))) == [f"{RUNTIME} on Testing GPU sm_87"]


def test_engines_that_are_off_do_not_answer_unless_the_user_says_so(set_off, caplog):
    engines = set_off(0.5)
    with pytest.raises(EngineError, match="too far from torch on .* does not answer"):
        load(engines=engines, allow_fallback=False)
    with caplog.at_level(logging.WARNING):
        assert load(engines=engines).info.backend == "onnxruntime"
    assert "onnxruntime answers in place of tensorrt-rtx" in caplog.text
    assert "too far from torch" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert load(engines=engines, verify=False).info.backend == "tensorrt-rtx"
    (record,) = caplog.records
    assert "compiled, not verified and answers all the same" in record.message
    assert find_verified(find_engine(engines)) == {}


def test_engines_that_are_not_trusted_are_not_opened(set_off):
    engines = set_off(0.0)
    TrustedPlans().path.unlink()
    sha256 = find_engine(engines).sha256
    for verify in (True, False):
        with pytest.raises(EngineError, match=f"can run any code.*vl2 engines trust {sha256}"):
            load(engines=engines, allow_fallback=False, verify=verify)

"""`vl2 engines` with TensorRT for RTX on a machine without a GPU: the stand-in, and the library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.console.command_line import run
from tests.export.engine_folders import export_mapper, open_slots
from tests.runtime.host_memory import HostMemory
from tests.runtime.tensorrt_backend.fake_tensorrt import install
from vl2_ros.errors import EngineError
from vl2_ros.runtime.files.engine_files import read_engine_files

PROFILE = {
    "backend": "tensorrt-rtx",
    "device": "cuda",
    "graphs": {"prompt_mapper": {"shapes": [{"image_slots": [1, 4, 8]}]}},
}
UNVERIFIED = "compiled, not verified (no GPU here)"
CUDA_MEMORY = "vl2_ros.runtime.tensorrt_backend.engine.CudaMemory"


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch, tmp_path) -> None:
    def refuse(device: str):
        raise EngineError("no CUDA device")

    for name in ("CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setattr(CUDA_MEMORY, refuse)


@pytest.fixture(autouse=True)
def library(request, monkeypatch) -> None:
    """The stand-in, or the library itself where a test has it as a parameter."""
    if not getattr(request, "param", False):
        install(monkeypatch, "tensorrt-rtx 1.7.1.116")


with_both = pytest.mark.parametrize(
    "library",
    [
        pytest.param(False, id="stand-in"),
        pytest.param(True, id="library", marks=pytest.mark.tensorrt_rtx),
    ],
    indirect=True,
)


@pytest.fixture
def build(tmp_path, engines):
    """Build the plan of one small graph; return the exit code."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(PROFILE))

    def build(*more: object) -> int:
        words = ("engines", "build", "--build-only", "--profile", path, "--engines", engines)
        return run(*words, *more)

    return build


@pytest.fixture
def engines(tmp_path) -> Path:
    open_slots(export_mapper(tmp_path / "engines" / "onnx"))
    return tmp_path / "engines"


def list_engines(engines: Path, capsys) -> list[dict]:
    capsys.readouterr()
    assert run("engines", "list", "--engines", engines, "--json") == 0
    return json.loads(capsys.readouterr().out)["engines"]


@with_both
def test_a_plan_for_another_machine_is_built_once_and_listed_as_unverified(build, engines, capsys):
    assert build("--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["engines"]
    assert (row["state"], row["verified"], row["far from torch"]) == ("built", False, None)
    assert build() == 0
    out = capsys.readouterr().out
    assert "was there" in out and "compiled, not verified" in out
    (row,) = list_engines(engines, capsys)
    assert (row["state"], row["for"]) == (UNVERIFIED, "any GPU from 8.0")
    assert row["with"].startswith("tensorrt-rtx 1.")
    assert len(list(engines.glob("*.plan"))) == 1


def test_without_a_gpu_a_check_says_where_to_run_it(build, engines, capsys):
    build()
    assert run("engines", "verify", "--engines", engines) == 2
    captured = capsys.readouterr()
    assert "compiled, not" in captured.out
    assert "cannot be verified on a machine without a GPU" in captured.err
    assert "run `vl2 engines verify` on the machine that has it" in captured.err


@with_both
def test_named_targets_make_another_plan(build, engines, capsys):
    assert build() == 0
    assert build("--compute-capability", "12.0, 8.6") == 0
    new, old = list_engines(engines, capsys)
    assert new["for"] == "compute capability 8.6, 12.0" and old["state"] == "old"


@with_both
@pytest.mark.parametrize(
    ("named", "message"),
    [("8.7", "builds for compute capability 7.5, 8.0"), ("86", r"got '86' in it")],
)
def test_targets_that_there_are_none_of_are_named(build, named, message, capsys):
    assert build("--compute-capability", named) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_where_the_gpu_is_a_check_verifies_once_and_the_list_says_so(
    build, engines, monkeypatch, capsys
):
    build()
    monkeypatch.setattr(CUDA_MEMORY, lambda _: HostMemory())
    assert list_engines(engines, capsys)[0]["state"] == "compiled, not verified (at its first load)"
    # Neither checkpoint nor exported files are needed there.
    for path in (engines / "onnx").iterdir():
        path.unlink()
    assert run("engines", "verify", "--engines", engines) == 0
    assert "good" in capsys.readouterr().out
    assert list_engines(engines, capsys)[0]["state"] == "in use"


def test_a_plan_that_was_copied_is_listed_with_what_to_type(build, engines, tmp_path, capsys):
    build()
    (tmp_path / "config" / "vl2_ros" / "trusted_plans").unlink()
    sha256 = read_engine_files(engines).require("prompt_mapper").sha256
    assert f"`vl2 engines trust {sha256}`" in list_engines(engines, capsys)[0]["state"]
    assert run("engines", "trust", sha256) == 0
    assert list_engines(engines, capsys)[0]["state"] == UNVERIFIED


def test_asking_without_a_gpu_says_what_is_missing_and_onnxruntime_answers(
    build, engines, tmp_path, monkeypatch, capsys
):
    build()
    image = tmp_path / "white.png"
    write_white(image)
    monkeypatch.setattr("vl2_ros.runtime.backend_choice.has_cuda_driver", lambda: False)
    monkeypatch.setattr("vl2_ros.runtime.backend_choice.find_spec", lambda name: name)
    words = ("ask", image, "find the mug", "--backend", "tensorrt-rtx", "--engines", engines)
    assert run(*words, "--no-allow-fallback") == 2
    error = capsys.readouterr().err
    assert "the backend tensorrt-rtx cannot be used: this machine has no NVIDIA GPU" in error
    assert run(*words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["engine"].startswith("onnxruntime")


def write_white(path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 48), "white").save(path)

"""`vl2 engines` on a folder of exported files with one small graph."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.console.command_line import run
from tests.export.engine_folders import export_mapper
from vl2_ros.export.engine_store import EngineStore
from vl2_ros.runtime.files.engine_files import read_engine_files


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path) -> None:
    for name in ("CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))


@pytest.fixture
def profile(tmp_path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"backend": "onnxruntime", "graphs": {"prompt_mapper": None}}))
    return path


@pytest.fixture
def engines(tmp_path) -> Path:
    export_mapper(tmp_path / "engines" / "onnx")
    return tmp_path / "engines"


def build(profile: Path, engines: Path) -> int:
    return run("engines", "build", "--build-only", "--profile", profile, "--engines", engines)


def read_json(capsys, *arguments: object) -> dict:
    capsys.readouterr()
    run(*arguments, "--json")
    return json.loads(capsys.readouterr().out)


def test_engines_are_built_listed_checked_and_cleaned(profile, engines, capsys):
    assert build(profile, engines) == 0
    assert "prompt_mapper" in capsys.readouterr().out
    read_engine_files(engines).require("prompt_mapper").check()

    (row,) = read_json(capsys, "engines", "list", "--engines", engines)["engines"]
    assert (row["graph"], row["precision"], row["state"]) == ("prompt_mapper", "float32", "in use")
    assert row["with"].startswith("onnxruntime ") and row["for"].startswith("CPU ")

    assert run("engines", "verify", "--engines", engines) == 0
    assert "good" in capsys.readouterr().out

    assert run("engines", "clean", "--engines", engines) == 0
    assert "0 files deleted" in capsys.readouterr().out
    assert run("engines", "clean", "--all", "--engines", engines) == 0
    left = [path.name for path in engines.rglob("*") if path.is_file()]
    assert left == ["engines.lock"]


def test_the_table_names_what_the_json_has(profile, engines, capsys):
    build(profile, engines)
    capsys.readouterr()
    assert run("engines", "list", "--engines", engines) == 0
    out = capsys.readouterr().out
    assert "1 engines" in out
    for word in ("graph", "precision", "shapes", "built", "with", "for", "state", "prompt_mapper"):
        assert word in out


def test_a_second_build_says_that_the_engines_were_there(profile, engines, capsys):
    build(profile, engines)
    arguments = ("engines", "build", "--build-only", "--profile", profile, "--engines", engines)
    (row,) = read_json(capsys, *arguments)["engines"]
    assert row["state"] == "was there" and row["far from torch"] < 1e-6


def test_a_damaged_engine_is_reported_and_fails_the_check(profile, engines, capsys):
    build(profile, engines)
    (stored,) = EngineStore(engines).list_engines()
    stored.file.path.write_bytes(b"x")
    (row,) = read_json(capsys, "engines", "list", "--engines", engines)["engines"]
    assert "damaged or was replaced" in row["state"]
    assert run("engines", "verify", "--engines", engines) == 2
    captured = capsys.readouterr()
    assert "damaged" in captured.out and "not every engine is fit for use" in captured.err


def test_an_engine_too_far_from_torch_is_one_red_line(profile, engines, capsys):
    export_mapper(engines / "onnx", off=0.5)
    assert build(profile, engines) == 2
    error = capsys.readouterr().err
    assert "1 of 1 engines could not be built" in error and "allowed 0.0001" in error
    assert not (engines / "engines.json").exists()


def test_without_tensorrt_its_profiles_say_what_to_install(engines, capsys):
    assert build("discrete", engines) == 2
    error = capsys.readouterr().err
    assert "TensorRT cannot be loaded" in error and "pip install tensorrt" in error
    assert "onnxruntime" in error


def test_without_exported_files_a_build_only_says_where_they_were_looked_for(
    profile, tmp_path, capsys
):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    arguments = ("--weights", weights, "--engines", tmp_path / "none")
    assert run("engines", "build", "--build-only", "--profile", profile, *arguments) == 2
    error = capsys.readouterr().err
    assert "no exported ONNX files in" in error and "without --build-only" in error


def test_checking_nothing_says_how_to_build(tmp_path, capsys):
    assert run("engines", "verify", "--engines", tmp_path) == 2
    assert "build them with `vl2 engines build`" in capsys.readouterr().err


def test_an_unknown_profile_names_the_shipped_ones(engines, capsys):
    assert build("toaster", engines) == 2
    assert "cpu, cpu-int8, discrete, orin, rtx" in capsys.readouterr().err


def test_a_trusted_plan_is_written_down_once(tmp_path, capsys):
    assert run("engines", "trust", "a" * 64, "--note", "from the build server") == 0
    assert "added to" in capsys.readouterr().out
    assert run("engines", "trust", "a" * 64) == 0
    assert "already in" in capsys.readouterr().out
    path = tmp_path / "config" / "vl2_ros" / "trusted_plans"
    assert path.read_text() == f"{'a' * 64}  from the build server\n"
    assert run("engines", "trust", "abc") == 2
    assert "64 hexadecimal digits" in capsys.readouterr().err


def test_list_names_the_engines_that_came_with_the_package(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run("engines", "list") == 0
    out = capsys.readouterr().out
    assert "no engines built here" in out and "came with the checkpoint are in use" in out

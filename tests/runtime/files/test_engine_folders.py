"""Where engines are built and found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from vl2_ros.runtime.files import engine_folders
from vl2_ros.runtime.files.engine_files import FILE_NAME
from vl2_ros.runtime.files.engine_folders import (
    cache_folder,
    choose_folder,
    find_folder,
    may_have_engines,
)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vl2_ros" / "engines"


def list_engines(folder: Path, built_with: str, graphs: Sequence[str] = ("vae_decoder",)) -> Path:
    folder.mkdir(parents=True)
    row = {"file": "x", "sha256": "0", "precision": "float32", "built_with": built_with}
    document = {"format": 1, "checkpoint": "id", "graphs": dict.fromkeys(graphs, row)}
    (folder / FILE_NAME).write_text(json.dumps(document))
    return folder


def test_engines_go_beside_their_checkpoint(tmp_path):
    assert choose_folder(tmp_path, "id") == tmp_path / "engines"


def test_engines_of_a_read_only_checkpoint_go_to_the_cache(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(engine_folders.os, "access", lambda path, mode: path != tmp_path)
    assert choose_folder(tmp_path, "id") == cache / "id"


def test_files_of_the_package_stay_as_they_are(tmp_path, cache):
    assert choose_folder(tmp_path, "id", is_packaged=True) == cache / "id"


def test_the_cache_is_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("id") == tmp_path / ".cache" / "vl2_ros" / "engines" / "id"


def test_what_was_built_here_is_found_before_what_came_with_the_weights(tmp_path, cache):
    assert find_folder(tmp_path, "id", "onnxruntime") is None
    beside = list_engines(tmp_path / "engines", "")
    assert find_folder(tmp_path, "id", "onnxruntime") == beside
    built = list_engines(cache / "id", "onnxruntime 1.32.0")
    assert find_folder(tmp_path, "id", "onnxruntime") == built
    assert find_folder(tmp_path, "other", "onnxruntime") == beside


def test_engines_that_refer_to_the_weights_lie_beside_them(tmp_path):
    weights = tmp_path / "weights"
    assert not may_have_engines(weights)
    beside = list_engines(weights, "")
    assert may_have_engines(weights)
    assert find_folder(weights, "id", "onnxruntime") == beside
    assert find_folder(weights, "id", "tensorrt") is None
    own = list_engines(weights / "engines", "")
    assert find_folder(weights, "id", "onnxruntime") == own


def test_engines_without_a_backbone_come_last(tmp_path, cache):
    """Those of an older version, whose decoder took pixels."""
    old = list_engines(cache / "id", "", ["detection_decoder"])
    assert find_folder(tmp_path, "id", "onnxruntime") == old
    beside = list_engines(tmp_path / "engines", "", ["detection_backbone", "detection_decoder"])
    assert find_folder(tmp_path, "id", "onnxruntime") == beside


def test_engines_of_another_backend_are_passed_over(tmp_path, cache):
    beside = list_engines(tmp_path / "engines", "")
    plans = list_engines(cache / "id", "tensorrt 10.3.0")
    assert find_folder(tmp_path, "id", "onnxruntime") == beside
    assert find_folder(tmp_path, "id", "tensorrt") == plans
    assert find_folder(tmp_path, "other", "tensorrt") is None

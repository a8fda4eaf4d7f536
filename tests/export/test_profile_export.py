"""A checkpoint and a profile to exported files, stored calls and engines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.export.engine_folders import CountingBuilder
from vl2_ros.errors import ConfigError, EngineError
from vl2_ros.export import profile_export
from vl2_ros.export.build_engines import build_engines
from vl2_ros.export.engine_profile import EngineProfile, read_profile
from vl2_ros.export.engine_store import EngineStore, clean_exported
from vl2_ros.export.profile_export import export_for_profile
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.runtime.files.engine_files import read_engine_files
from vl2_ros.runtime.files.parity_gate import find_samples, read_sample
from vl2_ros.runtime.files.weights_identity import identify_weights

LANGUAGE = {
    "shapes": [
        {"rows": 1, "tokens": [1, 6, 64], "past": 0},
        {"rows": 1, "tokens": 1, "past": [1, 9, 64]},
    ]
}
PROFILE = read_profile(
    "testing",
    {
        "backend": "onnxruntime",
        "graphs": {
            "vision_encoder": {"shapes": [{"tiles": [1, 2, 5]}]},
            "language_model": LANGUAGE,
            "pose_backbone": {"shapes": [{"rows": 1}]},
            "pose_decoder": {"shapes": [{"rows": 1, "classes": 1, "keypoints": 17}]},
        },
    },
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    return export_for_profile(PROFILE, EMBEDDED_WEIGHTS, tmp_path_factory.mktemp("e") / "onnx")


@pytest.fixture
def no_export(monkeypatch) -> list[EngineProfile]:
    calls: list[EngineProfile] = []

    def export(weights, folder, graphs, **options):
        calls.append(graphs)
        raise EngineError("stop")

    monkeypatch.setattr(profile_export, "export_engines", export)
    return calls


def test_the_embedded_models_graphs_become_engines_that_compute_what_torch_does(exported, tmp_path):
    store = EngineStore(tmp_path / "engines")
    report = build_engines(PROFILE, exported, store, CountingBuilder())
    assert report.built == ("vision_encoder", "language_model")
    assert report.skipped == ("pose_backbone", "pose_decoder")
    assert store.checkpoint == identify_weights(EMBEDDED_WEIGHTS)
    worst = max(miss.difference for one in report.engines for miss in one.misses)
    assert 0 < worst < 1e-5
    assert read_engine_files(store.folder).embeddings.is_file()


def test_every_range_of_a_graph_has_its_own_stored_call(exported):
    files = read_engine_files(exported)
    calls = [
        read_sample(path, "language_model")
        for path in find_samples(files.require("language_model").path)
    ]
    shapes = [
        (one.inputs["input_embeds"].shape[1], one.inputs["past_keys.0"].shape[2]) for one in calls
    ]
    assert shapes == [(6, 0), (1, 9)]
    assert all(np.isfinite(one.outputs["logits"]).all() for one in calls)


def test_what_is_there_is_not_exported_again(exported, no_export):
    assert export_for_profile(PROFILE, EMBEDDED_WEIGHTS, exported) == exported
    assert no_export == []


@pytest.mark.parametrize("change", ["profile", "torch", "file", "calls"])
def test_what_changed_is_exported_again(exported, no_export, tmp_path, monkeypatch, change):
    folder = tmp_path / "onnx"
    folder.mkdir()
    for path in exported.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    profile = PROFILE
    if change == "profile":
        profile = replace(PROFILE, decoder_hw=(64, 64))
    elif change == "torch":
        monkeypatch.setattr(torch, "__version__", "0.0.1")
    elif change == "file":
        (folder / "vision_encoder.onnx").write_bytes(b"x")
    else:
        (folder / "vision_encoder.sample0.npz").unlink()
    with pytest.raises(EngineError, match="stop"):
        export_for_profile(profile, EMBEDDED_WEIGHTS, folder)
    assert len(no_export) == 1
    # Its recipe is written last, so a broken export never counts as a complete one.
    assert not (folder / "export.json").exists()


def test_exported_files_are_deleted_and_others_stay(exported, tmp_path):
    folder = tmp_path / "onnx"
    folder.mkdir()
    for path in exported.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "notes.txt").write_text("mine")
    clean_exported(folder)
    assert {path.name for path in folder.iterdir()} == {"notes.txt", "engines.lock"}


def test_a_checkpoint_without_any_graph_of_the_profile_is_reported(tmp_path):
    pose = {name: PROFILE.graphs[name] for name in ("pose_backbone", "pose_decoder")}
    with pytest.raises(ConfigError, match="none of the graphs pose_backbone, pose_decoder"):
        export_for_profile(replace(PROFILE, graphs=pose), EMBEDDED_WEIGHTS, tmp_path / "onnx")

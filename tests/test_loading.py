"""Which backend answers, what is said when it cannot, and that nothing else may take its place."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import make_json_tokenizer
from vl2_ros.errors import ConfigError, EngineError, RouteError
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.flow.prompt_features import encode_features, prepare_prompt
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.model.checkpoint.folder import save_model
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import IMAGE_PARTS
from vl2_ros.processing.calibration import Calibration
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.command_prompt import CommandPrompt
from vl2_ros.processing.language.task_formats import TaskFormat
from vl2_ros.runtime.engine import EngineInfo, Engines
from vl2_ros.runtime.files.engine_files import FILE_NAME
from vl2_ros.runtime.files.weights_identity import identify_weights
from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine
from vl2_ros.structures import Frame, Route

DECODER = ("detection_backbone", "detection_decoder")
GRAPHS = ("vision_encoder", "language_model", "region_encoder", *DECODER)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A small checkpoint folder with every part but the pose decoder."""
    folder = tmp_path_factory.mktemp("checkpoint")
    tokenizer = make_json_tokenizer(folder)
    tiny = ModelConfig.tiny()
    torch.manual_seed(0)
    model = VisionLLM(
        replace(tiny, llm={**tiny.llm, "vocab_size": tokenizer.vocab_size}), tokenizer.tokens
    )
    save_model(model, folder)
    ProcessingConfig(vision_side=56, vision_tokens=16, num_embs=4, num_embs_gen=6).save(folder)
    return folder


def load(weights: Path, device: str = "cpu", **options) -> Pipeline:
    return load_pipeline(LoadOptions(weights, device, **options))


def list_engines(folder: Path, identity: str, graphs=GRAPHS) -> Path:
    """Write an `engines.json` whose files are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    entry = {"sha256": "0" * 64, "precision": "float32"}
    entry["axes"] = {"layers": 2, "heads": 4, "head_width": 16}
    document = {
        "format": 1,
        "checkpoint": identity,
        "graphs": {name: entry | {"file": f"{name}.onnx"} for name in graphs},
        "embeddings": {"file": "embeddings.safetensors", "sha256": "0" * 64},
    }
    (folder / FILE_NAME).write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_without_engines_torch_answers_and_nothing_is_said(checkpoint, backend, caplog):
    assert load(checkpoint, backend=backend).info.backend == "torch"
    assert caplog.text == ""


def test_a_backend_asked_for_by_name_is_missed(checkpoint, caplog):
    with caplog.at_level(logging.WARNING):
        assert load(checkpoint, backend="onnxruntime").info.backend == "torch"
    assert "torch answers in place of the engines: no engines.json in" in caplog.text
    with pytest.raises(EngineError, match=r"no engines\.json in"):
        load(checkpoint, backend="onnxruntime", allow_fallback=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"identity": "of another"}, "were made from checkpoint of another, these weights are"),
        (
            {"graphs": GRAPHS[:2]},
            "lack region_encoder, detection_backbone, detection_decoder, which the",
        ),
        # What was built before the image branch had a graph of its own.
        (
            {"graphs": [one for one in GRAPHS if one != "detection_backbone"]},
            "lack detection_backbone, which the checkpoint has; .*build",
        ),
        ({}, "cannot read .*, the embeddings: No such file"),
    ],
)
def test_engines_that_cannot_be_used_are_named(checkpoint, tmp_path, changes, message, caplog):
    given = {"identity": identify_weights(checkpoint)} | changes
    engines = list_engines(tmp_path, **given)
    with pytest.raises(EngineError, match=message):
        load(checkpoint, engines=engines, allow_fallback=False)
    with caplog.at_level(logging.WARNING):
        assert load(checkpoint, engines=engines).info.backend == "torch"
    (record,) = caplog.records
    assert record.levelname == "WARNING"


def test_where_torch_is_not_installed_the_first_reason_is_kept(checkpoint, tmp_path, monkeypatch):
    engines = list_engines(tmp_path, "of another")
    monkeypatch.setitem(sys.modules, "vl2_ros.runtime.torch_backend.loading", None)
    with pytest.raises(EngineError, match=r"of another.*pip install 'vl2_ros\[torch\]'"):
        load(checkpoint, engines=engines)


def test_engines_stand_in_the_checkpoint_folder(checkpoint, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in checkpoint.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    list_engines(copy / "engines", "of another")
    with pytest.raises(EngineError, match="of another"):
        load(copy, allow_fallback=False)
    # Only auto looks whether they are there; the identity of the weights does not cover them.
    assert load(copy, backend="torch").info.backend == "torch"
    assert identify_weights(copy) == identify_weights(checkpoint)


def test_a_part_that_is_excluded_needs_no_engine(checkpoint, tmp_path):
    engines = list_engines(tmp_path, identify_weights(checkpoint), graphs=GRAPHS[:3])
    with pytest.raises(EngineError, match="lack detection_backbone, detection_decoder"):
        load(checkpoint, engines=engines, allow_fallback=False)
    with pytest.raises(EngineError, match="cannot read .*, the embeddings"):
        load(checkpoint, engines=engines, allow_fallback=False, without=["detection_decoder"])


def test_an_image_is_cut_into_as_many_tiles_as_are_allowed(checkpoint):
    frame = Frame(np.zeros((480, 640, 3), np.uint8))
    counts = {}
    for most in (0, 4, 1):
        pipeline = load(checkpoint, max_tiles=most, without=["detection_decoder"])
        prompt = CommandPrompt(TaskFormat("What is this?"), (frame,))
        inputs = prepare_prompt(prompt, pipeline.tokenizer, pipeline.processing)
        counts[most] = len(inputs.pixels)
        assert (inputs.ids == pipeline.tokenizer.tokens.image_patch).sum() == 16 * counts[most]
        assert encode_features(inputs, pipeline.engines).image_tokens is not None
    assert counts == {0: 2 * 2 + 1, 4: 2 * 2 + 1, 1: 1}
    with pytest.raises(ConfigError, match="at most the checkpoint's own 4 and at least 1, got 5"):
        load(checkpoint, max_tiles=5)


def test_a_budget_is_torch_s_to_keep(checkpoint, tmp_path):
    engines = list_engines(tmp_path, identify_weights(checkpoint))
    loaded = load(checkpoint, engines=engines, memory_budget_mb=50, allow_fallback=False)
    assert loaded.info.backend == "torch"
    with pytest.raises(ConfigError, match="the backend torch only, got 50 and onnxruntime"):
        load(checkpoint, backend="onnxruntime", engines=engines, memory_budget_mb=50)


class _Scripted:
    def __init__(self, graph):
        self.info = EngineInfo(graph, "onnxruntime", "cpu", (), ())


@pytest.fixture
def exported(monkeypatch):
    """Engines of another backend, without their files."""
    engines = Engines(_Scripted("vision_encoder"), _Scripted("language_model"))
    monkeypatch.setattr("vl2_ros.loading.load_exported_engines", lambda *_: engines)


@pytest.fixture(scope="module")
def generating_checkpoint(tmp_path_factory) -> Path:
    """One that draws and edits, with engines of everything else."""
    folder = tmp_path_factory.mktemp("generating")
    tokenizer = make_json_tokenizer(folder)
    tiny = ModelConfig.tiny(with_detection=False, with_images=True)
    config = replace(
        tiny, llm={**tiny.llm, "vocab_size": tokenizer.vocab_size}, use_region_encoder=False
    )
    save_model(VisionLLM(config, tokenizer.tokens), folder)
    ProcessingConfig(vision_side=56, vision_tokens=16, num_embs=4, num_embs_gen=6).save(folder)
    list_engines(folder / "engines", identify_weights(folder), graphs=GRAPHS[:2])
    return folder


MISSING = "the engines in .* lack image_generation.prompt_mapper, image_generation.denoiser"


def test_torch_makes_images_that_engines_are_missing_for(generating_checkpoint, exported, caplog):
    pipeline = load(generating_checkpoint)
    assert pipeline.info.backend == "onnxruntime"
    assert pipeline.info.routes == (Route.ANSWER, Route.GENERATE, Route.EDIT)
    assert pipeline.engines.image_generators[Route.EDIT].info.backend == "torch"
    assert f"torch answers in place of the engines: {MISSING[:14]}" in caplog.text
    caplog.clear()
    generating = load(generating_checkpoint, without=["image_editing"])
    assert generating.info.routes == (Route.ANSWER, Route.GENERATE)
    assert "switched off" in generating.engines.absent["image_editing"]
    (record,) = caplog.records
    assert "image_editing" not in record.getMessage()


def test_engines_make_the_images_of_their_part_and_torch_those_of_the_other(
    generating_checkpoint, exported, tmp_path, caplog
):
    graphs = [f"image_editing.{graph}" for graph in IMAGE_PARTS["image_editing"].graphs]
    engines = list_engines(
        tmp_path, identify_weights(generating_checkpoint), GRAPHS[:2] + (*graphs,)
    )
    made = load(generating_checkpoint, engines=engines).engines.image_generators
    backends = {route: generator.info.backend for route, generator in made.items()}
    assert backends == {Route.GENERATE: "torch", Route.EDIT: "onnxruntime"}
    (record,) = caplog.records
    assert "lack image_generation.prompt_mapper" in record.getMessage()


def test_without_fallback_torch_makes_no_images(generating_checkpoint, exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl2_ros.runtime.torch_backend.loading", None)
    strict = load(generating_checkpoint, allow_fallback=False)
    assert strict.info.routes == (Route.ANSWER,)
    with pytest.raises(RouteError, match=rf"\[GEN\].*{MISSING}.*build them as well"):
        strict.engines.check_routes([Route.GENERATE])


def test_where_torch_cannot_make_images_all_else_works(
    generating_checkpoint, exported, monkeypatch
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    without_device = load(generating_checkpoint, backend="onnxruntime", device="cuda")
    assert without_device.info.routes == (Route.ANSWER,)
    assert "no CUDA device" in without_device.engines.absent["image_generation"]
    monkeypatch.setitem(sys.modules, "vl2_ros.runtime.torch_backend.loading", None)
    without_torch = load(generating_checkpoint)
    assert without_torch.info.routes == (Route.ANSWER,)
    with pytest.raises(
        RouteError, match=rf"\[GEN\].*{MISSING}.*pip install 'vl2_ros\[diffusion\]'"
    ):
        without_torch.engines.check_routes([Route.GENERATE])


def test_torch_is_not_loaded_for_images_that_are_not_made(
    checkpoint, tmp_path, exported, monkeypatch
):
    monkeypatch.setitem(sys.modules, "vl2_ros.runtime.torch_backend.loading", None)
    engines = list_engines(tmp_path, identify_weights(checkpoint))
    pipeline = load(checkpoint, engines=engines, allow_fallback=False)
    assert pipeline.info.routes == (Route.ANSWER,)
    assert pipeline.engines.absent == {}


def test_limits_of_other_weights_are_not_taken(tmp_path, caplog):
    folder = tmp_path / "own"
    shutil.copytree(EMBEDDED_WEIGHTS, folder)
    kept = load_pipeline(LoadOptions(weights=str(folder))).calibration
    assert kept.domain is not None and kept.identity
    Calibration(kept.domain, identity="of another one").save(folder)
    dropped = load_pipeline(LoadOptions(weights=str(folder))).calibration
    assert dropped.domain is None and dropped.least_answer_score == 0.0
    assert "belongs to other weights" in caplog.text


def test_threads_are_those_of_the_option(monkeypatch):
    before, seen = torch.get_num_threads(), []

    def open_engine(file, *, device, options):
        seen.append(options.threads)
        return OnnxEngine(file, device=device, options=options)

    monkeypatch.setattr("vl2_ros.runtime.onnxruntime_backend.engine.OnnxEngine", open_engine)
    try:
        load("", backend="torch", threads=3)
        assert torch.get_num_threads() == 3
        load("", backend="onnxruntime", threads=1)
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}

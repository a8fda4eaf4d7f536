"""A checkpoint to a folder of engines that answers like it, without torch."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.export.exported_graphs import SMALL_RESNET
from vl2_ros.errors import ConfigError
from vl2_ros.export.engine_folder import PlainRequest, export_engines
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.model.checkpoint.folder import convert_checkpoint, save_model
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.runtime.files.engine_files import EMBEDDINGS, FILE_NAME, read_engine_files
from vl2_ros.runtime.files.exported_engines import load_exported_engines
from vl2_ros.runtime.files.weights_identity import identify_weights
from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine
from vl2_ros.runtime.torch_backend.loading import load_torch_engines
from vl2_ros.sim.tabletop import TabletopSimulator
from vl2_ros.structures import Frame, Route

TOKENS = TokenIds.from_base(64)
KINDS = ("mug", "bowl", "cube", "banana")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    config = ModelConfig.tiny()
    detection = replace(config.detection, backbone_config=SMALL_RESNET, decoder_layers=1)
    config = replace(config, detection=detection, use_region_encoder=False)
    folder = tmp_path_factory.mktemp("checkpoint")
    save_model(VisionLLM(config, TOKENS).eval(), folder, dtype=torch.float16)
    ProcessingConfig(
        *(56, 16), num_embs=4, num_embs_gen=6, max_length=512, decoder_short=64, decoder_long=96
    ).save(folder)
    return folder


@pytest.fixture(scope="module")
def language_side(checkpoint, tmp_path_factory) -> tuple[Path, list[str]]:
    """The folder of engines, and the names of the graphs as they were reported."""
    graphs = {
        "vision_encoder": PlainRequest(axes={"tiles": (1, 2, 3)}),
        "language_model": PlainRequest(),
        "pose_decoder": PlainRequest(),
    }
    names: list[str] = []
    folder = tmp_path_factory.mktemp("language_side")
    export_engines(checkpoint, folder, graphs, progress=names.append)
    return folder, names


def test_the_language_side_of_a_checkpoint_becomes_engines_that_say_the_same(
    checkpoint, language_side
):
    folder, names = language_side
    assert names == ["vision_encoder", "language_model"]
    document = json.loads((folder / FILE_NAME).read_text())
    assert document["graphs"]["vision_encoder"]["axes"] == {"tiles": [1, 2, 3], "tile_side": 56}
    assert document["graphs"]["language_model"]["axes"]["past"] == [0, 128, 512]
    files = read_engine_files(folder)
    files.check_checkpoint(identify_weights(checkpoint))
    for one in files.graphs.values():
        one.check()

    engines = load_exported_engines(files, TOKENS, OnnxEngine)
    expected = load_torch_engines(checkpoint)
    pixels = np.random.default_rng(0).normal(size=(2, 3, 56, 56)).astype(np.float32)
    tokens = [one.vision_encoder.run({"pixels": pixels}) for one in (engines, expected)]
    found, wanted = (one["image_tokens"] for one in tokens)
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
    ids = np.array([1, *[TOKENS.image_patch] * 32, 5, 6, 7])
    sessions = [one.language_model.open_session() for one in (engines, expected)]
    route = next(iter(TOKENS.routing))
    for step in ([ids, wanted], [np.array([9])], [np.array([route, *TOKENS.slot_ids(4)])]):
        first, second = (one.feed(*step) for one in sessions)
        np.testing.assert_allclose(first.last_logits, second.last_logits, atol=1e-5)
        np.testing.assert_allclose(first.hidden, second.hidden, atol=1e-4)


def test_embeddings_are_stored_at_half_size_without_loss(checkpoint, language_side):
    tables = load_file(language_side[0] / EMBEDDINGS)
    assert set(tables) == {"embed_tokens", "det", "pose", "gen", "edit"}
    assert {str(one.dtype) for one in tables.values()} == {"float16"}
    stored = load_file(checkpoint / "model.safetensors")
    np.testing.assert_array_equal(
        tables["embed_tokens"], stored["llm.model.embed_tokens.weight"].astype(np.float16)
    )


def test_graphs_in_the_checkpoint_folder_refer_to_its_weights(checkpoint, tmp_path):
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, folder)
    identity = identify_weights(folder)
    graphs = {name: PlainRequest() for name in ("vision_encoder", "language_model")}
    export_engines(folder, folder, graphs)
    export_engines(folder, tmp_path, graphs)
    assert identify_weights(folder) == identity
    assert not (folder / "embeddings.safetensors").exists()
    beside, own = read_engine_files(folder), read_engine_files(tmp_path)
    for name in graphs:
        small, whole = (one.graphs[name].path.stat().st_size for one in (beside, own))
        assert small < 0.7 * whole
        assert beside.graphs[name].weights[0] == folder / "model.safetensors"
    engines = [load_exported_engines(one, TOKENS, OnnxEngine) for one in (beside, own)]
    pixels = np.random.default_rng(0).normal(size=(2, 3, 56, 56)).astype(np.float32)
    found, wanted = (one.vision_encoder.run({"pixels": pixels}) for one in engines)
    np.testing.assert_array_equal(found["image_tokens"], wanted["image_tokens"])
    ids = np.array([1, *[TOKENS.image_patch] * 32, 5, 6, 7])
    first, second = (
        one.language_model.open_session().feed(ids, wanted["image_tokens"]) for one in engines
    )
    np.testing.assert_array_equal(first.last_logits, second.last_logits)
    np.testing.assert_array_equal(first.hidden, second.hidden)


def test_a_checkpoint_of_several_files_takes_no_graphs_beside_them(checkpoint, tmp_path):
    convert_checkpoint(checkpoint, tmp_path / "shards", max_shard_bytes=100_000)
    (tmp_path / "shards" / "processing.json").write_bytes(
        (checkpoint / "processing.json").read_bytes()
    )
    with pytest.raises(ConfigError, match="model.safetensors, which is not there; save the"):
        export_engines(tmp_path / "shards", tmp_path / "shards")


@pytest.mark.slow
def test_the_image_of_a_decoder_is_open_unless_it_is_fixed(checkpoint, tmp_path):
    graphs = {"detection_decoder": PlainRequest(axes={"classes": (1, 2, 9)})}
    path = export_engines(checkpoint, tmp_path, graphs, decoder_hw=(64, 96))
    axes = json.loads(path.read_text())["graphs"]["detection_decoder"]["axes"]
    assert axes["classes"] == [1, 2, 9]
    assert [axes["height"], axes["width"]] == [64, 96]
    shipped = json.loads((EMBEDDED_WEIGHTS / "engines.json").read_text())
    axes = shipped["graphs"]["detection_decoder"]["axes"]
    assert axes["height"][0] < axes["height"][2] and axes["width"][0] < axes["width"][2]


def test_a_checkpoint_without_any_of_the_graphs_is_refused(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match="has none of the graphs pose_decoder"):
        export_engines(checkpoint, tmp_path, {"pose_decoder": PlainRequest()})
    assert not (tmp_path / "engines.json").exists()


@pytest.mark.slow
def test_the_embedded_model_detects_the_same_through_onnx():
    files = [path for path in EMBEDDED_WEIGHTS.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 32e6
    pipelines = [
        load_pipeline(
            LoadOptions("", "cpu", "onnxruntime", precision="float32", allow_fallback=False)
        ),
        load_pipeline(LoadOptions(device="cpu", backend="torch")),
    ]
    with TabletopSimulator(width=640, height=480) as simulator:
        views = [simulator.render(1_000_000 + index).rgb for index in range(4)]
    # Upright, wide and odd images come to the decoder with other canvases.
    views += [np.rot90(views[0]), views[1][:300], views[2][:333, :501]]
    for rgb in views:
        frame = Frame(np.ascontiguousarray(rgb))
        found, wanted = (
            one.detect(frame, KINDS, route=Route.SEGMENT, score_threshold=0.1).detections
            for one in pipelines
        )
        assert len(found.scores) == len(wanted.scores)
        np.testing.assert_array_equal(found.class_ids, wanted.class_ids)
        np.testing.assert_allclose(found.scores, wanted.scores, atol=0.01)
        pairs = zip(found.boxes_xyxy, wanted.boxes_xyxy, strict=True)
        assert all(overlap(*pair) >= 0.99 for pair in pairs)
        assert (np.asarray(found.masks) == np.asarray(wanted.masks)).mean() > 0.999


def overlap(one, other) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    inner = np.prod(np.maximum(high - low, 0))
    areas = sum(np.prod(box[2:] - box[:2]) for box in (one, other))
    return inner / (areas - inner)

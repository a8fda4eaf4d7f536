"""Damaged files of every kind that is read give errors of the tree and nothing else."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from benchmarks.fuzzing.file_readers import READERS
from benchmarks.fuzzing.files import fuzz_files
from tests.model.checkpoint.fake_release import SMALL, edit_json, make_weights, write_release
from vl2_ros.documents import MAX_DEPTH, read_json, read_text, write_whole
from vl2_ros.errors import CheckpointError, ConfigError, InputError, VL2Error
from vl2_ros.evaluation.coco.tool import CocoKind, score_coco
from vl2_ros.export.engine_folder import _write_embeddings
from vl2_ros.export.engine_profile import load_profile
from vl2_ros.export.full_size.mapped_network import MappedNetwork
from vl2_ros.model.checkpoint.config import read_checkpoint_config
from vl2_ros.model.checkpoint.folder import convert_checkpoint, describe_checkpoint, save_model
from vl2_ros.model.checkpoint.shards import find_weight_files, iterate_tensors
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.structures.run_lengths import decompress_counts
from vl2_ros.views.result_json import encode_rle

CASES, SEED = 600, 12


def test_damaged_files_give_errors_of_the_tree_alone():
    slow = ("network", "captions", "tokenizer.json")
    names = tuple(one.name for one in READERS if one.name not in slow)
    report = fuzz_files(CASES, SEED, names)
    assert report.cases == CASES
    assert report.finds == []


def test_a_leak_would_be_found(monkeypatch):
    """A reader that does not map what it raises is a find: the fuzzer sees it."""

    def read(folder):
        return json.loads((Path(folder) / "processing.json").read_text())

    monkeypatch.setattr(ProcessingConfig, "load", read)
    monkeypatch.setattr(
        "benchmarks.fuzzing.files.choose_readers",
        lambda names: tuple(
            one.__class__(one.name, one.make, read, one.files)
            for one in READERS
            if one.name in names
        ),
    )
    finds = fuzz_files(200, SEED, ("processing.json",)).finds
    assert any("JSONDecodeError" in find for find in finds)


# The reader that all share


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 5000, "deeper than|not JSON"),
        (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), f"deeper than {MAX_DEPTH} levels"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b'{"a": 1e999}', "contains the number inf"),
        (b'{"a": "\\ud800"}', "half of a character"),
        (b"1" * 5000, "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "not JSON"),
    ],
)
def test_json_is_read_strictly(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_json(path, CheckpointError)


def test_a_document_is_refused_by_its_size_before_it_is_parsed(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[" + "1," * 100 + "1]")
    with pytest.raises(ConfigError, match="at most 100 bytes"):
        read_json(path, ConfigError, max_bytes=100)
    assert read_json(path, ConfigError, max_bytes=1000)[-1] == 1


@pytest.mark.parametrize("name", ["a" * 3000, "b\0c", "no/such/folder"])
def test_names_that_no_file_can_have(tmp_path, name):
    with pytest.raises(InputError, match="cannot read"):
        read_text(tmp_path / name, InputError)
    with pytest.raises(CheckpointError):
        read_checkpoint_config(tmp_path / name)
    with pytest.raises(CheckpointError):
        find_weight_files(tmp_path / name)


# Each kind that leaked


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    return write_release(tmp_path_factory.mktemp("release"), make_weights(SMALL))


@pytest.fixture
def config(release, tmp_path) -> Path:
    """The released configuration alone, to be damaged."""
    for name in ("config.json", "added_tokens.json"):
        (tmp_path / name).write_bytes((release / name).read_bytes())
    return tmp_path / "config.json"


def edit_part(config: Path, part: str, **changes) -> None:
    edit_json(config, **{part: json.loads(config.read_text())[part] | changes})


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("llm_config", {"hidden_size": "128"}),
        ("llm_config", {"hidden_size": -128}),
        ("llm_config", {"hidden_size": 10**12}),
        ("llm_config", {"num_hidden_layers": 10**9}),
        ("llm_config", {"num_attention_heads": 0}),
        ("llm_config", {"vocab_size": 1.5}),
        ("llm_config", {"eos_token_id": [1, "2"]}),
        ("vis_encoder_config", {"patch_size": 0}),
        ("vis_encoder_config", {"image_size": 10**9}),
        ("vis_encoder_config", {"num_hidden_layers": None}),
        ("gdino_config", {"num_queries": {}}),
        ("gdino_config", {"d_model": "wide"}),
        ("gdino_config", {"feature_stages": 3}),
        ("gdino_config", {"norm_groups": 0}),
        ("gdino_config", {"backbone_config": {"model_type": ["swin"]}}),
        ("gdino_config", {"backbone_config": {"model_type": "swin", "window_size": 4000}}),
        ("unipose_config", {"swin": 3}),
        ("unipose_config", {"nheads": "8"}),
    ],
)
def test_wrong_kinds_in_a_configuration(config, part, changes):
    edit_part(config, part, **changes)
    with pytest.raises(VL2Error):
        read_checkpoint_config(config.parent)


@pytest.mark.parametrize("named", [[["a"]], 3, None, {"a": 1}])
def test_architectures_that_name_nothing_are_passed_over(config, named):
    edit_part(config, "llm_config", architectures=named)
    assert read_checkpoint_config(config.parent).is_release


@pytest.mark.parametrize("found", [[1], "7", None, -1, 2.5])
def test_ids_of_tokens_that_are_none(config, found):
    edit_json(config.with_name("added_tokens.json"), **{"[DET]": found})
    with pytest.raises(CheckpointError):
        read_checkpoint_config(config.parent)


@pytest.mark.parametrize(
    "changes",
    [
        {"gdino_config": None},
        {"vl_bridge_type": 3},
        {"vl_bridge_type": "mlp1000000x_gelu"},
        {"num_embs": "4"},
        {"use_pixelshuffle": "no"},
    ],
)
def test_wrong_kinds_at_the_top_of_a_configuration(config, changes):
    edit_json(config, **changes)
    with pytest.raises(VL2Error):
        read_checkpoint_config(config.parent)


def test_sizes_that_clash_are_reported_by_the_network(release, tmp_path):
    for path in release.iterdir():
        os.link(path, tmp_path / path.name)
    config = tmp_path / "config.json"
    text = config.read_text()
    config.unlink()
    config.write_text(text)
    values = json.loads(text)["gdino_config"]["backbone_config"]
    edit_part(config, "gdino_config", backbone_config=values | {"num_heads": [5, 5, 5, 5]})
    with pytest.raises(VL2Error):
        describe_checkpoint(tmp_path)


def test_a_shard_with_an_endless_name(tmp_path):
    index = {"weight_map": {"a": "b" * 3000}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="expected a file beside the index"):
        find_weight_files(tmp_path)


def test_weights_that_are_not_dense(tmp_path):
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="dense|cannot be read"):
        list(iterate_tensors(find_weight_files(tmp_path)))


@pytest.mark.parametrize(
    "text", ["a: 2001-99-99", "a: 0x" + "f" * 6000, "&a [*a]", "{[1]: 2}", "- " * 3000, "3: 4"]
)
def test_a_profile_that_yaml_itself_stumbles_over(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_profile(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    "changes",
    [{"queue_size": "8"}, {"cameras": 5}, {"score_threshold": math.nan}, {"queue_size": True}],
)
def test_parameters_of_another_kind(changes):
    with pytest.raises(ConfigError):
        NodeParameters(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"bbox": [0, 0, "wide", 3]},
        {"bbox": [0, 0, 1e300, 3]},
        {"score": None},
        {"category_id": {}},
        {"image_id": [1]},
        {"segmentation": {"size": [60, 80], "counts": [1]}},
        {"segmentation": {"size": [-1, 2], "counts": "1"}},
        {"segmentation": [[1, 2, 3]]},
    ],
)
@pytest.mark.parametrize("kind", [CocoKind.BOXES, CocoKind.MASKS], ids=lambda kind: kind.value)
def test_results_of_another_kind(kind, changes):
    truth = {
        "images": [{"id": 1, "height": 60, "width": 80}],
        "categories": [{"id": 1, "name": "mug"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81}
            | {"iscrowd": 0, "segmentation": [[1, 1, 9, 1, 9, 9]]}
        ],
    }
    row = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.5}
    with pytest.raises(InputError, match="expected the format of"):
        score_coco(truth, [row | changes], kind)


def test_run_lengths_are_read_as_the_coco_api_writes_them():
    chance = np.random.default_rng(0)
    for shape in ((1, 1), (7, 5), (60, 80), (300, 200)):
        for share in (0.0, 0.02, 0.5, 1.0):
            mask = chance.random(shape) < share
            counts = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
            assert decompress_counts(counts).tolist() == encode_rle(mask)["counts"]


# Modes of files


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_weights_are_as_readable_as_the_umask_says(release, tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        convert_checkpoint(release, tmp_path / "converted")
        model = ModelConfig.tiny(with_detection=False)
        network = VisionLLM(model, TokenIds.from_base(64))
        save_model(network, tmp_path / "saved")
        (tmp_path / "engines").mkdir()
        mapped = MappedNetwork(tmp_path / "saved")
        _write_embeddings(mapped, tmp_path / "engines" / "embeddings.safetensors", torch.float32)
    finally:
        os.umask(before)
    for name in ("converted", "saved", "engines"):
        found = {
            stat.S_IMODE(path.stat().st_mode)
            for path in (tmp_path / name).iterdir()
            if path.suffix in (".safetensors", ".json")
        }
        assert found == {mode}, name


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path):
    path = tmp_path / "weights"
    path.write_text("old")

    def fail(part: Path) -> None:
        part.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fail)
    assert [one.name for one in tmp_path.iterdir()] == ["weights"]
    assert path.read_text() == "old"

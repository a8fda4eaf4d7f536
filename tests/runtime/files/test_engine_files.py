"""`engines.json`: what is read, and what is said when it cannot be."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from vl2_ros.errors import EngineError
from vl2_ros.runtime.files import file_hashes
from vl2_ros.runtime.files.engine_files import FILE_NAME, read_engine_files

CONTENT = b"an engine"
GRAPH = {
    "file": "vision_encoder.onnx",
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
    "precision": "float32",
    "axes": {"tile_side": 128, "tiles": [1, 1, 5]},
}
DOCUMENT = {"format": 1, "checkpoint": "0123456789abcdef", "graphs": {"vision_encoder": GRAPH}}


def write(folder: Path, document: object = DOCUMENT) -> Path:
    (folder / "vision_encoder.onnx").write_bytes(CONTENT)
    (folder / FILE_NAME).write_text(json.dumps(document))
    return folder


def test_files_sizes_and_ranges_are_read(tmp_path):
    files = read_engine_files(write(tmp_path))
    file = files.require("vision_encoder")
    file.check()
    assert (file.path, file.precision) == (tmp_path / "vision_encoder.onnx", "float32")
    assert file.fixed_size("tile_side") == 128
    assert file.axes["tiles"] == (1, 1, 5)
    files.check_checkpoint("0123456789abcdef")


def test_a_changed_byte_is_found(tmp_path):
    file = read_engine_files(write(tmp_path)).require("vision_encoder")
    file.path.write_bytes(b"an Engine")
    with pytest.raises(EngineError, match=r"damaged or was replaced.*of 9 bytes.*export"):
        file.check()


def test_weights_beside_an_engine_are_checked_too(tmp_path):
    weights = {"file": "vision_encoder.onnx.data", "sha256": hashlib.sha256(b"1 2 3").hexdigest()}
    document = DOCUMENT | {"graphs": {"vision_encoder": GRAPH | {"weights": weights}}}
    file = read_engine_files(write(tmp_path, document)).require("vision_encoder")
    path = tmp_path / "vision_encoder.onnx.data"
    with pytest.raises(EngineError, match=r"cannot read .*onnx\.data, the weights of vis"):
        file.check()
    path.write_bytes(b"1 2 3")
    file.check()
    path.write_bytes(b"1 2 4")
    with pytest.raises(EngineError, match=r"onnx\.data is damaged or was replaced"):
        file.check()


def test_weights_that_engines_share_are_read_again_when_they_change(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"1 2 3")
    os.utime(path, ns=(0, 0))
    monkeypatch.setattr(file_hashes, "_SETTLED_NS", -1)
    weights = {"file": path.name, "sha256": hashlib.sha256(b"1 2 3").hexdigest()}
    graphs = {name: GRAPH | {"weights": weights} for name in ("vision_encoder", "vae_decoder")}
    files = read_engine_files(write(tmp_path, DOCUMENT | {"graphs": graphs}))
    reads = []
    monkeypatch.setattr(
        file_hashes, "_hash", lambda path, what: reads.append(path) or hash_bytes(path)
    )
    for _ in range(2):
        for file in files.graphs.values():
            file.check()
    assert reads.count(path) == 1
    path.write_bytes(b"1 2 4")
    for file in files.graphs.values():
        with pytest.raises(EngineError, match=r"model\.safetensors is damaged or was replaced"):
            file.check()


def hash_bytes(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_embeddings_may_be_tensors_of_the_checkpoint(tmp_path):
    tables = {"embed_tokens": "llm.model.embed_tokens.weight"}
    embeddings = {"file": "model.safetensors", "sha256": "0" * 64}
    document = DOCUMENT | {"embeddings": embeddings | {"tables": tables}}
    files = read_engine_files(write(tmp_path, document))
    assert files.embeddings == tmp_path / "model.safetensors"
    assert files.embeddings_tables == tables
    with pytest.raises(EngineError, match="must name embeddings.safetensors, or the tables"):
        read_engine_files(write(tmp_path, DOCUMENT | {"embeddings": embeddings}))
    for wrong in ([], {"embed_tokens": 3}):
        document = DOCUMENT | {"embeddings": embeddings | {"tables": wrong}}
        with pytest.raises(EngineError, match="tables must|embed_tokens must"):
            read_engine_files(write(tmp_path, document))


def test_a_missing_file_is_named(tmp_path):
    file = read_engine_files(write(tmp_path)).require("vision_encoder")
    file.path.unlink()
    with pytest.raises(EngineError, match=r"vision_encoder\.onnx.*No such file.*export"):
        file.check()


def test_engines_of_another_checkpoint_are_refused(tmp_path):
    with pytest.raises(
        EngineError, match="from checkpoint 0123456789abcdef, these weights are f00"
    ):
        read_engine_files(write(tmp_path)).check_checkpoint("f00")


def test_a_graph_or_size_that_is_not_there_is_named(tmp_path):
    files = read_engine_files(write(tmp_path))
    with pytest.raises(EngineError, match="no engine of pose_decoder; it has vision_encoder"):
        files.require("pose_decoder")
    for axis in ("tiles", "layers"):
        with pytest.raises(EngineError, match=f"a number for the axis '{axis}'"):
            files.require("vision_encoder").fixed_size(axis)


def test_a_folder_without_engines_says_what_was_expected(tmp_path):
    with pytest.raises(EngineError, match="no engines.json in"):
        read_engine_files(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2, this version reads 1 to 1; update vl2_ros"),
        ({"format": "1"}, "format '1'"),
        ({"checkpoint": None}, "must have"),
        ({"graphs": {}}, "must have"),
        ({"graphs": {"oven": GRAPH}}, "engine of 'oven'; this version knows vision_encoder"),
        ({"graphs": {"vision_encoder": {"file": "x"}}}, "describes the engine of vision_encoder"),
        ({"graphs": {"vision_encoder": GRAPH | {"axes": {"tiles": [1, 2]}}}}, "describes"),
        ({"graphs": {"vision_encoder": GRAPH | {"axes": {"tiles": "many"}}}}, "describes"),
        ({"graphs": {"vision_encoder": GRAPH | {"file": "../other.onnx"}}}, "outside of its"),
        ({"graphs": {"vision_encoder": GRAPH | {"file": "/etc/passwd"}}}, "outside of its"),
    ],
)
def test_documents_that_cannot_be_used_are_refused(tmp_path, changes, message):
    with pytest.raises(EngineError, match=message):
        read_engine_files(write(tmp_path, DOCUMENT | changes))


@pytest.mark.parametrize("text", ["{", "[]", "3", '"x"', "null"])
def test_a_damaged_document_is_refused(tmp_path, text):
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(EngineError, match=r"engines\.json"):
        read_engine_files(tmp_path)


def test_engines_of_image_parts_have_their_part_in_front(tmp_path):
    graphs = {name: GRAPH for name in ("image_generation.denoiser", "image_editing.vae_encoder")}
    files = read_engine_files(write(tmp_path, DOCUMENT | {"graphs": graphs}))
    assert [one.graph for one in files.graphs.values()] == ["denoiser", "vae_encoder"]
    assert [one.name for one in files.graphs.values()] == list(graphs)
    for strange in (
        "image_generation.vae_encoder",
        "image_generation.language_model",
        "x.denoiser",
    ):
        with pytest.raises(EngineError, match=f"lists an engine of '{strange}'"):
            read_engine_files(write(tmp_path, DOCUMENT | {"graphs": {strange: GRAPH}}))


@pytest.mark.parametrize(
    ("listed", "got"),
    [({}, "got none"), ({"vision_encoder": GRAPH}, "under forms.int8, got float32")],
)
def test_forms_are_of_their_precision(tmp_path, listed, got):
    folder = write(tmp_path, DOCUMENT | {"forms": {"int8": listed}})
    with pytest.raises(EngineError, match=f"must list engines of int8.*{got}"):
        read_engine_files(folder)

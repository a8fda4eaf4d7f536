"""Engines of ONNX Runtime whose weights lie beside them, as of graphs that are over 256 MB."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from tests.export.engine_folders import MAPPER, PROFILE, CountingBuilder, export_mapper
from vl2_ros.errors import EngineError
from vl2_ros.export.build_engines import build_engines
from vl2_ros.export.engine_store import EngineStore, clean_exported
from vl2_ros.export.store_files import hash_file
from vl2_ros.export.stored_engine import StoredEngine
from vl2_ros.runtime.files.engine_files import FILE_NAME, WEIGHTS_SUFFIX, read_engine_files
from vl2_ros.runtime.onnxruntime_backend import engine as onnx_engine
from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine

#: Widens the states and narrows them again, without a change.
WIDEN = np.eye(8, 64, dtype=np.float32)


@pytest.fixture
def source(tmp_path) -> Path:
    return write_source(tmp_path / "onnx")


@pytest.fixture
def store(tmp_path) -> EngineStore:
    return EngineStore(tmp_path / "engines")


def write_source(folder: Path, *, off: float = 0.0) -> Path:
    """Export a mapper that multiplies by two matrices, which lie beside it."""
    export_mapper(folder, off=off)
    path = folder / "prompt_mapper.onnx"
    data = path.name + WEIGHTS_SUFFIX
    model = onnx.load(path)
    matrices = {"widen": WIDEN, "narrow": np.ascontiguousarray(WIDEN.T)}
    model.graph.initializer.extend(numpy_helper.from_array(m, n) for n, m in matrices.items())
    products = [("super_link", "widen", "wide"), ("wide", "narrow", "states")]
    model.graph.node[2].input[0] = "states"
    for index, (left, right, out) in enumerate(products):
        model.graph.node.insert(index, helper.make_node("MatMul", [left, right], [out]))
    onnx.save(model, path, save_as_external_data=True, location=data, size_threshold=0)
    document = json.loads((folder / FILE_NAME).read_text())
    document["graphs"]["prompt_mapper"] |= {
        "sha256": hash_file(path),
        "weights": {"file": data, "sha256": hash_file(folder / data)},
    }
    (folder / FILE_NAME).write_text(json.dumps(document))
    return folder


def build(source: Path, store: EngineStore, builder: CountingBuilder) -> StoredEngine:
    return build_engines(PROFILE, source, store, builder).engines[0]


def list_names(store: EngineStore) -> set[str]:
    return {path.name for path in store.folder.iterdir()} - {"engines.lock"}


def test_weights_stay_beside_an_engine_and_are_part_of_it(source, store):
    stored = build(source, store, CountingBuilder())
    engine, weights = stored.file.list_paths()
    assert weights == engine.with_name(engine.name + WEIGHTS_SUFFIX)
    assert weights.stat().st_size >= 2 * WIDEN.nbytes > engine.stat().st_size - WIDEN.nbytes
    assert stored.size == engine.stat().st_size + weights.stat().st_size
    model = onnx.load(engine, load_external_data=False)
    places = {entry.value for one in model.graph.initializer for entry in one.external_data}
    assert weights.name in places and f"{weights.name}.part" not in places
    published = read_engine_files(store.folder).require("prompt_mapper")
    assert published.weights == (weights, hash_file(weights))
    states = np.random.default_rng(1).normal(size=(1, 4, 8)).astype(np.float32)
    output = OnnxEngine(published).run({"super_link": states})["prompt_embeds"]
    np.testing.assert_allclose(output[0, 0], states.sum(1)[0], atol=1e-5)


def test_an_engine_with_weights_beside_is_found_again(source, store):
    builder = CountingBuilder()
    first = build(source, store, builder)
    assert build(source, store, builder) == first and builder.builds == 1
    assert store.list_engines() == [first]


def test_damaged_weights_are_refused_and_built_again_in_a_new_file(source, store):
    builder = CountingBuilder()
    stored = build(source, store, builder)
    _, weights = stored.file.list_paths()
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"\1")
    with pytest.raises(EngineError, match=r"\.onnx\.data is damaged or was replaced"):
        OnnxEngine(stored.file)
    # A process that has them mapped would read the new ones in the middle of a graph.
    with weights.open("rb") as mapped:
        again = build(source, store, builder)
        assert builder.builds == 2 and mapped.read() == content[:-1] + b"\1"
    assert weights.read_bytes() == content
    OnnxEngine(again.file)


def test_a_rejected_engine_leaves_no_weights(tmp_path, store):
    with pytest.raises(EngineError, match="too far from"):
        build(write_source(tmp_path / "far", off=0.1), store, CountingBuilder())
    assert list_names(store) == set()


def test_weights_go_with_their_engine(source, store):
    stored = build(source, store, CountingBuilder())
    _, weights = stored.file.list_paths()
    left = weights.with_name(f"prompt_mapper.{'0' * 16}.onnx{WEIGHTS_SUFFIX}")
    left.write_bytes(b"of a build that was interrupted")
    assert store.clean() == [left]
    assert {path.name for path in stored.file.list_paths()} <= list_names(store)
    assert weights in store.clean(everything=True) and list_names(store) == set()
    exported = source / f"prompt_mapper.onnx{WEIGHTS_SUFFIX}"
    assert exported in clean_exported(source) and not exported.exists()


def test_an_engine_of_other_weights_computes_with_them(source, store):
    builder = CountingBuilder()
    first = read_engine_files(source).require("prompt_mapper")
    one = store.build(first, MAPPER, builder, lambda engine: [])
    data = source / f"prompt_mapper.onnx{WEIGHTS_SUFFIX}"
    data.write_bytes((2 * np.frombuffer(data.read_bytes(), np.float32)).tobytes())
    document = json.loads((source / FILE_NAME).read_text())
    document["graphs"]["prompt_mapper"]["weights"]["sha256"] = hash_file(data)
    (source / FILE_NAME).write_text(json.dumps(document))
    second = read_engine_files(source).require("prompt_mapper")
    other = store.build(second, MAPPER, builder, lambda engine: [])
    assert builder.builds == 2 and other.recipe.identity != one.recipe.identity
    states = np.ones((1, 4, 8), np.float32)
    outputs = [
        OnnxEngine(built.file).run({"super_link": states})["prompt_embeds"].max()
        for built in (one, other)
    ]
    assert outputs == [4, 16]


@pytest.mark.parametrize(
    ("name", "least_bytes", "is_copied"),
    [("prompt_mapper", 0, False), ("prompt_mapper", 1 << 28, True), ("language_model", 0, True)],
)
def test_large_weights_are_not_copied_but_those_of_a_language_model(
    source, store, monkeypatch, name, least_bytes, is_copied
):
    stored = build(source, store, CountingBuilder())
    entries = {}

    class Recording(onnxruntime.SessionOptions):
        def add_session_config_entry(self, key, value):
            entries[key] = value
            super().add_session_config_entry(key, value)

    monkeypatch.setattr(onnxruntime, "SessionOptions", Recording)
    monkeypatch.setattr(onnx_engine, "_LEAST_MAPPED_BYTES", least_bytes)
    # A mapper is no language model, which is found out once it is loaded.
    with nullcontext() if name == "prompt_mapper" else pytest.raises(EngineError, match="is not"):
        OnnxEngine(replace(stored.file, name=name))
    assert ("session.disable_prepacking" in entries) != is_copied

"""The identity covers every byte of the weights, is hashed once, and is in results when known."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from vl2_ros.errors import CheckpointError, EngineError
from vl2_ros.export.store_files import describe_embeddings
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.runtime.files import weights_identity
from vl2_ros.runtime.files.engine_files import EMBEDDINGS, FILE_NAME, read_engine_files
from vl2_ros.runtime.files.weights_identity import (
    PENDING,
    UNKNOWN,
    HashCache,
    WeightsIdentity,
    identify_weights,
)

#: Long enough that a sample of 4 MB from each end would miss the middle.
ROWS, WIDTH, TENSORS = 1 << 10, 1 << 10, 6


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vl2_ros" / "hashes.json"


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "weights"
    made.mkdir()
    (made / "config.json").write_text("{}")
    write_weights(made, zeroed=())
    return made


def write_weights(folder: Path, zeroed: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    tensors = {f"layer{i}": generator.random((ROWS, WIDTH), np.float32) for i in range(TENSORS)}
    for index in zeroed:
        tensors[f"layer{index}"][:] = 0
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")


def age(path: Path, seconds: float = 60) -> None:
    """Make a file look as if it had been written long ago; newer ones are not kept in the cache."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def count_reads(monkeypatch) -> list[str]:
    """Note the names of weight files that are opened."""
    opened: list[str] = []
    plain = Path.open

    def watch(self, *arguments, **options):
        if self.suffix in (".safetensors", ".bin"):
            opened.append(self.name)
        return plain(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", watch)
    return opened


def test_zeroed_tensors_in_the_middle_are_another_checkpoint(folder):
    before = identify_weights(folder)
    write_weights(folder, zeroed=(2, 3))
    assert identify_weights(folder) != before


def test_each_file_that_engines_are_made_from_counts(folder):
    known = {identify_weights(folder)}
    for name, text in (
        ("config.json", '{"a": 1}'),
        ("model.safetensors.index.json", '{"weight_map": {}}'),
        ("processing.json", '{"max_tiles": 2, "system": "one"}'),
        ("processing.json", '{"max_tiles": 3, "system": "one"}'),
    ):
        (folder / name).write_text(text)
        known.add(identify_weights(folder))
    assert len(known) == 5
    # Sentences are read anew at every start; no graph depends on them.
    (folder / "processing.json").write_text('{"max_tiles": 3, "system": "another"}')
    assert identify_weights(folder) in known


def test_a_file_is_read_once_until_it_changes(folder, monkeypatch):
    age(folder / "model.safetensors")
    opened = count_reads(monkeypatch)
    first = identify_weights(folder)
    assert opened == ["model.safetensors"]
    assert identify_weights(folder) == first
    assert opened == ["model.safetensors"]
    age(folder / "model.safetensors")  # another time: its contents are unknown
    assert identify_weights(folder) == first
    assert opened == ["model.safetensors"] * 2


def test_a_file_that_was_just_written_is_not_remembered(folder, monkeypatch):
    identify_weights(folder)
    opened = count_reads(monkeypatch)
    identify_weights(folder)
    assert opened == ["model.safetensors"]


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b"[" * 5000, b'{"format": 1, "files": 3}', b'{"format": 9, "files": {}}'],
)
def test_a_damaged_cache_is_made_anew(folder, cache, content):
    age(folder / "model.safetensors")
    before = identify_weights(folder)
    cache.write_bytes(content)
    assert identify_weights(folder) == before
    assert str(folder / "model.safetensors") in json.loads(cache.read_text())["files"]


def test_entries_of_another_form_are_passed_over(folder, cache):
    age(folder / "model.safetensors")
    before = identify_weights(folder)
    document = json.loads(cache.read_text())
    for entry in (None, [], ["x", "y"], {"sha256": "y"}, [[1, 2], 3]):
        document["files"] = dict.fromkeys(document["files"], entry)
        cache.write_text(json.dumps(document))
        assert identify_weights(folder) == before


def test_a_cache_that_cannot_be_written_is_done_without(folder, cache):
    age(folder / "model.safetensors")
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file where the folder should be")
    assert identify_weights(folder) == identify_weights(folder)


def test_weights_that_cannot_be_read_are_reported(folder):
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"cannot read .*config\.json.*copy the checkpoint"):
        identify_weights(folder)


def test_small_weights_are_known_at_once_and_large_ones_beside(folder, monkeypatch):
    full = identify_weights(folder)
    assert WeightsIdentity(folder)() == full
    go_on = threading.Event()
    plain = HashCache.hash_file

    def wait_first(self, path):
        assert go_on.wait(60)
        return plain(self, path)

    monkeypatch.setattr(HashCache, "hash_file", wait_first)
    large = WeightsIdentity(folder, max_waited_bytes=1000)
    assert large() == PENDING
    large.start()
    large.start()
    assert large() == PENDING
    go_on.set()
    assert large.wait() == large() == full


def test_known_hashes_of_large_weights_need_no_waiting(folder):
    for name in ("config.json", "model.safetensors"):
        age(folder / name)
    full = identify_weights(folder)
    assert WeightsIdentity(folder, max_waited_bytes=0)() == full


def test_a_hash_that_fails_beside_is_unknown_and_an_error_for_who_waits(folder):
    large = WeightsIdentity(folder, max_waited_bytes=1000)
    (folder / "config.json").unlink()
    large.start()
    with pytest.raises(CheckpointError):
        large.wait()
    assert large() == UNKNOWN


@pytest.fixture
def embedded(tmp_path) -> Path:
    """A copy of the embedded model with its engines."""
    return Path(shutil.copytree(EMBEDDED_WEIGHTS, tmp_path / "embedded"))


def test_results_bear_the_full_identity_as_soon_as_it_is_there(embedded, cache, monkeypatch):
    go_on = threading.Event()
    plain = HashCache.hash_file

    def wait_first(self, path):
        assert go_on.wait(60)
        return plain(self, path)

    full = identify_weights(embedded)
    cache.unlink()
    monkeypatch.setattr(HashCache, "hash_file", wait_first)
    monkeypatch.setattr(
        weights_identity.WeightsIdentity.__init__, "__kwdefaults__", {"max_waited_bytes": 1000}
    )
    pipeline = load_pipeline(LoadOptions(embedded, "cpu", "torch"))
    assert pipeline.info.identity == PENDING
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "vl2 identity":
            thread.join()
    assert pipeline.info.identity == full


def test_the_engines_that_come_along_belong_to_their_checkpoint(embedded):
    files = read_engine_files(embedded)
    files.check_checkpoint(identify_weights(embedded))
    files.check_embeddings()
    for file in files.graphs.values():
        file.check()


def test_changed_embeddings_do_not_answer(embedded, tmp_path):
    """Of engines that hold their weights: embeddings are a file of their own then."""
    engines = tmp_path / "own"
    engines.mkdir()
    files = read_engine_files(embedded)
    tables = safetensors.numpy.load_file(embedded / "model.safetensors")
    tables = {name: tables[one] for name, one in files.embeddings_tables.items()}
    safetensors.numpy.save_file(tables, engines / EMBEDDINGS)
    document = json.loads((embedded / FILE_NAME).read_text())
    document["embeddings"] = describe_embeddings(engines)
    document.pop("forms", None)
    for name in (*(one.path.name for one in files.graphs.values()), "model.safetensors"):
        (engines / name).symlink_to(embedded / name)
    (engines / FILE_NAME).write_text(json.dumps(document))
    options = LoadOptions(embedded, "cpu", "onnxruntime", engines, allow_fallback=False)
    load_pipeline(options)
    path = engines / EMBEDDINGS
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(EngineError, match="embeddings.*is damaged or was replaced"):
        load_pipeline(options)


def test_changed_weights_are_noticed_by_each_engine(embedded):
    path = embedded / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    files = read_engine_files(embedded)
    for file in files.graphs.values():
        with pytest.raises(EngineError, match="model.safetensors is damaged or was replaced"):
            file.check()
    with pytest.raises(EngineError, match="model.safetensors is damaged or was replaced"):
        files.check_embeddings()


def test_embeddings_without_a_hash_do_not_answer(embedded):
    path = embedded / FILE_NAME
    document = json.loads(path.read_text())
    del document["embeddings"]
    path.write_text(json.dumps(document))
    with pytest.raises(EngineError, match="no sha256 of embeddings"):
        load_pipeline(LoadOptions(embedded, "cpu", "onnxruntime", allow_fallback=False))


def test_engines_of_weights_with_zeroed_tensors_do_not_answer(embedded):
    """As on a robot whose weights were replaced and whose engines were not."""
    path = embedded / "model.safetensors"
    tensors = dict(safetensors.numpy.load_file(path))
    middle = [name for name in tensors if name.startswith("llm.model.layers.2.mlp")]
    assert middle
    for name in middle:
        tensors[name] = np.zeros_like(tensors[name])
    safetensors.numpy.save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(EngineError, match="were made from checkpoint"):
        load_pipeline(LoadOptions(embedded, "cpu", "onnxruntime", allow_fallback=False))

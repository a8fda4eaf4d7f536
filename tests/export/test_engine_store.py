"""A folder of engines, with the real builder of ONNX Runtime."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.export.engine_folders import (
    MAPPER,
    PROFILE,
    CountingBuilder,
    export_mapper,
    find_mapper,
)
from vl2_ros.errors import EngineError
from vl2_ros.export.build_engines import build_engines, compare_with_torch, verify_engine
from vl2_ros.export.engine_identity import EngineRecipe
from vl2_ros.export.engine_store import EngineStore
from vl2_ros.export.store_files import hash_file
from vl2_ros.runtime.files.engine_files import EMBEDDINGS, FILE_NAME, read_engine_files
from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = EngineRecipe(
    "denoiser",
    "a" * 64,
    "tensorrt 10.3.0",
    "NVIDIA Orin sm_87",
    "float16",
    ({"images": (1, 2, 3)},),
    {"workspace_bytes": 1 << 30, "optimization_level": 3},
)


@pytest.fixture
def source(tmp_path) -> Path:
    return export_mapper(tmp_path / "onnx")


@pytest.fixture
def store(tmp_path) -> EngineStore:
    return EngineStore(tmp_path / "engines")


def list_names(store: EngineStore) -> set[str]:
    return {path.name for path in store.folder.iterdir()} - {"engines.lock"}


def test_other_weights_beside_the_same_graph_are_another_engine(source, store, tmp_path):
    builder, alone = CountingBuilder(), find_mapper(source)
    files = [alone]
    for name in ("first", "second"):
        weights = tmp_path / name
        weights.write_bytes(name.encode())
        files.append(replace(alone, weights=(weights, hash_file(weights))))
    stored = [store.build(one, MAPPER, builder, lambda engine: []) for one in (*files, *files)]
    assert builder.builds == 3
    assert len({one.recipe.identity for one in stored}) == 3


def start_build(source: Path, store: EngineStore) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.export.build_in_process", source, store.folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"graph": "vae_decoder"},
        {"onnx_sha256": "b" * 64},
        {"runtime": "tensorrt 10.4.0"},
        {"device": "NVIDIA Orin sm_89"},
        {"device": "NVIDIA Thor sm_87"},
        {"precision": "float32"},
        {"shapes": ({"images": (1, 1, 3)},)},
        {"shapes": ({"images": (1, 2, 3)}, {"images": (1, 2, 3)})},
        {"options": {"workspace_bytes": 1 << 29, "optimization_level": 3}},
        {"options": {"workspace_bytes": 1 << 30, "optimization_level": 4}},
    ],
)
def test_the_identity_changes_with_each_of_its_parts(changes):
    assert replace(RECIPE, **changes).identity != RECIPE.identity
    assert EngineRecipe.from_json(json.loads(json.dumps(RECIPE.to_json()))) == RECIPE


def test_the_identity_does_not_depend_on_the_order_of_options():
    turned = dict(reversed(RECIPE.options.items()))
    assert replace(RECIPE, options=turned).identity == RECIPE.identity


def test_built_engines_load_and_compute_what_torch_did(source, store):
    report = build_engines(PROFILE, source, store, CountingBuilder())
    assert report.built == ("prompt_mapper",) and report.skipped == ()
    files = read_engine_files(store.folder)
    assert files.checkpoint == "checkpoint-a"
    assert files.embeddings.read_bytes() == b"tables of checkpoint-a"
    engine = OnnxEngine(files.require("prompt_mapper"))
    misses = compare_with_torch(engine, source=find_mapper(source))
    assert [miss.output for miss in misses] == ["prompt_embeds", "no_words"]
    assert max(miss.difference for miss in misses) < 1e-6


def test_an_engine_is_built_again_only_for_another_recipe(source, store):
    builder = CountingBuilder()
    build_engines(PROFILE, source, store, builder)
    before = list_names(store)
    times = {path.name: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    report = build_engines(PROFILE, source, store, builder)
    assert builder.builds == 1 and report.built == ()
    assert list_names(store) == before
    del times["engines.lock"]
    assert all((store.folder / name).stat().st_mtime_ns == at for name, at in times.items())
    other = CountingBuilder(runtime="onnxruntime 1.0.1")
    assert build_engines(PROFILE, source, store, other).built == ("prompt_mapper",)


def test_a_damaged_engine_is_built_again(source, store):
    builder = CountingBuilder()
    (stored,) = build_engines(PROFILE, source, store, builder).engines
    stored.file.path.write_bytes(stored.file.path.read_bytes()[:-1])
    (again,) = build_engines(PROFILE, source, store, builder).engines
    assert builder.builds == 2 and again.file.sha256 == stored.file.sha256
    again.file.check()


def test_an_engine_that_was_never_accepted_is_never_used(source, store):
    (stored,) = build_engines(PROFILE, source, store, CountingBuilder()).engines
    (store.folder / f"{stored.recipe.stem}.json").unlink()
    assert store.find(stored.recipe) is None and store.list_engines() == []
    builder = CountingBuilder()
    build_engines(PROFILE, source, store, builder)
    assert builder.builds == 1


def test_a_process_killed_while_it_builds_leaves_nothing_that_is_loaded(source, store):
    process = start_build(source, store)
    assert process.stdout.readline() == "building\n"
    (store.folder / "prompt_mapper.0123456789abcdef.onnx.part").write_bytes(b"half")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert store.published() == {} and store.list_engines() == []
    # Its lock went with it.
    waits = []
    store = EngineStore(store.folder, on_wait=waits.append)
    build_engines(PROFILE, source, store, CountingBuilder())
    assert waits == []
    assert [path.suffix for path in store.clean()] == [".part"]


def test_two_processes_that_build_at_once_build_once(source, store):
    first = start_build(source, store)
    assert first.stdout.readline() == "building\n"
    second = start_build(source, store)
    assert second.stdout.readline() == "waiting\n"
    ends = [process.communicate("go\n")[0].split() for process in (first, second)]
    assert [words[:-1] for words in ends] == [["builds=1"], ["builds=0"]]
    assert ends[0][-1] == ends[1][-1]


def test_waiting_for_another_builder_ends(source, store):
    process = start_build(source, store)
    assert process.stdout.readline() == "building\n"
    waits = []
    impatient = EngineStore(store.folder, lock_timeout_s=0.8, on_wait=waits.append)
    with pytest.raises(EngineError, match=r"more than 0\.8 s; wait for it or end it"):
        build_engines(PROFILE, source, impatient, CountingBuilder())
    assert len(waits) == 1 and "another process builds" in waits[0]
    process.kill()
    process.communicate()


def test_an_engine_too_far_from_torch_is_not_taken_and_the_old_one_stays(source, store):
    build_engines(PROFILE, source, store, CountingBuilder())
    before = {name: (store.folder / name).read_bytes() for name in list_names(store)}
    export_mapper(source, off=0.5)
    other = CountingBuilder(runtime="onnxruntime 1.0.1")
    with pytest.raises(
        EngineError, match=r"prompt_embeds by 0\.\d+ of its largest value, allowed 0\.0001.*stays"
    ):
        build_engines(PROFILE, source, store, other)
    assert {name: (store.folder / name).read_bytes() for name in list_names(store)} == before


def test_what_is_not_a_number_is_too_far_from_torch(source, store):
    path = source / "prompt_mapper.onnx"
    model = onnx.load(path)
    model.graph.node[3].input[0] = "hole"
    nan = onnx.helper.make_tensor("nan", onnx.TensorProto.FLOAT, [], [np.nan])
    model.graph.initializer.append(nan)
    model.graph.node.insert(3, onnx.helper.make_node("Add", ["sum", "nan"], ["hole"]))
    onnx.save(model, path)
    from tests.runtime.onnxruntime_backend.onnx_files import list_engines

    list_engines(source, {"prompt_mapper": path})
    with pytest.raises(EngineError, match="prompt_embeds by inf of its largest value"):
        build_engines(PROFILE, source, store, CountingBuilder())
    assert store.published() == {}


def test_engines_of_another_checkpoint_replace_the_old_ones_all_at_once(source, store, tmp_path):
    build_engines(PROFILE, source, store, CountingBuilder())
    other = export_mapper(tmp_path / "other", checkpoint="checkpoint-b", off=0.5)
    with pytest.raises(EngineError, match="too far from torch"):
        build_engines(PROFILE, other, store, CountingBuilder(runtime="onnxruntime 1.0.2"))
    assert store.checkpoint == "checkpoint-a"
    export_mapper(tmp_path / "other", checkpoint="checkpoint-b")
    build_engines(PROFILE, other, store, CountingBuilder(runtime="onnxruntime 1.0.2"))
    assert store.checkpoint == "checkpoint-b"
    assert (store.folder / EMBEDDINGS).read_bytes() == b"tables of checkpoint-b"


def test_a_folder_that_cannot_be_made_or_written_says_what_to_do(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="cannot write engines to .*file.*--engines"):
        build_engines(PROFILE, source, EngineStore(tmp_path / "file" / "x"), CountingBuilder())
    # No user may write there, root included.
    with pytest.raises(EngineError, match="cannot write engines to /proc.*--engines"):
        build_engines(PROFILE, source, EngineStore(Path("/proc/engines")), CountingBuilder())


def test_engines_that_are_there_need_no_writing(source, store):
    build_engines(PROFILE, source, store, CountingBuilder())
    # Neither a lock nor an index could be written in their places now.
    (store.folder / "engines.lock").unlink()
    (store.folder / "engines.lock").mkdir()
    assert build_engines(PROFILE, source, store, CountingBuilder()).built == ()


def test_a_full_disk_leaves_no_half_engine(source, store):
    store.folder.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(EngineError, match="space"):
            build_engines(PROFILE, source, store, CountingBuilder())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list_names(store) == set() and store.published() == {}


def test_a_truncated_onnx_file_is_refused_before_it_is_built(source, store):
    path = source / "prompt_mapper.onnx"
    path.write_bytes(path.read_bytes()[:-40])
    builder = CountingBuilder()
    with pytest.raises(EngineError, match=r"prompt_mapper\.onnx is damaged.*export"):
        build_engines(PROFILE, source, store, builder)
    assert builder.builds == 0


def test_an_onnx_file_of_another_model_is_refused(source, store):
    from tests.runtime.onnxruntime_backend.onnx_files import list_engines, write_mapper

    path = write_mapper(source / "prompt_mapper.onnx", output="noise")
    list_engines(source, {"prompt_mapper": path})
    with pytest.raises(EngineError, match="is not the graph prompt_mapper"):
        build_engines(PROFILE, source, store, CountingBuilder())
    assert list_names(store) == set()


def test_a_graph_exported_at_another_precision_is_not_built(source, store):
    half = replace(PROFILE, graphs={"prompt_mapper": replace(MAPPER, precision="float16")})
    with pytest.raises(EngineError, match="exported in float32, the profile testing wants float16"):
        build_engines(half, source, store, CountingBuilder())


def test_missing_stored_inputs_are_reported(source, store):
    sample = source / "prompt_mapper.sample0.npz"
    sample.write_bytes(sample.read_bytes()[:100])
    with pytest.raises(EngineError, match="cannot read the stored inputs"):
        build_engines(PROFILE, source, store, CountingBuilder())
    sample.unlink()
    with pytest.raises(EngineError, match="no stored inputs beside"):
        build_engines(PROFILE, source, store, CountingBuilder())
    assert list_names(store) == set()


def test_an_engine_of_another_machine_fails_its_check(source, store):
    build_engines(PROFILE, source, store, CountingBuilder())
    (file,) = store.published().values()
    for changes, problem in (
        ({"built_for": "NVIDIA Orin sm_87"}, "for NVIDIA Orin sm_87, here is onnxruntime"),
        ({"built_with": "onnxruntime 0.9.0"}, "built with onnxruntime 0.9.0"),
        ({"built_with": "tensorrt 10.3.0"}, "built with tensorrt 10.3.0"),
    ):
        other = replace(file, **changes)
        assert problem in verify_engine(other, CountingBuilder(), source).problem
        with pytest.raises(EngineError, match="build it here with `vl2 engines build`"):
            OnnxEngine(other)


def test_a_check_finds_changed_bytes_and_changed_numbers(source, store):
    build_engines(PROFILE, source, store, CountingBuilder())
    (file,) = store.published().values()
    good = verify_engine(file, CountingBuilder(), source)
    assert good.problem == "" and good.misses[0].difference < 1e-6
    export_mapper(source, off=0.5)
    assert (
        "too far from torch: prompt_embeds"
        in verify_engine(file, CountingBuilder(), source).problem
    )
    file.path.write_bytes(b"x")
    assert "damaged" in verify_engine(file, CountingBuilder(), source).problem


def test_cleaning_takes_what_is_not_listed_and_nothing_else(source, store):
    build_engines(PROFILE, source, store, CountingBuilder(runtime="onnxruntime 1.0.2"))
    (old,) = store.published().values()
    build_engines(PROFILE, source, store, CountingBuilder())
    (new,) = store.published().values()
    (store.folder / "notes.json").write_text("{}")
    gone = {path.name for path in store.clean()}
    assert gone == {old.path.name, f"{old.path.stem}.json"}
    assert new.path.name in list_names(store)
    store.clean(everything=True)
    assert list_names(store) == {"notes.json"}
    assert not (store.folder / FILE_NAME).exists()

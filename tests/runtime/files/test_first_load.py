"""Engines that are verified where they are loaded first, with engines that miss on purpose."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.export.engine_folders import export_mapper, find_mapper
from vl2_ros.errors import EngineError
from vl2_ros.export.store_files import hash_file
from vl2_ros.runtime.files.answer_gate import script_path
from vl2_ros.runtime.files.engine_files import EngineFile
from vl2_ros.runtime.files.first_load import FirstLoad, find_verified, record_path
from vl2_ros.runtime.files.parity_gate import find_samples
from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine

HERE = "tensorrt-rtx 1.7.1 on Testing GPU sm_86"


@pytest.fixture
def file(tmp_path) -> EngineFile:
    """An engine that has its stored calls beside it."""
    return with_samples(find_mapper(export_mapper(tmp_path)))


def with_samples(file: EngineFile) -> EngineFile:
    return replace(file, samples=tuple((p, hash_file(p)) for p in find_samples(file.path)))


class Off(OnnxEngine):
    """A GPU whose results are off by a share of their largest value."""

    def run(self, inputs):
        outputs = super().run(inputs)
        array = np.array(outputs["prompt_embeds"])
        array[0, 0, 0] += 0.5 * np.abs(array).max()
        return {**outputs, "prompt_embeds": array}


class Counted:
    """Loads with a class, and counts."""

    def __init__(self, kind: type[OnnxEngine] = OnnxEngine) -> None:
        self.kind, self.runs = kind, 0

    def __call__(self, file: EngineFile) -> OnnxEngine:
        engine, outer = self.kind(file), self
        run = engine.run

        def counted(inputs):
            outer.runs += 1
            return run(inputs)

        engine.run = counted
        return engine


def test_an_engine_is_verified_once_on_a_machine(file):
    load = Counted()
    for _ in range(3):
        FirstLoad(load, HERE)(file)
    assert load.runs == 1
    FirstLoad(load, HERE.replace("86", "89"))(file)
    assert load.runs == 2
    assert list(find_verified(file)) == [HERE, HERE.replace("86", "89")]
    entry = find_verified(file)[HERE]
    assert entry["misses"][0]["output"] == "prompt_embeds" and entry["verified_at"] > 1.7e9


def test_an_engine_without_calls_of_its_own_passed_when_it_was_built(file):
    load = Counted()
    FirstLoad(load, HERE)(replace(file, samples=()))
    assert load.runs == 0 and not record_path(file).exists()


def test_an_engine_that_is_off_is_refused_at_every_load(file):
    load = Counted(Off)
    for runs in (1, 2):
        with pytest.raises(
            EngineError,
            match=r"too far from torch on tensorrt-rtx .*prompt_embeds by 0\.5.*allowed 0\.0001;.*"
            "wider precision in the profile, or use the backend onnxruntime",
        ):
            FirstLoad(load, HERE)(file)
        assert load.runs == runs
    assert not record_path(file).exists()


def test_unverified_engines_answer_only_where_the_user_says_so(file, caplog):
    load = Counted(Off)
    FirstLoad(load, HERE, is_required=False)(file)
    assert load.runs == 0 and not record_path(file).exists()
    (record,) = caplog.records
    assert record.levelname == "WARNING" and "compiled, not verified" in record.message
    assert "verify is off" in record.message
    caplog.clear()
    FirstLoad(Counted(), HERE)(file)
    FirstLoad(load, HERE, is_required=False)(file)
    assert [one.levelname for one in caplog.records if one.levelname == "WARNING"] == []


def test_progress_names_the_graph_and_the_machine(file):
    reported = []
    FirstLoad(OnnxEngine, HERE, progress=lambda *one: reported.append(one))(file)
    what = f"verifying prompt_mapper on {HERE}"
    assert reported == [(what, 0.0), (what, 1.0)]


def test_a_folder_that_cannot_be_written_is_verified_at_each_start_and_said_once(
    file, monkeypatch, caplog
):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    load = Counted()
    # Permissions do not stop root, who may run the tests.
    monkeypatch.setattr(Path, "write_text", refuse)
    for starts in (1, 2):
        caplog.clear()
        first = FirstLoad(load, HERE)
        first(file), first(file)
        assert load.runs == 2 * starts
        (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
        assert "Read-only file system" in record.message and "at each start" in record.message
    assert not record_path(file).exists()
    assert list(file.path.parent.glob("*verified*")) == []


def test_a_record_of_other_bytes_or_a_damaged_one_counts_as_none(file):
    load = Counted()
    FirstLoad(load, HERE)(file)
    document = json.loads(record_path(file).read_text())
    for text in (json.dumps(document | {"engine": "0" * 64}), "{", "[]", '{"machines": 3}'):
        record_path(file).write_text(text)
        assert find_verified(file) == {}
        load.runs = 0
        FirstLoad(load, HERE)(file)
        assert load.runs == 1 and list(find_verified(file)) == [HERE]


@pytest.mark.parametrize("change", [bytes, None])
def test_a_stored_call_that_is_damaged_or_gone_is_named_before_anything_is_loaded(file, change):
    ((path, _),) = file.samples
    path.unlink()
    if change:
        path.write_bytes(b"x")
    load = Counted()
    with pytest.raises(EngineError, match=r"sample0\.npz.*export the engines again"):
        FirstLoad(load, HERE)(file)
    assert load.runs == 0


def test_an_engine_with_stored_answers_alone_cannot_be_verified(file):
    answers = script_path(file.path)
    answers.write_bytes(b"answers")
    lacking = replace(file, samples=((answers, hash_file(answers)),))
    with pytest.raises(EngineError, match=r"no stored calls to be verified with.*again"):
        FirstLoad(OnnxEngine, HERE)(lacking)

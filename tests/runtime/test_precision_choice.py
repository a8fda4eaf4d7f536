"""Which precision answers: by the option, the processor, and the engines that are there."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from vl2_ros.console.info_command import describe_engines
from vl2_ros.errors import EngineError
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.runtime import backend_choice
from vl2_ros.runtime.files.engine_files import FILE_NAME, read_engine_files

FILES = read_engine_files(EMBEDDED_WEIGHTS)


@pytest.fixture(params=[True, False], ids=["with_units", "without_units"])
def units(request, monkeypatch) -> bool:
    monkeypatch.setattr(backend_choice, "multiplies_bytes", lambda: request.param)
    return bool(request.param)


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch) -> Path:
    """A copy that may be changed, with units for int8."""
    monkeypatch.setattr(backend_choice, "multiplies_bytes", lambda: True)
    folder = tmp_path / "embedded"
    shutil.copytree(EMBEDDED_WEIGHTS, folder)
    return folder


def load(weights: Path | str = "", **options) -> Pipeline:
    return load_pipeline(LoadOptions(weights, "cpu", **options))


def precision_of(pipeline: Pipeline) -> str:
    """Return the precision of the graphs that are loaded, by their hashes."""
    used = {one.info.identity for one in pipeline.engines.graphs}
    for precision in FILES.precisions:
        known = {one.sha256[:16] for one in FILES.in_precision(precision).graphs.values()}
        if used <= known:
            return precision
    raise AssertionError(f"{used} are no engines that ship")


def test_int8_forms_ship_for_every_graph_within_11_megabytes():
    forms = FILES.forms["int8"]
    assert forms.keys() == FILES.graphs.keys()
    for form in forms.values():
        form.check()
    assert sum(form.path.stat().st_size for form in forms.values()) <= 11e6
    agreement = json.loads((EMBEDDED_WEIGHTS / FILE_NAME).read_text())["agreement"]["int8"]
    assert agreement["commands"] - agreement["same_routes"] <= 0.005 * agreement["commands"]


def test_auto_is_int8_where_the_processor_has_units(units):
    assert precision_of(load()) == ("int8" if units else "float32")
    assert precision_of(load(backend="onnxruntime")) == ("int8" if units else "float32")
    described = describe_engines(EMBEDDED_WEIGHTS)
    assert described["engine_precisions"] == ["float32", "int8"]
    assert described["auto_precision_on_cpu"] == ("int8" if units else "float32")


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_precision_that_is_named_answers(units, precision, caplog):
    with caplog.at_level(logging.WARNING):
        assert precision_of(load(precision=precision, allow_fallback=False)) == precision
    assert ("no units for int8" in caplog.text) == (precision == "int8" and not units)


def test_changed_int8_is_refused_and_float32_answers(embedded, caplog):
    path = embedded / "language_model.int8.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for options in ({}, {"precision": "int8"}):
        with pytest.raises(EngineError, match=r"language_model.int8.onnx is damaged or was repl"):
            load(embedded, allow_fallback=False, **options)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert precision_of(load(embedded, **options)) == "float32"
        assert "onnxruntime answers in place of int8 on onnxruntime" in caplog.text
    caplog.clear()
    assert precision_of(load(embedded, precision="float32", allow_fallback=False)) == "float32"
    assert not caplog.text


def test_int8_of_a_checkpoint_without_it_is_an_error(embedded):
    document = json.loads((embedded / FILE_NAME).read_text())
    del document["forms"]
    (embedded / FILE_NAME).write_text(json.dumps(document))
    assert precision_of(load(embedded)) == "float32"
    with pytest.raises(EngineError, match="of precision float32, not int8; choose one of these"):
        load(embedded, precision="int8", allow_fallback=False)
    with pytest.raises(EngineError, match="of precision float32, not int8; choose one of these"):
        load(embedded, precision="int8", engines=embedded, allow_fallback=False)


def test_float32_is_torch_where_the_engines_have_another_precision(embedded):
    """As after `vl2 engines build --profile cpu-int8`: the engines have int8 alone."""
    document = json.loads((embedded / FILE_NAME).read_text())
    document["graphs"] = document.pop("forms")["int8"]
    (embedded / FILE_NAME).write_text(json.dumps(document))
    assert precision_of(load(embedded)) == "int8"
    assert load(embedded, precision="float32").info.backend == "torch"

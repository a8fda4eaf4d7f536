"""Whatever stands in an index file, a source counts it or raises an error of its own."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.small_sets import write_sets
from vl2_ros.datasets.checking import check_source
from vl2_ros.datasets.sources.source_table import SOURCE_KINDS, guess_kind, read_source
from vl2_ros.errors import VL2Error

ODD = (None, -1, 0, 1e308, 10**400, "x", "", "[DET]<region>", [], [[]], {}, {"size": [1, 1]}, True)
#: Those that have an index in JSON.
KINDS = [kind for kind in SOURCE_KINDS if kind not in ("simulator", "household", "label_images")]
TRIES = 60


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> dict:
    return write_sets(tmp_path_factory.mktemp("sets"))


def list_places(value, path=()) -> list[tuple]:
    """List the ways to every value inside of a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, inner in items:
        found.append((*path, key))
        if isinstance(inner, dict | list):
            found += list_places(inner, (*path, key))
    return found


def spoil(document, rng: np.random.Generator):
    """Return a copy with some values replaced or removed."""
    spoilt = copy.deepcopy(document)
    for _ in range(int(rng.integers(1, 4))):
        places = list_places(spoilt)
        *way, last = places[int(rng.integers(len(places)))]
        inner = spoilt
        for key in way:
            inner = inner[key]
        if rng.random() < 0.3:
            del inner[last]
        else:
            inner[last] = ODD[int(rng.integers(len(ODD)))]
        if not list_places(spoilt):
            break
    return spoilt


def read_document(path: Path):
    text = path.read_text()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text)


@pytest.mark.parametrize("kind", KINDS)
def test_spoilt_documents_are_counted_or_refused(sets, kind, tmp_path):
    source_path = Path(sets[kind]["annotations"])
    document, rng = read_document(source_path), np.random.default_rng(len(kind))
    path, outcomes = tmp_path / "index.json", set()
    settings = {
        "kind": kind,
        "annotations": str(path),
        "images": str(source_path.parent / "images"),
    }
    for _ in range(TRIES):
        path.write_text(json.dumps(spoil(document, rng)))
        try:
            guess_kind(path)
            source = read_source(settings, Path())
            check_source(source, examples=0)
            outcomes.add(bool(source.report.losses))
        except VL2Error as error:
            assert str(error)
    assert True in outcomes


@pytest.mark.parametrize("kind", KINDS)
def test_spoilt_bytes_are_counted_or_refused(sets, kind, tmp_path):
    source_path = Path(sets[kind]["annotations"])
    content, rng = source_path.read_bytes(), np.random.default_rng(len(kind))
    path = tmp_path / f"index{source_path.suffix}"
    settings = {
        "kind": kind,
        "annotations": str(path),
        "images": str(source_path.parent / "images"),
    }
    refused = 0
    for _ in range(TRIES):
        spoilt = bytearray(content[: int(rng.integers(1, len(content) + 1))])
        for place in rng.integers(len(spoilt), size=2).tolist():
            spoilt[place] = int(rng.integers(256))
        path.write_bytes(spoilt)
        try:
            source = read_source(settings, Path())
            check_source(source, examples=0)
            refused += bool(source.report.losses)
        except VL2Error as error:
            assert str(error)
            refused += 1
    assert refused > TRIES // 2

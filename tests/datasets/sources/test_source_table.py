from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from tests.datasets.small_sets import make_coco, write_json
from vl2_ros.datasets.sources.labelled_source import SourceOptions
from vl2_ros.datasets.sources.source_table import SOURCE_KINDS, guess_kind, open_source
from vl2_ros.errors import ConfigError, InputError


@pytest.fixture
def index(tmp_path):
    return write_json(tmp_path / "index.json", make_coco(tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "kind must be one of coco_instances"),
        ({"kind": "coco"}, "kind must be one of"),
        ({"kind": ["chat"]}, "kind must be one of"),
        ({"kind": "chat"}, "chat needs annotations"),
        ({"kind": "coco_instances", "annotation": "index.json"}, "did you mean annotations"),
        ({"kind": "coco_instances", "annotations": 3}, "must be a path"),
        ({"kind": "coco_instances", "annotations": "index.json", "masks": "yes"}, "true or false"),
        ({"kind": "coco_instances", "annotations": "index.json", "max_classes": 1.5}, "an int"),
        ({"kind": "interactive", "annotations": "index.json", "marks": ["dot"]}, "marks must be"),
        ({"kind": "region_captions", "annotations": "index.json", "task": "all"}, "task must be"),
        ({"kind": "simulator", "seeds": [3]}, "seeds must be"),
        ({"kind": "coco_keypoints", "annotations": "index.json"}, "no record that can be used"),
    ],
)
def test_wrong_settings_are_named(index, settings, message):
    with pytest.raises(ConfigError, match=message):
        open_source(settings, index.parent)


def test_paths_start_from_the_folder_of_the_recipe(index):
    settings = {"kind": "coco_instances", "annotations": "index.json", "name": "shapes"}
    source = open_source(settings | {"images": None}, index.parent)
    assert source.name == "shapes" and len(source) == 6
    assert len(open_source(settings | {"images": "images"}, index.parent)) == 6


def test_sigmas_must_fit_a_skeleton(index, tmp_path):
    from tests.datasets.small_sets import add_keypoints

    path = write_json(tmp_path / "keypoints.json", add_keypoints(make_coco(tmp_path)))
    settings = {"kind": "coco_keypoints", "annotations": str(path)}
    with pytest.raises(ConfigError, match="one sigma for each keypoint"):
        open_source(settings | {"sigmas": [0.1]}, tmp_path)
    assert open_source(settings | {"sigmas": [0.1, 0.2, 0.3]}, tmp_path)


def test_what_is_no_set_has_no_kind(tmp_path):
    (tmp_path / "other.json").write_text('{"version": 3}')
    (tmp_path / "list.json").write_text("[1, 2]")
    for path in (tmp_path, tmp_path / "other.json", tmp_path / "list.json", tmp_path / "none.json"):
        with pytest.raises(InputError):
            guess_kind(path)


def read_section() -> str:
    page = (Path(__file__).resolve().parents[3] / "docs" / "training.md").read_text()
    (section,) = re.findall(r"## Your own data\n(.*?)\n## ", page, flags=re.S)
    return section


def test_the_page_has_an_example_of_each_kind_with_options_that_exist():
    yaml = pytest.importorskip("yaml")
    examples = [
        yaml.safe_load(text) for text in re.findall(r"`(\{kind: .*?\})` \|", read_section())
    ]
    assert [one["kind"] for one in examples] == list(SOURCE_KINDS)
    for one in examples:
        fields = {item.name for item in dataclasses.fields(SOURCE_KINDS[one["kind"]].options)}
        assert set(one) - {"kind"} <= fields


def test_the_page_names_every_option():
    section = read_section()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|$", section, flags=re.M))
    shared = {item.name for item in dataclasses.fields(SourceOptions)} | {"annotations", "images"}
    for kind, entry in SOURCE_KINDS.items():
        own = {item.name for item in dataclasses.fields(entry.options)} - shared
        assert own == set(re.findall(r"`(\w+)`", rows.get(kind, ""))) & own, kind
    assert all(f"`{name}`" in section for name in shared - {"annotations"})

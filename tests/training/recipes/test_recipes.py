from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from vl2_ros.errors import ConfigError
from vl2_ros.training.objectives import OBJECTIVES
from vl2_ros.training.recipes.reading import (
    FOLDER,
    list_differences,
    list_recipes,
    make_recipe,
    read_recipe,
    write_recipe,
)
from vl2_ros.training.recipes.sections import flatten
from vl2_ros.training.recipes.table import list_rows

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
SMALL = {"objective": "embedded", "steps": 3}


@pytest.mark.parametrize("name", list_recipes())
def test_recipe_of_the_package_reads_and_is_on_the_page(name):
    recipe = read_recipe(name)
    assert recipe.objective in OBJECTIVES
    assert f"\n| `{name}` |" in PAGE


def test_table_of_keys_is_true():
    (table,) = re.findall(r"^\| recipe key \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, flags=re.M)
    found = [tuple(cell.strip() for cell in row[1:-1].split(" | ")) for row in table.splitlines()]
    assert found == [tuple(cell.strip() for cell in row) for row in list_rows()]


def test_recipe_that_was_written_reads_the_same(tmp_path):
    sources = [{"kind": "chat", "path": "a.json", "weight": 2}, {"kind": "simulator"}]
    recipe = make_recipe({**SMALL, "sources": sources, "rates": {"multipliers": ["llm=0.5"]}}, "x")
    write_recipe(recipe, tmp_path / "again.yaml")
    assert read_recipe(str(tmp_path / "again.yaml")) == recipe
    assert recipe.rates.factors() == (("llm", 0.5),)


def test_changes_are_yaml_and_reach_into_sections():
    changes = ["rates.learning_rate=3e-4", "trained=[llm, super_link]", "options.frames=7"]
    recipe = read_recipe("embedded_all", changes)
    assert recipe.rates.learning_rate == 3e-4
    assert recipe.trained == ("llm", "super_link")
    assert recipe.options.frames == 7
    assert recipe.rates.clip_alone == ("detection_decoder",), "the file's others stay"


def test_differences_are_listed_by_key():
    recipe = make_recipe(SMALL, "x")
    other = make_recipe({**SMALL, "batch": 8, "options": {"frames": 3}}, "x")
    assert list_differences(flatten(recipe), recipe) == []
    assert list_differences(flatten(recipe), other) == [
        "batch: 4 before, 8 now",
        "options.frames: 20000 before, 3 now",
    ]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"steps": 3}, "objective must be one of"),
        ({"objective": "embeded", "steps": 3}, "got 'embeded'"),
        ({**SMALL, "batches": 3}, "has no key 'batches'; expected some of objective"),
        ({**SMALL, "batch": 0}, "batch must be at least 1, got 0"),
        ({**SMALL, "batch": "4"}, "batch must be int, got '4'"),
        ({**SMALL, "batch": True}, "batch must be int, got True"),
        ({**SMALL, "precision": "int4"}, "precision must be one of auto, float32"),
        ({**SMALL, "rates": 3}, "rates must be a mapping"),
        ({**SMALL, "rates": {"learning_rate": 0}}, "learning_rate must be above 0"),
        ({**SMALL, "rates": {"learning_rate": float("nan")}}, "learning_rate must be at least"),
        ({**SMALL, "rates": {"multipliers": ["llm"]}}, "PATTERN=FACTOR"),
        ({**SMALL, "rates": {"multipliers": ["llm=-1"]}}, "PATTERN=FACTOR"),
        ({**SMALL, "rates": {"rate": 1}}, "x.rates has no key 'rate'; expected some of learning"),
        ({**SMALL, "trained": "llm"}, "trained must be texts, got 'llm'"),
        ({**SMALL, "trained": []}, "trained must name what is trained"),
        ({**SMALL, "epochs": 2}, "either steps or epochs"),
        ({"objective": "embedded"}, "either steps or epochs"),
        ({**SMALL, "lora": {"rank": 4, "modules": []}}, "modules must name"),
        ({**SMALL, "sources": {}}, "sources must be a list"),
        ({**SMALL, "sources": [3]}, "one of the sources must be an object"),
        ({**SMALL, "sources": [{"path": "a"}]}, "kind of a source must be a text"),
        ({**SMALL, "sources": [{"kind": "chat", "weight": 0}]}, "weight of a source"),
        ({**SMALL, "options": {"hold": 1}}, "x.options has no key 'hold'; expected some of cache"),
        ({**SMALL, "options": {"frames": 0}}, "x.options: frames must be at least 1"),
        ({**SMALL, "options": None}, "x.options must be a mapping"),
    ],
)
def test_bad_recipe_says_what_is_expected(document, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make_recipe(document, "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [("[1, 2]", "must be a mapping of keys"), ("a: [", "is no YAML"), ("", "got None")],
)
def test_file_that_is_no_recipe(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_recipe(str(path))


def test_unknown_recipe_lists_those_that_there_are():
    with pytest.raises(ConfigError, match="no recipe 'stage4'; expected one of embedded_all"):
        read_recipe("stage4")


@pytest.mark.parametrize("change", ["batch", "=3", "steps.more=1"])
def test_change_that_is_none(change):
    with pytest.raises(ConfigError, match="written key=value|no section"):
        read_recipe("embedded_all", ["batch=2", change])


def test_recipe_is_a_value():
    recipe = make_recipe(SMALL, "x")
    assert replace(recipe, seed=1) != recipe and replace(recipe) == recipe
    assert all(path.stem in list_recipes() for path in FOLDER.glob("*.yaml"))

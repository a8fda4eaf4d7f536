"""Find recipes by name or path, read them, and compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from vl2_ros.documents import check_document, read_text, shorten
from vl2_ros.errors import ConfigError
from vl2_ros.training.objectives import OBJECTIVES
from vl2_ros.training.recipes.recipe import Recipe
from vl2_ros.training.recipes.sections import flatten, nest, read_section

#: Recipes that come with the package.
FOLDER = Path(__file__).parent


def list_recipes() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def find_recipe(name: str) -> Path:
    """Return the file of a recipe.

    Args:
        name: of a recipe that comes with the package, or the path of a YAML file.

    Raises:
        ConfigError: if there is neither.
    """
    path = FOLDER / f"{name}.yaml" if name in list_recipes() else Path(name)
    if not path.is_file():
        raise ConfigError(
            f"there is no recipe {shorten(name)}; expected one of {', '.join(list_recipes())}, or "
            "the path of a YAML file"
        )
    return path


def read_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe strictly.

    Args:
        name: see `find_recipe`.
        changes: values in place of the file's, written `key=value`, keys of sections with dots.

    Raises:
        ConfigError: naming the key, what is expected and what came.
    """
    path = find_recipe(name)
    document = _parse(read_text(path, ConfigError), str(path))
    if not isinstance(document, Mapping):
        raise ConfigError(f"{path} must be a mapping of keys, got {shorten(document)}")
    changed = dict(document)
    for change in changes:
        changed = _change(changed, change)
    return make_recipe(changed, path.stem)


def make_recipe(document: Mapping[str, Any], where: str) -> Recipe:
    """Make a recipe of a document, with the options of its objective.

    Args:
        document: keys and values.
        where: name of the document, for messages.

    Raises:
        ConfigError: naming the key, what is expected and what came.
    """
    name = document.get("objective")
    if not isinstance(name, str) or name not in OBJECTIVES:
        raise ConfigError(
            f"{where}: objective must be one of {', '.join(OBJECTIVES)}, got {shorten(name)}"
        )
    given = document.get("options", {})
    options: Any = read_section(OBJECTIVES[name].options, given, f"{where}.options")
    return read_section(Recipe, {**document, "options": options}, where)


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe as YAML that reads as the same recipe."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = StringIO()
    yaml.dump(nest(recipe), text)
    path.write_text(text.getvalue(), encoding="utf-8")


def list_differences(before: Mapping[str, Any], now: Recipe) -> list[str]:
    """Return what differs from the flattened recipe of an interrupted run, a line for each key."""
    after = flatten(now)
    keys = [*after, *(key for key in before if key not in after)]
    return [
        f"{key}: {shorten(before.get(key))} before, {shorten(after.get(key))} now"
        for key in keys
        if before.get(key) != after.get(key)
    ]


def _parse(text: str, where: str) -> Any:
    try:
        document = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ConfigError(f"{where} is no YAML: {' '.join(str(error).split())[:300]}") from error
    check_document(document, where, ConfigError)
    return document


def _change(document: Mapping[str, Any], change: str) -> dict[str, Any]:
    """Return a document with one value put in, which is YAML."""
    key, sign, text = change.partition("=")
    if not (key and sign):
        raise ConfigError(
            f"a change must be written key=value, such as rates.learning_rate=1e-4, got "
            f"{shorten(change)}"
        )
    return _put(document, key.split("."), _parse(text, f"value of {key}"))


def _put(document: Mapping[str, Any], keys: list[str], value: Any) -> dict[str, Any]:
    first, rest = keys[0], keys[1:]
    if not rest:
        return {**document, first: value}
    inner = document.get(first) or {}
    if not isinstance(inner, Mapping):
        raise ConfigError(f"{first} is no section of the recipe, so {'.'.join(keys)} is no key")
    return {**document, first: _put(inner, rest, value)}

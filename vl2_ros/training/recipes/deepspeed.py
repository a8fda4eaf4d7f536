"""Compare a configuration of DeepSpeed with a recipe; no run uses it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vl2_ros.documents import check_int, check_object, read_json_object, shorten
from vl2_ros.errors import ConfigError
from vl2_ros.training.recipes.recipe import Recipe

#: What DeepSpeed takes from the program that uses it.
AUTO = "auto"
#: Sections of DeepSpeed that switch a precision on -> the recipe's name of it.
_PRECISIONS = {"bf16": "bfloat16", "fp16": "float16"}


def check_deepspeed(path: Path, recipe: Recipe) -> None:
    """Check that a configuration of DeepSpeed says the same as a recipe.

    Args:
        path: of the JSON file.
        recipe: of the run.

    Raises:
        ConfigError: if the file cannot be read, or that lists what differs.
    """
    document = read_json_object(path, ConfigError)
    found = _list_conflicts(document, recipe)
    if found:
        listed = "\n".join(f"  {line}" for line in found)
        raise ConfigError(
            f"{path} does not fit the recipe:\n{listed}\nset these to {AUTO!r}, or as the recipe "
            "has them"
        )


def _list_conflicts(document: Mapping[str, Any], recipe: Recipe) -> list[str]:
    wanted = {
        "train_micro_batch_size_per_gpu": recipe.batch,
        "gradient_accumulation_steps": recipe.accumulation,
        "gradient_clipping": recipe.rates.clip_norm,
    }
    conflicts = [
        f"{key}: {shorten(document[key])} there, {value} in the recipe"
        for key, value in wanted.items()
        if document.get(key, AUTO) not in (AUTO, value)
    ]
    zero = check_object("zero_optimization", document.get("zero_optimization", {}))
    check_int("zero_optimization.stage", zero.get("stage", 0), most=3)
    for section, name in _PRECISIONS.items():
        enabled = check_object(section, document.get(section, {})).get("enabled", AUTO)
        if enabled != AUTO and recipe.precision != AUTO and enabled != (recipe.precision == name):
            conflicts.append(
                f"{section}.enabled: {shorten(enabled)} there, {recipe.precision} here"
            )
    return conflicts

"""The keys of recipes as rows of a table, from the notes of their fields."""

from __future__ import annotations

from typing import Any

from vl2_ros.parameter_table import ParameterNote
from vl2_ros.training.objectives import OBJECTIVES
from vl2_ros.training.recipes.recipe import Recipe
from vl2_ros.training.recipes.sections import list_keys


def list_rows() -> list[tuple[str, str, str, str]]:
    """Return key, default, possible values and meaning of everything that a recipe may set."""
    rows = [_write_row(key, *entry) for key, *entry in list_keys(Recipe)]
    choices = ", ".join(OBJECTIVES)
    rows = [
        (key, default, choices if key == "`objective`" else values, text)
        for key, default, values, text in rows
    ]
    for name, row in OBJECTIVES.items():
        rows += [
            _write_row(key, default, note, f" of `{name}`")
            for key, default, note in list_keys(row.options, "options.")
        ]
    return rows


def _write_row(
    key: str, default: Any, note: ParameterNote, suffix: str = ""
) -> tuple[str, str, str, str]:
    bounds = "" if note.least is None else f"{note.least:g} to {note.most:g}"
    values = ", ".join(note.choices) or bounds
    if isinstance(default, bool):
        written = str(default).lower()
    else:
        written = ", ".join(default) if isinstance(default, tuple) else str(default)
    return f"`{key}`{suffix}", written.replace("*", r"\*"), values, note.text.replace("*", r"\*")

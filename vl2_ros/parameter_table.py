"""Tables of parameters: frozen dataclasses whose fields carry a note, and how they are checked.

ROS parameters, command-line options, the parameter file and rows of README are made from them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vl2_ros.documents import shorten
from vl2_ros.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ParameterNote:
    """What a reader of one parameter must know beside its name, type and default.

    Attributes:
        text: one sentence with the unit, without its full stop.
        least: smallest value; None when there is no bound.
        most: largest value.
        choices: the only values; empty when any in the range is valid.
        live: may change while the node is active.
        metavar: stands for the value in the help of the command line; empty: that of its type.
        panel: heading under which the help of the command line lists it; empty: its table's.
    """

    text: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    metavar: str = ""
    panel: str = ""


def parameter(default: Any, text: str, **note: Any) -> Any:
    """Make the field of a parameter; its type is that of its default."""
    return field(default=default, metadata={"note": ParameterNote(text, **note)})


def note_of(name: str, table: type) -> ParameterNote:
    """Return the note of a parameter.

    Args:
        name: of the parameter.
        table: the class whose field it is.

    Raises:
        ConfigError: if there is no such parameter.
    """
    for item in dataclasses.fields(table):
        if item.name == name:
            note: ParameterNote = item.metadata["note"]
            return note
    names = ", ".join(item.name for item in dataclasses.fields(table))
    raise ConfigError(f"there is no parameter {name!r}; expected one of: {names}")


def write_list(values: Sequence[str]) -> list[str]:
    """Return a list as parameter files and command lines can have it; `read_list` reads it.

    None without an element can be written there: it becomes one of an empty text.
    """
    return list(values) or [""]


def read_list(values: Sequence[str]) -> tuple[str, ...]:
    """Return a list as it was before `write_list`; empty texts among others keep their places."""
    return () if list(values) == [""] else tuple(values)


def check_parameters(values: Any) -> None:
    """Check every value of a table against its note.

    Raises:
        ConfigError: naming the parameter, what is expected and what came.
    """
    for item in dataclasses.fields(values):
        check_parameter(item, getattr(values, item.name))


def check_parameter(item: dataclasses.Field, value: Any) -> None:
    """Check the value of one field against its note.

    Raises:
        ConfigError: naming the parameter, what is expected and what came.
    """
    _check_kind(item.name, value, item.default)
    _check_range(item.name, value, item.metadata["note"])


def _check_kind(name: str, value: Any, default: Any) -> None:
    """Check that a value is of the kind of its default; a whole number counts as a number."""
    kinds = (int, float) if isinstance(default, float) else (type(default),)
    fits = isinstance(value, kinds) and isinstance(value, bool) is isinstance(default, bool)
    if isinstance(default, tuple) and fits:
        fits = all(isinstance(one, str) for one in value)
    if not fits:
        wanted = "texts" if isinstance(default, tuple) else type(default).__name__
        raise ConfigError(f"{name} must be {wanted}, got {shorten(value)}")


def _check_range(name: str, value: Any, note: ParameterNote) -> None:
    if note.choices and value not in note.choices:
        raise ConfigError(f"{name} must be one of {', '.join(note.choices)}, got {shorten(value)}")
    if note.least is not None and not value >= note.least:
        raise ConfigError(f"{name} must be at least {note.least:g}, got {shorten(value)}")
    if note.most is not None and not value <= note.most:
        raise ConfigError(f"{name} must be at most {note.most:g}, got {shorten(value)}")

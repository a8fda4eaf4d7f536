"""Read a mapping into a frozen dataclass strictly, by the notes of its fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import Field, field, fields
from typing import Any, TypeVar

from vl2_ros.documents import shorten
from vl2_ros.errors import ConfigError
from vl2_ros.parameter_table import ParameterNote, check_parameter

Section = TypeVar("Section")


def section(kind: type, text: str) -> Any:
    """Make the field of a nested section; without a value it has its defaults."""
    return field(default_factory=kind, metadata={"section": kind, "text": text})


def check_section(values: Any) -> None:
    """Check the fields with notes of a section, and give whole numbers of real fields a point.

    Raises:
        ConfigError: naming the field, what is expected and what came.
    """
    for item in fields(values):
        if "note" not in item.metadata or item.metadata.get("plain"):
            continue
        value = getattr(values, item.name)
        if isinstance(item.default, float) and type(value) is int:
            value = float(value)
        elif isinstance(item.default, tuple) and isinstance(value, list):
            value = tuple(value)
        check_parameter(item, value)
        object.__setattr__(values, item.name, value)


def read_section(kind: type[Section], document: Any, where: str) -> Section:
    """Read one section with those in it.

    Args:
        kind: frozen dataclass whose fields are made by `parameter` or `section`.
        document: what a file has for it.
        where: path of the section, for messages.

    Raises:
        ConfigError: naming the key, what is expected and what came.
    """
    if not isinstance(document, Mapping):
        raise ConfigError(f"{where} must be a mapping of keys, got {shorten(document)}")
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    for key in document:
        if key not in known:
            raise ConfigError(
                f"{where} has no key {shorten(key)}; expected some of {', '.join(known)}"
            )
    values = {key: _read_value(known[key], value, where) for key, value in document.items()}
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _read_value(item: Field, value: Any, where: str) -> Any:
    nested = item.metadata.get("section")
    return value if nested is None else read_section(nested, value, f"{where}.{item.name}")


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return every value of a section under its dotted key, as plain data."""
    flat: dict[str, Any] = {}
    for item in fields(values):
        value, key = getattr(values, item.name), prefix + item.name
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{key}.")
        else:
            flat[key] = list(value) if isinstance(value, tuple) else value
    return flat


def nest(values: Any) -> dict[str, Any]:
    """Return a section as the document that it is read from."""
    document: dict[str, Any] = {}
    for item in fields(values):
        value = getattr(values, item.name)
        if dataclasses.is_dataclass(value):
            document[item.name] = nest(value)
        else:
            document[item.name] = list(value) if isinstance(value, tuple) else value
    return document


def list_keys(kind: type, prefix: str = "") -> Iterator[tuple[str, Any, ParameterNote]]:
    """Yield dotted key, default and note of every field, sections included."""
    for item in fields(kind):
        if nested := item.metadata.get("section"):
            yield from list_keys(nested, f"{prefix}{item.name}.")
        elif note := item.metadata.get("note"):
            yield prefix + item.name, item.default, note

"""Sentence files: what training draws from, one entry a line under [section] headers.

    # A comment has a line of its own.
    [detect]
    find {x} | finding {x}
    look for {x} | looking for {x}

Columns stand between " | ". An entry that stands several times is drawn as often. A column in
double quotes keeps the blanks at its ends. Order counts: a seed draws entries by their number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vl2_ros.documents import read_text
from vl2_ros.errors import ConfigError

SENTENCES_FOLDER = Path(__file__).with_name("sentences")

#: Of one column: the placeholders that it may hold, such as "{x} {p}", or the words it is one of.
Column = str | frozenset[str]

_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Section:
    """The entries of one section, in the order of the file.

    Attributes:
        rows: one tuple of columns an entry.
    """

    rows: tuple[tuple[str, ...], ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """Return the first column."""
        return tuple(row[0] for row in self.rows)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Return the first two columns of a section that has two."""
        return tuple((first, second) for first, second in self.rows)


@dataclass(slots=True)
class _Reader:
    """Where in a file the reading is, and what has been read so far."""

    path: Path
    layouts: Mapping[str, Sequence[Column]]
    number: int = 0
    section: str | None = None
    rows: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)

    def take(self, line: str) -> None:
        self.number += 1
        line = line.strip()
        if line.startswith("["):
            self._open_section(line)
        elif line and not line.startswith("#"):
            self._add_entry(line)

    def error(self, reason: str) -> ConfigError:
        return ConfigError(f"{self.path}, line {self.number}: {reason}")

    def _open_section(self, line: str) -> None:
        name = line[1:-1]
        if not line.endswith("]") or name not in self.layouts:
            raise self.error(f"expected a header of {_headers(self.layouts)}, got {line!r}")
        if name in self.rows:
            raise self.error(f"[{name}] stands there twice; put its entries under one header")
        self.section, self.rows[name] = name, []

    def _add_entry(self, line: str) -> None:
        if self.section is None:
            raise self.error(f"expected a header of {_headers(self.layouts)} before {line!r}")
        layout, columns = self.layouts[self.section], line.split(" | ")
        if len(columns) != len(layout):
            raise self.error(
                f"[{self.section}] has {len(layout)} column(s) with ' | ' between, "
                f"got {len(columns)} in {line!r}"
            )
        row = [self._unquote(column.strip()) for column in columns]
        for text, column in zip(row, layout, strict=True):
            self._check(text, column)
        self.rows[self.section].append(tuple(row))

    def _unquote(self, text: str) -> str:
        if not text.startswith('"'):
            return text
        if len(text) < 2 or not text.endswith('"'):
            raise self.error(f"expected a closing double quote in {text!r}")
        return text[1:-1]

    def _check(self, text: str, column: Column) -> None:
        if not text.strip():
            raise self.error("a column is empty; write its words or delete the line")
        if not isinstance(column, str):
            if text not in column:
                raise self.error(f"expected one of {', '.join(sorted(column))}, got {text!r}")
            return
        stray = set(_PLACEHOLDER.findall(text)) - set(_PLACEHOLDER.findall(column))
        if stray or re.search(r"[{}]", _PLACEHOLDER.sub("", text)):
            raise self.error(f"expected no placeholder but {column or 'none'}, got {text!r}")


def read_sentences(path: Path, layouts: Mapping[str, Sequence[Column]]) -> dict[str, Section]:
    """Read a sentence file that has exactly the given sections.

    Args:
        path: of the file, UTF-8.
        layouts: name of each section -> its columns.

    Returns:
        Every section by its name.

    Raises:
        ConfigError: with file and line of an entry or header that does not fit; if a section is
            missing or empty, or the file cannot be read.
    """
    reader = _Reader(path, layouts)
    for line in read_text(path, ConfigError).splitlines():
        reader.take(line)
    missing = [name for name in layouts if not reader.rows.get(name)]
    if missing:
        raise ConfigError(f"{path} has no entry under {_headers(missing)}; write one at least")
    return {name: Section(tuple(rows)) for name, rows in reader.rows.items()}


def _headers(names: Iterable[str]) -> str:
    return ", ".join(f"[{name}]" for name in names)

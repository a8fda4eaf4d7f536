"""Answers of an evaluation in a file of JSON lines, so that an interrupted run can be resumed.

The first line says what was evaluated. Each process appends to a file of its own; the first
process joins them in the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from vl2_ros.documents import check_object, parse_json, write_whole
from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.task import Answer


class AnswerLog:
    """The answers so far, and the file that new ones are appended to.

    Args:
        path: of the joined file; None keeps nothing.
        header: what is evaluated; a file of anything else is refused.
        process: index of this process.
    """

    def __init__(self, path: Path | None, header: Mapping[str, Any], process: int = 0) -> None:
        """Read what is there; nothing is written yet."""
        self._path, self._header, self._process = path, dict(header), process
        self._file: TextIO | None = None
        self.answers: dict[str, Answer] = {}
        for one in self._list_files():
            self._read(one)

    def _list_files(self) -> list[Path]:
        if self._path is None:
            return []
        folder, start = self._path.parent, f"{self._path.name}."
        names = sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []
        parts = [
            folder / name
            for name in names
            if name.startswith(start) and name.removeprefix(start).isdecimal()
        ]
        return [one for one in (self._path, *parts) if one.is_file()]

    def _read(self, path: Path) -> None:
        lines = _read_lines(path)
        if not lines:
            return
        found = check_object(f"line 1 of {path}", _parse(lines[0], path, 1), error=InputError)
        if found != self._header:
            raise InputError(
                f"{path} is of another evaluation: {_compare(found, self._header)}; "
                "give another --out, or remove it"
            )
        for number, line in enumerate(lines[1:], 2):
            row = check_object(f"line {number}", _parse(line, path, number), error=InputError)
            # Records that failed are asked again.
            if "answer" in row:
                self.answers[str(row.get("key"))] = row["answer"]

    def open(self) -> None:
        """Open the file of this process; a line that was cut off is removed from it."""
        if self._path is None:
            return
        path = self._path
        if self._process:
            path = path.with_name(f"{path.name}.{self._process}")
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.read_bytes() if path.is_file() else b""
        kept = whole[: whole.rfind(b"\n") + 1]
        if len(kept) < len(whole):
            path.write_bytes(kept)
        self._file = path.open("a", encoding="utf-8")
        if not kept:
            self._append(self._header)

    def add(self, key: str, answer: Answer) -> None:
        """Keep an answer."""
        self.answers[key] = answer
        self._append({"key": key, "answer": answer})

    def add_bad(self, key: str, reason: str) -> None:
        """Write down why a record has no answer."""
        self._append({"key": key, "error": reason})

    def _append(self, row: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file of this process."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def join(self, keys: Sequence[str], bad: Mapping[str, str]) -> None:
        """Write all answers into one file, in the order of the records, and remove the parts.

        Args:
            keys: of the answered records, in order.
            bad: records without an answer, and why.
        """
        if self._path is None:
            return
        rows: Iterable[Mapping[str, Any]] = chain(
            [self._header],
            ({"key": key, "answer": self.answers[key]} for key in keys),
            ({"key": key, "error": reason} for key, reason in bad.items()),
        )
        parts = [one for one in self._list_files() if one != self._path]
        write_whole(self._path, lambda path: _write(path, rows))
        for part in parts:
            part.unlink()


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _read_lines(path: Path) -> list[str]:
    """Return the whole lines; the last one may be cut off."""
    try:
        text = path.read_text(encoding="utf-8", errors="strict")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}; expected answers of `vl2 eval`") from error
    return [line for line in text[: text.rfind("\n") + 1].splitlines() if line]


def _parse(line: str, path: Path, number: int) -> Any:
    return parse_json(line, f"{path}, line {number}", InputError, advice="remove it, or the line")


def _compare(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    names = sorted(set(found) | set(expected))
    return ", ".join(
        f"{name} {found.get(name)!r}, now {expected.get(name)!r}"
        for name in names
        if found.get(name) != expected.get(name)
    )

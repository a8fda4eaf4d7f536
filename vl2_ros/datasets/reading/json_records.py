"""Read JSON files of any size record by record, and single records again by their position.

An index of half a gigabyte takes little more memory than its largest record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vl2_ros.errors import InputError

#: Most bytes of an index file; COCO's largest have half of it.
MAX_INDEX_BYTES = 1 << 30
#: Most bytes of one record.
MAX_RECORD_BYTES = 64 << 20
#: Files with a JSON value a line.
LINE_ENDINGS = (".jsonl", ".ndjson")

_CHUNK_BYTES = 1 << 20
_BLANKS = " \t\r\n"
_OF_NUMBERS = "0123456789.eE+-"
_SHOWN_LETTERS = 200
_decoder = json.JSONDecoder()

#: First byte of a record in its file, and the byte behind it.
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Record:
    """One value of a file.

    Attributes:
        section: name of the list that it stands in, or its own name in the outer object; "" in a
            file that is a list.
        value: the parsed value.
        span: where it stands.
    """

    section: str
    value: Any
    span: Span


class JsonRecords:
    """The records of a JSON file: a list, an object of lists, or one value a line.

    Args:
        path: of the file; its ending says whether there is one value a line.
        max_bytes: a larger file is refused.

    Raises:
        InputError: if the file cannot be read or is larger.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_INDEX_BYTES) -> None:
        """Check the size."""
        self.path = path
        try:
            size = path.stat().st_size
        except (OSError, ValueError) as cause:
            reason = getattr(cause, "strerror", None) or cause
            raise InputError(f"cannot read {path}: {reason}; expected a JSON file") from cause
        if size > max_bytes:
            raise InputError(
                f"{path} has {size} bytes, over the limit of {max_bytes}; split it, or raise "
                "max_bytes of its source"
            )

    def scan(self) -> Iterator[Record]:
        """Yield the records in the order of the file.

        Raises:
            InputError: naming the byte from which on the file is no JSON or is cut off.
        """
        with self.path.open("rb") as file:
            window = _Window(file, self.path)
            if self.path.suffix.lower() in LINE_ENDINGS:
                while window.peek():
                    yield Record("", *window.take_value())
                return
            if window.peek() == "[":
                yield from _scan_list(window, "")
            else:
                yield from _scan_object(window)
            if window.peek():
                raise window.error("expected the end of the file")

    def read(self, span: Span) -> Any:
        """Read one record again.

        Raises:
            InputError: if the file has changed since it was scanned.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(span[0])
                return json.loads(file.read(span[1] - span[0]))
        except (OSError, ValueError) as cause:
            raise InputError(
                f"cannot read a record of {self.path} again: {cause}; it has changed, start anew"
            ) from cause


def _scan_list(window: _Window, section: str) -> Iterator[Record]:
    window.take("[")
    while window.peek() != "]":
        yield Record(section, *window.take_value())
        if window.peek() != "]":
            window.take(",")
    window.take("]")


def _scan_object(window: _Window) -> Iterator[Record]:
    window.take("{")
    while window.peek() != "}":
        section, _ = window.take_value()
        if not isinstance(section, str):
            raise window.error("expected a name in quotes")
        window.take(":")
        if window.peek() == "[":
            yield from _scan_list(window, section)
        else:
            yield Record(section, *window.take_value())
        if window.peek() != "}":
            window.take(",")
    window.take("}")


class _Window:
    """The part of a file around the position that is read.

    Bytes are read as characters one by one (Latin-1), so that positions in the text are those in
    the file; a record with other characters than ASCII is decoded once more, as UTF-8.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._text, self._position, self._start = "", 0, 0
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        else:
            self._start = 3

    def error(self, reason: str) -> InputError:
        found = self._text[self._position : self._position + 20]
        return InputError(
            f"{self._path} is no JSON from byte {self._start + self._position} on: {reason}, got "
            f"{ascii(found) if found else 'the end of the file'}"
        )

    def peek(self) -> str:
        """Return the next character that is no blank; "" at the end."""
        while True:
            while self._position < len(self._text):
                if self._text[self._position] not in _BLANKS:
                    return self._text[self._position]
                self._position += 1
            if not self._read(_CHUNK_BYTES):
                return ""

    def take(self, character: str) -> None:
        if self.peek() != character:
            raise self.error(f"expected {character}")
        self._position += 1

    def take_value(self) -> tuple[Any, Span]:
        self.peek()
        size, is_whole = _CHUNK_BYTES, False
        while True:
            try:
                value, end = _decoder.raw_decode(self._text, self._position)
                # A number may continue behind the window.
                next_one = self._text[end : end + 1]
                if is_whole or (next_one and next_one not in _OF_NUMBERS):
                    break
                reason = ""
            except RecursionError as cause:
                raise self.error("nested too deep") from cause
            except ValueError as cause:
                reason = str(cause)[:_SHOWN_LETTERS]
                if is_whole:
                    raise self.error(reason) from cause
            if len(self._text) - self._position > MAX_RECORD_BYTES:
                raise self.error(f"expected records of at most {MAX_RECORD_BYTES} bytes")
            is_whole, size = not self._read(size), 2 * size
        text, span = (
            self._text[self._position : end],
            (self._start + self._position, self._start + end),
        )
        if not text.isascii():
            try:
                value = json.loads(text.encode("latin-1").decode("utf-8"))
            except UnicodeDecodeError as cause:
                raise self.error(f"expected UTF-8 ({cause.reason})") from cause
        self._position = end
        return value, span

    def _read(self, size: int) -> bool:
        """Read on; return False at the end of the file."""
        more = self._file.read(size)
        self._start += self._position
        self._text = self._text[self._position :] + more.decode("latin-1")
        self._position = 0
        return bool(more)

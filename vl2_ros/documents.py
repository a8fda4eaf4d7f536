"""Read documents from outside and their fields strictly: bounded size and depth, typed values.

Whatever is wrong becomes one error of the class that the caller names; this file knows no document.
Values in messages are shortened, since damaged files contain endless ones.
"""

from __future__ import annotations

import contextlib
import json
import math
import reprlib
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vl2_ros.errors import ConfigError, VL2Error

#: Most bytes of settings; the worst of them take less than 60 MB once parsed.
MAX_BYTES = 2 << 20
#: Most bytes of lists that grow with a model or a data set: vocabularies, indexes of tensors.
MAX_LIST_BYTES = 256 << 20
#: Most brackets around a value.
MAX_DEPTH = 64
#: Sizes are below this, so that arithmetic on some of them stays within 64 bits.
MAX_SIZE = 1 << 31

_SHOWN_LETTERS = 200
_REQUIRED: Any = object()

ErrorClass = type[VL2Error]


class _Short(reprlib.Repr):
    """A repr that never gets long or deep."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist, self.maxtuple = 3, 8, 8, 8
        self.maxstring = self.maxother = self.maxlong = 80

    def repr_int(self, x: int, level: int) -> str:
        """Show a number; Python refuses to write the longest ones."""
        return repr(x) if x.bit_length() <= 256 else f"an int of {x.bit_length()} bits"


def shorten(value: Any) -> str:
    """Return what an error message shows of a value: its repr, cut in the middle where long."""
    text = _Short().repr(value)
    return text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}..."


def is_file(path: Path) -> bool:
    """Return whether a path is a file; False for a path that is invalid, such as too long."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder; False for a path that is invalid, such as too long."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def read_text(
    path: Path, error: ErrorClass, *, max_bytes: int = MAX_BYTES, advice: str = ""
) -> str:
    """Read a UTF-8 file of a bounded size.

    Args:
        path: of the file.
        error: class of the raised error.
        max_bytes: a larger file is refused before it is read.
        advice: what to do next, for the message.

    Raises:
        error: if the file is not there, cannot be read, is too large or is not UTF-8.
    """
    tail = f"; {advice}" if advice else ""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (OSError, ValueError) as cause:
        reason = getattr(cause, "strerror", None) or cause
        raise error(f"cannot read {shorten_path(path)}: {reason}{tail}") from cause
    if len(content) > max_bytes:
        raise error(f"cannot read {path}: expected at most {max_bytes} bytes, it has more{tail}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise error(f"cannot read {path}: it is not UTF-8 ({cause.reason}){tail}") from cause


def shorten_path(path: Path) -> str:
    """Return a path for a message, its middle cut out where it is endless."""
    text = str(path)
    return text if len(text) <= 2 * _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}...{text[-40:]}"


def read_json(
    path: Path, error: ErrorClass, *, max_bytes: int = MAX_BYTES, advice: str = ""
) -> Any:
    """Read a JSON file strictly: no NaN, no infinity, no endless nesting, no half characters.

    Args:
        path: of the file.
        error: class of the raised error.
        max_bytes: a larger file is refused before it is read.
        advice: what to do next, for the message.

    Raises:
        error: naming the file and what is wrong in it.
    """
    text = read_text(path, error, max_bytes=max_bytes, advice=advice)
    return parse_json(text, str(path), error, advice=advice)


def parse_json(text: str, where: str, error: ErrorClass, *, advice: str = "") -> Any:
    """Parse JSON as strictly as `read_json` does.

    Args:
        text: one JSON value.
        where: it comes from, for the message.
        error: class of the raised error.
        advice: what to do next, for the message.

    Raises:
        error: naming what is wrong.
    """
    tail = f"; {advice}" if advice else ""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as cause:
        raise error(f"{where} is nested deeper than {MAX_DEPTH} levels{tail}") from cause
    except ValueError as cause:
        raise error(f"{where} is not JSON ({str(cause)[:_SHOWN_LETTERS]}){tail}") from cause
    check_document(value, where, error, advice=advice)
    return value


def read_json_object(
    path: Path,
    error: ErrorClass,
    *,
    max_bytes: int = MAX_BYTES,
    advice: str = "expected one object",
) -> dict[str, Any]:
    """Read a JSON file that contains one object; see `read_json`."""
    value = read_json(path, error, max_bytes=max_bytes, advice=advice)
    if not isinstance(value, dict):
        raise error(f"{path} contains a JSON {type(value).__name__}; {advice}")
    return value


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let a library write a file, whole or not at all, with the mode that the umask gives.

    Some libraries make files that only the user can read, whatever the umask.

    Args:
        path: of the file; an existing one is replaced.
        write: writes to the path that it is given.

    Raises:
        as `write` does; the file is as it was then.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        part.touch()
        mode = stat.S_IMODE(part.stat().st_mode)
        write(part)
        part.chmod(mode)
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def check_document(value: Any, where: str, error: ErrorClass, *, advice: str = "") -> None:
    """Check what a parser made: depth, finite numbers, whole characters; goes without recursion.

    Raises:
        error: naming what was found.
    """
    tail = f"; {advice}" if advice else ""
    level, depth, seen = [value], 0, set[int]()
    while level:
        if depth > MAX_DEPTH:
            raise error(f"{where} is nested deeper than {MAX_DEPTH} levels{tail}")
        inner: list[Any] = []
        for one in level:
            if isinstance(one, str):
                _check_characters(one, where, error)
            elif isinstance(one, float) and not math.isfinite(one):
                raise error(f"{where} contains the number {one}; expected finite ones{tail}")
            elif isinstance(one, dict | list | tuple | set) and id(one) not in seen:
                # YAML may name one value many times, and inside of itself.
                seen.add(id(one))
                inner += one
                inner += one.values() if isinstance(one, dict) else ()
        level, depth = inner, depth + 1


def check_int(
    name: str, value: Any, *, least: int = 0, most: int = MAX_SIZE, error: ErrorClass = ConfigError
) -> int:
    """Return a value that is an int in a range; a bool is none.

    Raises:
        error: with its name, the expected and the actual value.
    """
    if type(value) is not int or not least <= value <= most:
        raise error(f"{name} must be an int in {least}..{most}, got {shorten(value)}")
    return value


def check_number(
    name: str,
    value: Any,
    *,
    least: float = -1e30,
    most: float = 1e30,
    error: ErrorClass = ConfigError,
) -> float:
    """Return a value that is a finite number in a range, as a float; a bool is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        raise error(f"{name} must be a number in {least:g}..{most:g}, got {shorten(value)}")
    return float(value)


def check_bool(name: str, value: Any, *, error: ErrorClass = ConfigError) -> bool:
    """Return a value that is true or false."""
    if type(value) is not bool:
        raise error(f"{name} must be true or false, got {shorten(value)}")
    return value


def check_text(
    name: str, value: Any, *, most: int = 100_000, error: ErrorClass = ConfigError
) -> str:
    """Return a value that is a text of at most `most` letters."""
    if not isinstance(value, str) or len(value) > most:
        raise error(f"{name} must be a text of at most {most} letters, got {shorten(value)}")
    return value


def check_object(name: str, value: Any, *, error: ErrorClass = ConfigError) -> Mapping[str, Any]:
    """Return a value that is an object: texts to values."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise error(f"{name} must be an object, got {shorten(value)}")
    return value


def check_list(
    name: str, value: Any, *, most: int = 100_000, error: ErrorClass = ConfigError
) -> list[Any]:
    """Return a value that is a list of at most `most` entries."""
    if not isinstance(value, list | tuple) or len(value) > most:
        raise error(f"{name} must be a list of at most {most} entries, got {shorten(value)}")
    return list(value)


def check_kind(name: str, value: Any, kind: str, *, most: int = MAX_SIZE) -> None:
    """Check a value against the annotation of a dataclass's field.

    Args:
        name: of the field.
        value: of it; null is for kinds that end with `| None`.
        kind: such as `int` or `tuple[str, ...]`; one that is not known here is not checked.
        most: of ints, which are 0 or more.

    Raises:
        ConfigError: with its name, the expected and the actual value.
    """
    kind, _, optional = kind.partition(" | ")
    if optional == "None" and value is None:
        return
    if kind == "int":
        check_int(name, value, most=most)
    elif kind == "float":
        check_number(name, value)
    elif kind == "bool":
        check_bool(name, value)
    elif kind == "str":
        check_text(name, value)
    elif kind.startswith("Mapping["):
        check_object(name, value)
    elif kind.startswith("tuple["):
        inner = kind.removeprefix("tuple[").partition(",")[0]
        for one in check_list(name, value):
            check_kind(name, one, inner, most=most)


def take_int(
    values: Mapping[str, Any],
    name: str,
    default: Any = _REQUIRED,
    *,
    least: int = 0,
    most: int = MAX_SIZE,
    error: ErrorClass = ConfigError,
) -> int:
    """Return an int field of an object; missing or null takes the default, if there is one.

    Raises:
        error: if it is missing without a default, no int, or out of range.
    """
    value = values.get(name)
    if value is None and default is not _REQUIRED:
        return int(default)
    return check_int(name, value, least=least, most=most, error=error)


def take_bool(
    values: Mapping[str, Any], name: str, default: bool, *, error: ErrorClass = ConfigError
) -> bool:
    """Return a field of an object that is true or false; missing or null takes the default."""
    value = values.get(name)
    return default if value is None else check_bool(name, value, error=error)


def take_object(
    values: Mapping[str, Any], name: str, *, error: ErrorClass = ConfigError
) -> Mapping[str, Any]:
    """Return a field of an object that is an object itself; missing or null is an empty one."""
    value = values.get(name)
    return {} if value is None else check_object(name, value, error=error)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _check_characters(text: str, where: str, error: ErrorClass) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as cause:
        raise error(f"{where} contains half of a character: {ascii(text[:20])}") from cause

"""Compare the bytes of engine files with the hashes that `engines.json` has of them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from vl2_ros.errors import EngineError

_AGAIN = "export the engines again"
_CHUNK_BYTES = 1 << 20
#: A file that changed this recently may change again within one tick of the file system's clock.
_SETTLED_NS = 2_000_000_000


def check_bytes(path: Path, sha256: str, what: str) -> None:
    """Compare a file with its hash.

    Args:
        path: the file.
        sha256: 64 hexadecimal digits.
        what: it is, for the error.

    Raises:
        EngineError: if it is missing or not what was exported.
    """
    _compare(path, _hash(path, what), sha256)


def read_checked(path: Path, sha256: str, what: str) -> bytes:
    """Return the bytes of a file, which are those of its hash; see `check_bytes`."""
    content = b"".join(_read_chunks(path, what))
    _compare(path, hashlib.sha256(content).hexdigest(), sha256)
    return content


def check_shared(path: Path, sha256: str, what: str) -> None:
    """Check a file that several engines share as `check_bytes` does, once until it changes."""
    try:
        found = path.stat()
    except OSError as error:
        raise EngineError(f"cannot read {path}, {what}: {error.strerror}; {_AGAIN}") from error
    state = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)
    is_settled = time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > _SETTLED_NS
    _compare(path, _hash_state(path, state) if is_settled else _hash(path, what), sha256)


@lru_cache(maxsize=16)
def _hash_state(path: Path, _state: tuple[int, ...]) -> str:
    """Return the sha256 of a file; its state is there for the cache to notice a change."""
    return _hash(path, "weights of engines")


def _hash(path: Path, what: str) -> str:
    digest = hashlib.sha256()
    for chunk in _read_chunks(path, what):
        digest.update(chunk)
    return digest.hexdigest()


def _read_chunks(path: Path, what: str) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except OSError as error:
        raise EngineError(f"cannot read {path}, {what}: {error.strerror}; {_AGAIN}") from error


def _compare(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise EngineError(
            f"{path} is damaged or was replaced: expected sha256 {expected[:12]}..., got "
            f"{found[:12]}... of {path.stat().st_size} bytes; {_AGAIN}"
        )

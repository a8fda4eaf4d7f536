"""Compute the identity of a checkpoint: a hash over every byte that engines are made from.

Hashing gigabytes takes a while, so each file's hash is kept in the user's cache until the file
changes, and a large checkpoint may be hashed while it loads. Loads no weights.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from vl2_ros.documents import is_file, read_json_object, write_whole
from vl2_ros.errors import CheckpointError, VL2Error
from vl2_ros.runtime.files.engine_folders import cache_root

#: Values of an identity that is not known yet, and of one that will never be.
PENDING = "pending"
UNKNOWN = "unknown"
#: Bytes that are hashed at once, not in the background: a fraction of a second.
MAX_WAITED_BYTES = 256 << 20

_DIGITS = 16
_CHUNK_BYTES = 4 << 20
_CACHE_FILE = "hashes.json"
_CACHE_FORMAT = 1
_MAX_ENTRIES = 1000
#: A file that changed this recently may change again within one tick of the file system's clock.
_SETTLED_NS = 2_000_000_000
#: So that hashing only uses cores that loading and answering leave idle.
_NICE = 19

_log = logging.getLogger(__name__)


class HashCache:
    """The hashes of files, kept in one JSON file of the user; a damaged one counts as empty.

    Args:
        path: of that file; None: the one in the user's cache.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = cache_root() / _CACHE_FILE if path is None else path

    def find(self, path: Path) -> str | None:
        """Return the sha256 of a file that did not change since it was hashed, else None."""
        entry = self._read().get(str(path.resolve()))
        if not isinstance(entry, list) or len(entry) != 2 or entry[0] != _describe(path):
            return None
        return str(entry[1])

    def hash_file(self, path: Path) -> str:
        """Return the sha256 of a file, from here or from its bytes.

        Raises:
            OSError: if it cannot be read.
        """
        if found := self.find(path):
            return found
        before = _describe(path)
        digest = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        settled = time.time_ns() - path.stat().st_mtime_ns > _SETTLED_NS
        if settled and _describe(path) == before:
            self._add(str(path.resolve()), [before, digest.hexdigest()])
        return digest.hexdigest()

    def _read(self) -> dict[str, Any]:
        try:
            document = read_json_object(self._path, CheckpointError)
        except VL2Error:
            return {}
        files = document.get("files")
        is_ours = document.get("format") == _CACHE_FORMAT and isinstance(files, dict)
        return dict(files) if is_ours and isinstance(files, dict) else {}

    def _add(self, name: str, entry: list[Any]) -> None:
        """Keep a hash; where that is not possible, the file is hashed again the next time."""
        files = self._read()
        files.pop(name, None)
        kept = dict(list(files.items())[-_MAX_ENTRIES + 1 :]) | {name: entry}
        text = json.dumps({"format": _CACHE_FORMAT, "files": kept}, indent=1) + "\n"
        # Two processes may write at once: each its own file, the last one stays.
        own = self._path.with_name(f"{self._path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(own, lambda part: _write_text(part, text))
            own.replace(self._path)
        except OSError as error:
            _log.info("cannot keep the hash of %s: %s", name, error)
        finally:
            with suppress(OSError):
                own.unlink(missing_ok=True)


def identify_weights(folder: Path, cache: HashCache | None = None) -> str:
    """Hash what engines are made from: configuration, index and weights, every byte of them.

    Of `processing.json` the numbers count, which are sizes of graphs, and no sentence.

    Args:
        folder: of the checkpoint.
        cache: of hashes; None: the user's.

    Returns:
        16 hexadecimal digits.

    Raises:
        CheckpointError: if a file cannot be read.
    """
    cache = cache or HashCache()
    digest = hashlib.sha256()
    try:
        for path in _list_files(folder):
            digest.update(f"{path.name} {cache.hash_file(path)}\n".encode())
    except OSError as error:
        raise CheckpointError(
            f"cannot read {error.filename or folder}: {error.strerror or error}; copy the "
            "checkpoint again"
        ) from error
    digest.update(json.dumps(_read_sizes(folder), sort_keys=True).encode())
    return digest.hexdigest()[:_DIGITS]


class WeightsIdentity:
    """The identity of a checkpoint, maybe not known yet.

    Args:
        folder: of the checkpoint.
        cache: of hashes; None: the user's.
        max_waited_bytes: most bytes without a known hash that are hashed at once.
    """

    def __init__(
        self,
        folder: Path,
        cache: HashCache | None = None,
        *,
        max_waited_bytes: int = MAX_WAITED_BYTES,
    ) -> None:
        """Hash a small checkpoint, or one whose hashes are known.

        Raises:
            CheckpointError: if a file cannot be read.
        """
        self._folder = folder
        self._cache = cache or HashCache()
        self._text = PENDING
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        if self._count_unknown_bytes() <= max_waited_bytes:
            self.wait()

    def __call__(self) -> str:
        """Return the identity as far as it is known: `pending` until it is, never waiting."""
        return self._text

    def start(self) -> None:
        """Start to hash on a thread of its own, unless it is known or started."""
        with self._lock:
            if self._text == PENDING and self._thread is None:
                self._thread = threading.Thread(
                    target=self._hash_beside, name="vl2 identity", daemon=True
                )
                self._thread.start()

    def wait(self) -> str:
        """Return the identity, hashing what is not hashed yet.

        Raises:
            CheckpointError: if a file cannot be read.
        """
        if self._thread is not None:
            self._thread.join()
        if self._text in (PENDING, UNKNOWN):
            self._text = identify_weights(self._folder, self._cache)
        return self._text

    def _hash_beside(self) -> None:
        with suppress(AttributeError, OSError):  # only Linux knows priorities of threads
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            self._text = identify_weights(self._folder, self._cache)
        except Exception as error:
            # Loading reports what is wrong with the files; here an error has no receiver.
            _log.warning("the identity of %s stays unknown: %s", self._folder, error)
            self._text = UNKNOWN

    def _count_unknown_bytes(self) -> int:
        unknown = 0
        with suppress(OSError):
            for path in _list_files(self._folder):
                if self._cache.find(path) is None:
                    unknown += path.stat().st_size
        return unknown


def _list_files(folder: Path) -> Iterator[Path]:
    """Yield the files that count: of two forms of the weights, the one that is loaded."""
    has_safetensors = any(
        is_file(folder / f"model.safetensors{end}") for end in ("", ".index.json")
    )
    form = "safetensors" if has_safetensors else "bin"
    yield folder / "config.json"
    yield from sorted([*folder.glob(f"*.{form}"), *folder.glob(f"*.{form}.index.json")])


def _read_sizes(folder: Path) -> dict[str, int]:
    if not is_file(folder / "processing.json"):
        return {}
    values = read_json_object(folder / "processing.json", CheckpointError)
    return {name: value for name, value in values.items() if type(value) is int}


def _describe(path: Path) -> list[int]:
    """Return the attributes that change with a file: size, times, inode."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")

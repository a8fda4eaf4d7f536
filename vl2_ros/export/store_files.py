"""Files of the engine store: whole or not there, one writer at a time, errors with a next step."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vl2_ros.errors import EngineError
from vl2_ros.runtime.files.engine_files import EMBEDDINGS

#: Beside a file while it is written.
PART = ".part"
_CHUNK_BYTES = 1 << 20
#: Seconds of silent waiting for a lock.
_PATIENCE_S = 0.5


def hash_file(path: Path) -> str:
    """Return the sha256 of a file, 64 hexadecimal digits.

    Raises:
        EngineError: if it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise EngineError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()


def describe_embeddings(folder: Path) -> dict[str, str]:
    """Make the row of `engines.json` about the embeddings of a folder.

    Raises:
        EngineError: if they cannot be read.
    """
    return {"file": EMBEDDINGS, "sha256": hash_file(folder / EMBEDDINGS)}


@contextlib.contextmanager
def mapped_writes(folder: Path) -> Iterator[None]:
    """Turn failures of writing into a folder into errors with advice."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = "free some space there, or name a folder on another disk with --engines"
        else:
            advice = "make it writable, or name another folder with --engines"
        raise EngineError(
            f"cannot write engines to {folder}: {error.strerror or error}; {advice}"
        ) from error


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write to; it is renamed to `path` after the body, or deleted if that fails.

    Raises:
        EngineError: if it cannot be written.
    """
    part = path.with_name(path.name + PART)
    try:
        with mapped_writes(path.parent):
            yield part
            # On the disk before it has its name, or a power cut could leave an empty engine.
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def replaced_with(path: Path, beside: Path) -> Iterator[None]:
    """Let the body write a file that belongs to another one; it is deleted if that fails.

    Args:
        path: the file that refers to it.
        beside: written under its final name, as that is what `path` contains. Processes that have
            the old one mapped keep it.

    Raises:
        EngineError: if it cannot be written.
    """
    try:
        with mapped_writes(path.parent):
            if beside.exists():
                # What it belongs to is of no use without it.
                path.unlink(missing_ok=True)
                beside.unlink()
            yield
            if beside.exists():
                with beside.open("rb+") as file:
                    os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def write_json(path: Path, document: Any) -> None:
    """Write a JSON file whole or not at all."""
    with written_whole(path) as part:
        part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


@contextlib.contextmanager
def locked(
    folder: Path, *, timeout_s: float, on_wait: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """Hold the lock of a folder; it is free again when the process ends, however it does.

    Args:
        folder: made where it is not there.
        timeout_s: seconds to wait for another process.
        on_wait: called once when another process builds.

    Raises:
        EngineError: if the wait was too long, or the folder cannot be written.
    """
    import filelock

    with mapped_writes(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / "engines.lock", is_singleton=False)
        try:
            try:
                lock.acquire(timeout=min(_PATIENCE_S, timeout_s))
            except filelock.Timeout:
                on_wait(f"another process builds engines in {folder}; waiting for it")
                lock.acquire(timeout=timeout_s)
        except filelock.Timeout as error:
            raise EngineError(
                f"another process has been building engines in {folder} for more than "
                f"{timeout_s:g} s; wait for it or end it, or name another folder with --engines"
            ) from error
    try:
        yield
    finally:
        lock.release()

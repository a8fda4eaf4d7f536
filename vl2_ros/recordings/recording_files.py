"""Find the storage files of a recording, and decompress files or messages.

From a folder's metadata.yaml only the names of its files are used; topics, counts and types come
from the storage files themselves.
"""

from __future__ import annotations

import io
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

import zstandard
from ruamel.yaml import YAML

from vl2_ros.errors import TransportError

_LOG = logging.getLogger(__name__)

BAG_FORMS = "a rosbag2 folder (with metadata.yaml), a .mcap or a .db3 file"
#: Names of storage files; rosbag2 adds the name of the compressor to a file that it has compressed.
SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
MCAP_MAGIC = b"\x89MCAP0\r\n"
SQLITE_MAGIC = b"SQLite format 3\x00"
#: No CDR message begins so: the first byte of those is zero.
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
#: A compressed message may not become larger than this, in bytes.
MAX_MESSAGE_BYTES = 256 << 20
_ZSTD = ".zstd"
_METADATA = "metadata.yaml"
_BLOCK_BYTES = 1 << 20


@lru_cache(maxsize=1000)
def warn_once(text: str) -> None:
    """Log a warning, the same one only once however often a recording is opened."""
    _LOG.warning("%s", text)


def find_storage_files(path: Path) -> tuple[Path, ...]:
    """Return the storage files of a recording, in the order in which they were written.

    Args:
        path: rosbag2 folder or one storage file.

    Raises:
        TransportError: if there is none.
    """
    if not path.exists():
        raise TransportError(f"{path} does not exist; expected {BAG_FORMS}")
    if path.is_file():
        if not path.name.endswith(SUFFIXES):
            raise TransportError(f"{path} is not a bag; expected {BAG_FORMS}")
        return (path,)
    listed = _read_listed_names(path / _METADATA)
    named = [_find_in_folder(path, name) for name in listed]
    found = tuple(one for one in named if one is not None)
    if found and len(found) == len(named):
        return _skip_empty(found)
    files = _skip_empty(_list_folder(path))
    if not files:
        raise TransportError(
            f"{path} has no storage file ({', '.join(SUFFIXES)}); expected {BAG_FORMS}"
        )
    missing = [name for name, one in zip(listed, named, strict=True) if one is None]
    reason = f"names files that are not there ({', '.join(missing)})" if missing else "is missing"
    warn_once(f"{path / _METADATA} {reason} or lists no file: every storage file there is read")
    return files


@contextmanager
def open_storage_files(paths: tuple[Path, ...]) -> Iterator[tuple[Path, ...]]:
    """Yield plain storage files; those compressed as a whole are unpacked for that time."""
    with TemporaryDirectory(prefix="vl2_bag_") as folder:
        yield tuple(
            _unpack_file(path, Path(folder) / f"{index}_{path.name.removesuffix(_ZSTD)}")
            if read_magic(path).startswith(ZSTD_MAGIC)
            else path
            for index, path in enumerate(paths)
        )


def read_magic(path: Path) -> bytes:
    """Return the first 16 bytes of a file, fewer when it is shorter."""
    with path.open("rb") as file:
        return file.read(16)


def check_message_size(size: int) -> None:
    """Check the size of a stored message before it is read.

    Raises:
        TransportError: if it has more than `MAX_MESSAGE_BYTES`.
    """
    if size > MAX_MESSAGE_BYTES:
        raise TransportError(f"a message has {size} bytes, expected {MAX_MESSAGE_BYTES} at most")


def take_message(data: bytes) -> bytes:
    """Return the bytes of a message, unpacked when rosbag2 has compressed each by itself.

    Compression is detected from the bytes, not from metadata.yaml.

    Raises:
        TransportError: if it becomes larger than `MAX_MESSAGE_BYTES`.
    """
    if not data.startswith(ZSTD_MAGIC):
        return data
    unpacked = unzstd(data, MAX_MESSAGE_BYTES)
    if len(unpacked) > MAX_MESSAGE_BYTES:
        raise TransportError(
            f"a compressed message becomes larger than {MAX_MESSAGE_BYTES} bytes, expected less"
        )
    return unpacked


def unzstd(data: bytes, limit: int) -> bytes:
    """Unpack at most `limit` + 1 bytes, whatever size is declared; the one more can be seen."""
    reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
    blocks, left = io.BytesIO(), limit + 1
    while left and (block := reader.read(min(left, _BLOCK_BYTES))):
        blocks.write(block)
        left -= len(block)
    return blocks.getvalue()


def _read_listed_names(metadata: Path) -> list[str]:
    """Return the file names of a metadata.yaml; none when it is missing or cannot be understood."""
    if not metadata.is_file():
        return []
    try:
        document = YAML(typ="safe").load(metadata.read_text(encoding="utf-8"))
        listed = document["rosbag2_bagfile_information"]["relative_file_paths"]
        # Before version 4 they began with the folder's name.
        return [PurePath(str(name)).name for name in listed or ()]
    # Any damage, the parser's depth included: the storage files replace what is missing here.
    except Exception as error:
        warn_once(f"{metadata} cannot be understood and is not used: {type(error).__name__}")
        return []


def _find_in_folder(folder: Path, name: str) -> Path | None:
    # A file may have been compressed or unpacked after it was listed.
    for candidate in (folder / name, folder / name.removesuffix(_ZSTD), folder / (name + _ZSTD)):
        if candidate.is_file():
            return candidate
    return None


def _list_folder(folder: Path) -> tuple[Path, ...]:
    names = {one.name for one in folder.iterdir() if one.is_file() and one.name.endswith(SUFFIXES)}
    # Playing a compressed file leaves the unpacked one beside it: the same messages once more.
    single = {name for name in names if name.removesuffix(_ZSTD) not in names - {name}}
    return tuple(folder / name for name in sorted(single, key=_natural_key))


def _skip_empty(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """Skip empty files, unless there is no other; a full disk leaves such a last one."""
    empty = [path for path in paths if path.stat().st_size == 0]
    if not empty or len(empty) == len(paths):
        return paths
    warn_once(f"skipped empty files: {', '.join(map(str, empty))}")
    return tuple(path for path in paths if path not in empty)


def _natural_key(name: str) -> list[tuple[int, str]]:
    """Sort bag_2 before bag_10."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _unpack_file(packed: Path, target: Path) -> Path:
    most = shutil.disk_usage(target.parent).free
    with packed.open("rb") as source, target.open("wb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
        size = 0
        while block := reader.read(_BLOCK_BYTES):
            size += len(block)
            if size > most:
                raise TransportError(
                    f"{packed} takes more than {most} bytes when it is unpacked, for which "
                    f"{target.parent.parent} has no room; name a larger folder in TMPDIR"
                )
            file.write(block)
    return target

"""What compressed parts of a recording may grow to; looked at before they are opened.

The bag library decompresses a chunk or message whole, whatever its size; here it does so only up to
what the part declares, and no part that declares more than the limit.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from lz4.frame import LZ4FrameDecompressor
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import storage_mcap

from vl2_ros.errors import TransportError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Bytes of one chunk or message, uncompressed: an image at the pixel limit in 16-bit colour fits.
MAX_PART_BYTES = 700_000_000
#: Bytes of a file header in which zstd says how large its content is.
_ZSTD_HEADER = 18
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_READ_BYTES = 1 << 20


def check_folder(path: Path) -> None:
    """Check the compressed files of a rosbag2 folder, which are unpacked before they are read.

    Raises:
        TransportError: if one of them declares more than the temporary folder has room for.
    """
    free = find_free_bytes()
    for file in sorted(one for one in path.iterdir() if one.is_file()):
        with file.open("rb") as opened:
            header = opened.read(_ZSTD_HEADER)
        if not header.startswith(_ZSTD_MAGIC):
            continue
        size = _declared_size(header)
        size = _count_content(file, free) if size is None else size
        if size > free:
            raise TransportError(
                f"{file} holds {size} bytes or more when it is unpacked, {gettempdir()} has room "
                f"for {free}; name a larger folder in TMPDIR"
            )


def find_free_bytes() -> int:
    """Return the room in the temporary folder."""
    return shutil.disk_usage(gettempdir()).free


def bound_reader(reader: AnyReader) -> None:
    """Let an opened reader decompress no chunk or message that declares more than the limit.

    Args:
        reader: of a recording; its files are open, no message was read.

    Raises:
        TransportError: if the index of a file names a larger chunk.
    """
    for one in reader.readers:
        storage: Any = getattr(one, "storage", None)
        parts = getattr(storage, "storages", [storage])
        for part in parts:
            for chunk in getattr(part, "chunks", ()):
                _check_size("a chunk", chunk.uncompressed_size)
        if getattr(getattr(storage, "metadata", None), "compression_mode", None) == "message":
            # From here on its messages come as they are, decompressed by us.
            storage.metadata = storage.metadata._replace(compression_mode=None)
            for part in parts:
                part.messages = _unpack_messages(part.messages)


_Read = Callable[..., Iterator[tuple[Any, int, bytes]]]


def _unpack_messages(read: _Read) -> _Read:
    def unpack(*args: Any) -> Iterator[tuple[Any, int, bytes]]:
        for connection, time_ns, data in read(*args):
            size = _declared_size(data[:_ZSTD_HEADER])
            if size is None:
                raise TransportError(
                    f"a compressed message on {connection.topic} does not declare its size; "
                    "compress the recording again"
                )
            yield connection, time_ns, _take_whole("a message", zstd.ZstdDecompressor(), data, size)

    return unpack


def _unpack_zstd(data: bytes, size: int) -> bytes:
    return _take_whole("a chunk", zstd.ZstdDecompressor(), data, size)


def _unpack_lz4(data: bytes, size: int) -> bytes:
    return _take_whole("a chunk", LZ4FrameDecompressor(), data, size)


def _take_whole(what: str, decompressor: Any, data: bytes, size: int) -> bytes:
    """Decompress one frame of `size` bytes."""
    _check_size(what, size)
    # One byte more tells what is longer from what fits.
    raw: bytes = decompressor.decompress(data, max_length=size + 1)
    if len(raw) != size or not decompressor.eof or decompressor.unused_data:
        raise TransportError(
            f"{what} of the recording is cut short or does not hold the {size} bytes that it "
            "declares; record it again or repair it"
        )
    return raw


def _check_size(what: str, size: int) -> None:
    if size > MAX_PART_BYTES:
        raise TransportError(
            f"{what} of the recording declares {size} bytes, at most {MAX_PART_BYTES} are opened; "
            "record in smaller chunks"
        )


def _declared_size(header: bytes) -> int | None:
    """Return the content size that a zstd frame declares; None when it does not."""
    try:
        size: int | None = zstd.get_frame_info(header).decompressed_size
    except zstd.ZstdError as error:
        raise TransportError(f"a compressed part of the recording is damaged: {error}") from error
    return size


def _count_content(path: Path, most: int) -> int:
    """Return the unpacked bytes of a file, counted until they are over a limit."""
    count = 0
    with zstd.open(path, "rb") as file:
        while count <= most and (part := file.read(_READ_BYTES)):
            count += len(part)
    return count


# The library hands each of these the declared size, and its own ignore it.
storage_mcap.DECOMPRESSORS.update(zstd=_unpack_zstd, lz4=_unpack_lz4)

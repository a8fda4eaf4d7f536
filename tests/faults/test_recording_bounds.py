"""What a recording declares is looked at before it is opened; with lowered limits."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from mcap.writer import CompressionType
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from tests.transports.test_bag import (
    CAMERA,
    IMAGE_TYPE,
    STORE,
    make_frames,
    make_image,
    write_bag,
)
from vl2_ros.errors import TransportError
from vl2_ros.transports import bag_limits, mcap_writer
from vl2_ros.transports.bag import read_frames, write_camera_bag

#: A frame of 48x64 pixels in rgb8 is more.
LOWERED = 5_000


def write_mcap(path: Path) -> Path:
    frames = [make_image(one) for one in make_frames()]
    folder = write_bag(path, {"/image": frames}, storage=StoragePlugin.MCAP, compress=True)
    (file,) = folder.glob("*.mcap")
    return file


def write_message_wise(path: Path) -> Path:
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/image", IMAGE_TYPE, typestore=STORE)
        for index, frame in enumerate(make_frames()):
            data = STORE.serialize_cdr(make_image(frame), IMAGE_TYPE)
            writer.write(connection, 1000 + index, data)
    return path


@pytest.mark.parametrize(
    ("write", "expected"),
    [(write_mcap, "a chunk of the recording"), (write_message_wise, "a message of the recording")],
)
def test_a_part_that_declares_too_much_is_not_opened(tmp_path, monkeypatch, write, expected):
    bag = write(tmp_path / "bag")
    assert len(list(read_frames(bag))) == 3
    monkeypatch.setattr(bag_limits, "MAX_PART_BYTES", LOWERED)
    opened = forbid_opening(monkeypatch)
    with pytest.raises(TransportError, match=rf"{expected} declares \d+ bytes, at most 5000 are"):
        list(read_frames(bag))
    assert opened == []


def forbid_opening(monkeypatch) -> list[int]:
    """Note what is decompressed."""
    opened: list[int] = []
    watched = SimpleNamespace(decompress=lambda data, max_length: opened.append(max_length))
    monkeypatch.setattr(bag_limits.zstd, "ZstdDecompressor", lambda: watched)
    return opened


def test_chunks_of_lz4_are_read_and_bounded(tmp_path, monkeypatch):
    make_writer = partial(mcap_writer.Writer, compression=CompressionType.LZ4)
    monkeypatch.setattr(mcap_writer, "Writer", make_writer)
    path = tmp_path / "lz4.mcap"
    write_camera_bag(path, [(one, CAMERA) for one in make_frames()], compressed=False)
    assert b"lz4" in path.read_bytes() and len(list(read_frames(path))) == 3
    monkeypatch.setattr(bag_limits, "MAX_PART_BYTES", LOWERED)
    with pytest.raises(TransportError, match="at most 5000 are opened"):
        list(read_frames(path))


def halve_index(content: bytearray) -> None:
    """Let the index of the chunk declare less than the chunk holds."""
    # The last record of a chunk index is its uncompressed size.
    start = content.rindex(b"\x04\x00\x00\x00zstd") + 8 + 8
    (size,) = struct.unpack_from("<Q", content, start)
    struct.pack_into("<Q", content, start, size // 2)


def halve_header(content: bytearray) -> None:
    """The same in the chunk itself, for files that are read without their index."""
    start = content.index(b"\x04\x00\x00\x00zstd") - 12
    (size,) = struct.unpack_from("<Q", content, start)
    struct.pack_into("<Q", content, start, size // 2)
    # No summary: the file is scanned from its beginning.
    struct.pack_into("<QQI", content, len(content) - 8 - 20, 0, 0, 0)


@pytest.mark.parametrize("change", [halve_index, halve_header])
def test_a_chunk_that_holds_more_than_it_declares_is_refused(
    tmp_path, change: Callable[[bytearray], None]
):
    file = write_mcap(tmp_path / "bag")
    content = bytearray(file.read_bytes())
    change(content)
    alone = tmp_path / "alone.mcap"
    alone.write_bytes(content)
    with pytest.raises(TransportError, match=r"does not hold the \d+ bytes that it declares"):
        list(read_frames(alone))


@pytest.mark.parametrize("free", [1_000, 20_000])
def test_a_file_that_has_no_room_unpacked_is_not_unpacked(tmp_path, monkeypatch, free):
    frames = [make_image(one) for one in make_frames()]
    bag = write_bag(
        tmp_path / "bag", {"/image": frames}, storage=StoragePlugin.SQLITE3, compress=True
    )
    monkeypatch.setattr(bag_limits, "find_free_bytes", lambda: free)
    with pytest.raises(TransportError, match=rf"when it is unpacked, .* has room for {free}"):
        list(read_frames(bag))

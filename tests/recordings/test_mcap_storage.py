from __future__ import annotations

import logging
import struct

import pytest
from mcap.opcode import Opcode
from mcap.writer import CompressionType, IndexType

from tests.recordings.recordings import (
    McapRecording,
    assert_same,
    make_frames,
    make_image,
    record_mcap,
    write_bytes,
)
from vl2_ros.errors import TransportError
from vl2_ros.recordings import mcap_storage
from vl2_ros.recordings.bag import count_images, read_frames
from vl2_ros.recordings.mcap_storage import McapFile

FRAMES = make_frames(6)
#: One image fits the first chunk, with the definitions, and two each of the others.
CHUNK_BYTES = 1300
MAGIC_BYTES = 8


def list_records(content: bytes) -> list[tuple[int, int, int]]:
    """Return opcode, beginning and end of each record of a file, by the format's document."""
    records, offset = [], MAGIC_BYTES
    while offset + MAGIC_BYTES < len(content):
        opcode, length = struct.unpack_from("<BQ", content, offset)
        records.append((opcode, offset, offset + 9 + length))
        offset = records[-1][2]
    return records


def find_records(content: bytes, opcode: Opcode) -> list[tuple[int, int]]:
    return [(start, end) for kind, start, end in list_records(content) if kind == opcode]


def test_messages_outside_of_chunks_are_read_too(tmp_path):
    """Writers put what is larger than a chunk beside the chunks; the index does not name it."""
    chunked = record_mcap(tmp_path / "a.mcap", FRAMES[::2], chunk_size=CHUNK_BYTES).read_bytes()
    loose = record_mcap(tmp_path / "b.mcap", FRAMES[1::2], use_chunking=False).read_bytes()
    (data_end, _) = find_records(chunked, Opcode.DATA_END)[0]
    messages = b"".join(loose[start:end] for start, end in find_records(loose, Opcode.MESSAGE))
    path = tmp_path / "both.mcap"
    path.write_bytes(chunked[:data_end] + messages + chunked[data_end:])
    assert_same(FRAMES, read_frames(path))
    assert count_images(path) == 6


def test_images_are_read_in_the_order_of_time_not_of_the_file(tmp_path):
    order = [3, 0, 5, 1, 4, 2]
    for form in ({"chunk_size": CHUNK_BYTES}, {"use_chunking": False}):
        path = record_mcap(tmp_path / "drive.mcap", [FRAMES[index] for index in order], **form)
        assert_same(FRAMES, read_frames(path))


@pytest.mark.parametrize("form", [{"chunk_size": CHUNK_BYTES}, {"use_chunking": False}])
def test_images_of_one_time_stay_in_the_order_of_the_file(tmp_path, form):
    with McapRecording(tmp_path / "drive.mcap", **form) as recording:
        channel = recording.open_topic("/image")
        for frame in FRAMES[::-1]:
            recording.add(channel, 7, write_bytes(make_image(frame)))
    assert_same(FRAMES[::-1], read_frames(tmp_path / "drive.mcap"))


@pytest.mark.parametrize("counts", [(0, 6), (2, 6), (6, 9)])
def test_index_that_does_not_agree_with_the_statistics_is_not_believed(tmp_path, counts):
    """The index of some messages is emptied, as by a tool that has not kept it."""
    indexed, _ = counts
    path = record_mcap(tmp_path / "drive.mcap", FRAMES, chunk_size=CHUNK_BYTES)
    content = bytearray(path.read_bytes())
    for number, (start, _) in enumerate(find_records(bytes(content), Opcode.MESSAGE_INDEX)):
        if 2 * number >= indexed:
            struct.pack_into("<I", content, start + 9 + 2, 0)
    (start, _) = find_records(bytes(content), Opcode.STATISTICS)[0]
    struct.pack_into("<Q", content, start + 9, counts[1])
    path.write_bytes(content)
    assert count_images(path) == 6
    assert_same(FRAMES, read_frames(path))


def test_only_chunks_of_the_topic_are_opened(tmp_path, monkeypatch):
    path = tmp_path / "drive.mcap"
    with McapRecording(path, chunk_size=10) as recording:
        left, right = recording.open_topic("/left"), recording.open_topic("/right")
        for frame in FRAMES:
            recording.add_frames(left, [frame])
            recording.add_frames(right, [frame])
    opened = []
    open_chunk = mcap_storage._open_chunk
    monkeypatch.setattr(
        mcap_storage, "_open_chunk", lambda *args: opened.append(args) or open_chunk(*args)
    )
    assert_same(FRAMES, read_frames(path, topic="/left"))
    assert len(opened) == 6


def test_recording_that_was_cut_short_says_so_once(tmp_path, caplog):
    path = record_mcap(tmp_path / "drive.mcap", FRAMES, chunk_size=CHUNK_BYTES)
    path.write_bytes(path.read_bytes()[: find_records(path.read_bytes(), Opcode.CHUNK)[2][0] + 50])
    with caplog.at_level(logging.WARNING):
        assert_same(FRAMES[:3], read_frames(path))
        assert_same(FRAMES[:3], read_frames(path))
    (record,) = caplog.records
    assert "has no footer, its recording was cut short" in record.message
    assert str(path) in record.message


def test_zeros_after_a_power_cut_are_no_records(tmp_path):
    path = record_mcap(tmp_path / "drive.mcap", FRAMES, use_chunking=False)
    end = find_records(path.read_bytes(), Opcode.MESSAGE)[3][1]
    path.write_bytes(path.read_bytes()[:end] + bytes(5000))
    assert_same(FRAMES[:4], read_frames(path))


def test_damage_in_the_middle_is_not_taken_for_the_end(tmp_path):
    path = record_mcap(tmp_path / "drive.mcap", FRAMES, use_chunking=False)
    content = bytearray(path.read_bytes())
    content[find_records(bytes(content), Opcode.MESSAGE)[2][0] + 8] = 255
    path.write_bytes(content)
    with pytest.raises(TransportError, match="do not fit together after byte"):
        list(read_frames(path))


@pytest.mark.parametrize("compression", CompressionType)
def test_flipped_byte_in_a_chunk_is_found(tmp_path, compression):
    path = record_mcap(
        tmp_path / "drive.mcap", FRAMES, chunk_size=CHUNK_BYTES, compression=compression
    )
    content = bytearray(path.read_bytes())
    start, end = find_records(bytes(content), Opcode.CHUNK)[1]
    content[(start + end) // 2] ^= 0x40
    path.write_bytes(content)
    frames = read_frames(path)
    assert_same(FRAMES[:1], [next(frames)])
    with pytest.raises(TransportError, match="cannot be read as a bag"):
        next(frames)


@pytest.mark.parametrize("compression", CompressionType)
def test_size_that_a_chunk_declares_is_checked_before_it_is_opened(
    tmp_path, monkeypatch, compression
):
    path = record_mcap(tmp_path / "drive.mcap", FRAMES, compression=compression)
    monkeypatch.setattr(mcap_storage, "MAX_CHUNK_BYTES", 1000)
    monkeypatch.setattr(mcap_storage, "_decompress", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(TransportError, match=r"declares \d+ bytes, expected 1000 at most"):
        list(read_frames(path))


@pytest.mark.parametrize("compression", CompressionType)
@pytest.mark.parametrize("size", [100, 100_000])
def test_chunk_that_is_larger_or_smaller_than_it_declares_is_damaged(tmp_path, compression, size):
    path = record_mcap(tmp_path / "drive.mcap", FRAMES, compression=compression, enable_crcs=False)
    content = bytearray(path.read_bytes())
    struct.pack_into("<Q", content, find_records(bytes(content), Opcode.CHUNK)[0][0] + 9 + 16, size)
    path.write_bytes(content)
    with pytest.raises(TransportError, match="damaged"):
        list(read_frames(path))


def test_unknown_compression_is_named(tmp_path):
    path = record_mcap(tmp_path / "drive.mcap", FRAMES, compression=CompressionType.LZ4)
    path.write_bytes(path.read_bytes().replace(b"\x03\x00\x00\x00lz4", b"\x03\x00\x00\x00br9"))
    with pytest.raises(TransportError, match="compressed with 'br9', expected zstd, lz4"):
        list(read_frames(path))


def test_many_messages_outside_of_chunks_take_little_memory(tmp_path):
    with McapRecording(tmp_path / "drive.mcap", use_chunking=False) as recording:
        channel = recording.open_topic("/imu", "my_msgs/msg/A", "int8 a\n")
        for time_ns in range(500):
            recording.add(channel, time_ns, b"\x00\x01\x00\x00\x07")
        recording.add_frames(recording.open_topic("/image"), FRAMES)
    file = McapFile(tmp_path / "drive.mcap")
    assert {topic.name: topic.message_count for topic in file.topics} == {"/imu": 500, "/image": 6}
    # Three numbers of 8 bytes for each.
    assert sum(len(entries) * entries.itemsize for entries in file._loose.values()) == 506 * 24


def test_chunks_without_index_are_counted_by_what_is_in_them(tmp_path):
    path = record_mcap(
        tmp_path / "drive.mcap", FRAMES, chunk_size=CHUNK_BYTES, index_types=IndexType.NONE
    )
    assert count_images(path) == 6

"""Read one MCAP file by its records, with or without indexes.

Indexes and summary are optional in MCAP, and a recorder that was killed leaves none. The records
themselves are walked (a head each, nothing is unpacked); an index only saves work when it agrees.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import SEEK_END, BytesIO
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

import lz4.frame
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, Schema, Statistics

from vl2_ros.errors import TransportError
from vl2_ros.recordings.recording_files import (
    MCAP_MAGIC,
    check_message_size,
    unzstd,
    warn_once,
)
from vl2_ros.recordings.stored_topic import StoredTopic
from vl2_ros.recordings.time_order import TimedMessage, merge_in_time

#: A chunk may not become larger than this, in bytes; it is looked at before it is opened.
MAX_CHUNK_BYTES = 256 << 20
#: Nor larger than this and a share of its file: what shrinks more is no recording of a camera.
FREE_CHUNK_BYTES = 22 << 20
_CHUNK_SHARE = 1.5
_RECORD = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQI")
_MESSAGE = struct.Struct("<HIQQ")
_MESSAGE_INDEX = struct.Struct("<HI")
_INDEX_ENTRY_BYTES = 16


@dataclass(frozen=True, slots=True)
class _Record:
    opcode: int
    offset: int
    length: int


@dataclass(slots=True)
class _Chunk:
    """A chunk with the number of messages of each channel, as far as that is known."""

    record: _Record
    start_ns: int
    counts: Counter[int] = field(default_factory=Counter)


def _make_places() -> array[int]:
    return array("Q")


class McapFile:
    """The topics and messages of one MCAP file.

    Args:
        path: the file; it is open only while something is read.

    Attributes:
        topics: one for each channel.
        start_ns: time of the first message, 0 without any.

    Raises:
        TransportError: if it is no MCAP file, or a chunk that must be looked into is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._chunks: list[_Chunk] = []
        # Messages outside of chunks, by channel: time, offset, length, and so on.
        self._loose: defaultdict[int, array[int]] = defaultdict(_make_places)
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._statistics: Statistics | None = None
        with path.open("rb") as file:
            self._read_records(file)
            self._complete_counts(file)
        counts: Counter[int] = Counter()
        for chunk in self._chunks:
            counts.update(chunk.counts)
        counts.update({channel: len(entries) // 3 for channel, entries in self._loose.items()})
        starts = [chunk.start_ns for chunk in self._chunks if chunk.counts]
        starts += [min(entries[::3]) for entries in self._loose.values()]
        self.start_ns = min(starts, default=0)
        self.topics = tuple(self._describe(channel, counts) for channel in self._channels.values())

    def read(self, keys: Collection[int]) -> Iterator[TimedMessage]:
        """Read the messages of some topics in the order of their time.

        Args:
            keys: of `topics`.
        """
        wanted = frozenset(keys)
        with self._path.open("rb") as file:
            chunks = [
                (chunk.start_ns, partial(_read_chunk, file, chunk.record, wanted))
                for chunk in self._chunks
                if wanted & chunk.counts.keys()
            ]
            loose = [
                (min(entries[::3]), partial(_read_loose, file, entries))
                for channel, entries in self._loose.items()
                if channel in wanted
            ]
            yield from merge_in_time([*chunks, *loose])

    def _read_records(self, file: BinaryIO) -> None:
        size = self._path.stat().st_size
        if file.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
            raise TransportError("it does not begin as an MCAP file does")
        reached = len(MCAP_MAGIC)
        for record in _walk(file, reached, size):
            if record.opcode == Opcode.FOOTER:
                return
            self._take_record(file, record)
            reached = record.offset + record.length
        file.seek(-len(MCAP_MAGIC), SEEK_END)
        if size > len(MCAP_MAGIC) and file.read() == MCAP_MAGIC:
            raise TransportError(f"its records do not fit together after byte {reached}")
        warn_once(
            f"{self._path} has no footer, its recording was cut short: what lies before byte "
            f"{reached} of {size} is read"
        )

    def _take_record(self, file: BinaryIO, record: _Record) -> None:
        if record.opcode == Opcode.CHUNK:
            (start_ns,) = struct.unpack("<Q", _read(file, record, 8))
            self._chunks.append(_Chunk(record, start_ns))
        elif record.opcode == Opcode.MESSAGE:
            channel, _, time_ns, _ = _MESSAGE.unpack(_read(file, record, _MESSAGE.size))
            self._loose[channel].extend((time_ns, record.offset, record.length))
        elif record.opcode == Opcode.MESSAGE_INDEX and self._chunks:
            channel, length = _MESSAGE_INDEX.unpack(_read(file, record, _MESSAGE_INDEX.size))
            self._chunks[-1].counts[channel] += length // _INDEX_ENTRY_BYTES
        elif record.opcode == Opcode.STATISTICS:
            self._statistics = Statistics.read(ReadDataStream(BytesIO(_read(file, record))))
        else:
            self._take_definition(record.opcode, partial(_read, file, record))

    def _take_definition(self, opcode: int, read: partial[bytes]) -> None:
        if opcode == Opcode.SCHEMA:
            schema = Schema.read(ReadDataStream(BytesIO(read())))
            self._schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel = Channel.read(ReadDataStream(BytesIO(read())))
            self._channels[channel.id] = channel

    def _complete_counts(self, file: BinaryIO) -> None:
        """Look into the chunks whose index is missing, and into all when an index is not right."""
        for chunk in self._chunks:
            if not (chunk.counts and self._channels.keys() >= chunk.counts.keys()):
                self._look_into(file, chunk)
        total = sum(chunk.counts.total() for chunk in self._chunks)
        total += sum(len(entries) // 3 for entries in self._loose.values())
        if self._statistics is not None and total != self._statistics.message_count:
            for chunk in self._chunks:
                self._look_into(file, chunk)

    def _look_into(self, file: BinaryIO, chunk: _Chunk) -> None:
        content = BytesIO(_open_chunk(file, chunk.record))
        chunk.counts.clear()
        for record in _walk_chunk(content):
            if record.opcode == Opcode.MESSAGE:
                channel, *_ = _MESSAGE.unpack(_read(content, record, _MESSAGE.size))
                chunk.counts[channel] += 1
            else:
                self._take_definition(record.opcode, partial(_read, content, record))

    def _describe(self, channel: Channel, totals: Counter[int]) -> StoredTopic:
        schema = self._schemas.get(channel.schema_id)
        return StoredTopic(
            key=channel.id,
            name=channel.topic,
            message_type=schema.name if schema else "",
            encoding=channel.message_encoding,
            # Bytes that are no text belong to another encoding than ROS 2's.
            definition=schema.data.decode("utf-8", "replace") if schema else "",
            definition_encoding=schema.encoding if schema else "",
            message_count=totals[channel.id],
        )


def _read_chunk(file: BinaryIO, record: _Record, wanted: frozenset[int]) -> Iterator[TimedMessage]:
    content = BytesIO(_open_chunk(file, record))
    # Offsets only: a chunk and a copy of its messages would take twice the memory.
    timed = [
        (_MESSAGE.unpack(_read(content, one, _MESSAGE.size))[2], one)
        for one in _walk_chunk(content)
        if one.opcode == Opcode.MESSAGE
        and int.from_bytes(_read(content, one, 2), "little") in wanted
    ]
    for _, one in sorted(timed, key=itemgetter(0)):
        yield _read_message(content, one)


def _read_loose(file: BinaryIO, entries: array[int]) -> Iterator[TimedMessage]:
    for index in sorted(range(0, len(entries), 3), key=entries.__getitem__):
        _, offset, length = entries[index : index + 3]
        yield _read_message(file, _Record(Opcode.MESSAGE, offset, length))


def _walk(file: BinaryIO, start: int, end: int) -> Iterator[_Record]:
    """Find the whole records between two offsets; stops where one is not whole."""
    offset = start
    while offset + _RECORD.size <= end:
        file.seek(offset)
        opcode, length = _RECORD.unpack(file.read(_RECORD.size))
        offset += _RECORD.size
        # No record has the number 0: a file that was made larger than what was written.
        if length > end - offset or not opcode:
            return
        yield _Record(opcode, offset, length)
        offset += length


def _walk_chunk(content: BytesIO) -> Iterator[_Record]:
    size, reached = len(content.getbuffer()), 0
    for record in _walk(content, 0, size):
        yield record
        reached = record.offset + record.length
    if reached != size:
        raise TransportError(f"a chunk ends within a record, at byte {reached} of {size}")


def _read(file: BinaryIO, record: _Record, length: int | None = None) -> bytes:
    """Read a record's content, or its beginning."""
    wanted = record.length if length is None else length
    if wanted > record.length:
        raise TransportError(
            f"the record at byte {record.offset} has {record.length} bytes, expected {wanted}"
        )
    file.seek(record.offset)
    return file.read(wanted)


def _read_message(file: BinaryIO, record: _Record) -> TimedMessage:
    check_message_size(record.length - _MESSAGE.size)
    content = _read(file, record)
    if record.length < _MESSAGE.size:
        raise TransportError(f"the message at byte {record.offset} is shorter than its head")
    channel, _, time_ns, _ = _MESSAGE.unpack_from(content)
    return TimedMessage(time_ns, channel, content[_MESSAGE.size :])


def _open_chunk(file: BinaryIO, record: _Record) -> bytes:
    """Return the records of a chunk, unpacked and checked.

    Raises:
        TransportError: if it would become too large, or is damaged or of an unknown kind.
    """
    most = min(MAX_CHUNK_BYTES, FREE_CHUNK_BYTES + int(_CHUNK_SHARE * file.seek(0, SEEK_END)))
    file.seek(record.offset)
    stream = ReadDataStream(file)
    _, _, size, checksum = _CHUNK.unpack(stream.read(_CHUNK.size))
    if size > most:
        raise TransportError(
            f"the chunk at byte {record.offset} declares {size} bytes, expected {most} at most in "
            "a file of this size; write the recording again with smaller chunks"
        )
    compression = stream.read_prefixed_string()
    stored = stream.read8()
    if stored != record.length - stream.count:
        raise TransportError(f"the chunk at byte {record.offset} has another length than it says")
    content = _decompress(stream.read(stored), compression, size)
    if len(content) != size or (checksum and zlib.crc32(content) != checksum):
        raise TransportError(
            f"the chunk at byte {record.offset} is damaged: it does not have the size or the "
            "checksum that it declares"
        )
    return content


def _decompress(data: bytes, compression: str, size: int) -> bytes:
    """Unpack at most one byte more than the declared size."""
    if compression == "zstd":
        return unzstd(data, size)
    if compression == "lz4":
        return bytes(lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size + 1))
    if compression:
        raise TransportError(
            f"a chunk is compressed with {compression!r}, expected zstd, lz4 or nothing; write the "
            "recording again with one of those"
        )
    return data

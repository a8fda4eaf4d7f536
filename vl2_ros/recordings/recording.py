"""Read a recording as a whole: its topics, and their messages in the order of time.

Several storage files are read as one, in whatever form they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from vl2_ros.errors import TransportError, VL2Error
from vl2_ros.recordings.mcap_storage import McapFile
from vl2_ros.recordings.recording_files import (
    BAG_FORMS,
    MCAP_MAGIC,
    SQLITE_MAGIC,
    find_storage_files,
    open_storage_files,
    read_magic,
    take_message,
)
from vl2_ros.recordings.recording_types import make_deserializer, name_type
from vl2_ros.recordings.sqlite_storage import SqliteFile
from vl2_ros.recordings.stored_topic import StorageFile, StoredTopic
from vl2_ros.recordings.time_order import merge_in_time

#: Encoding of ROS 2's messages.
CDR = "cdr"


@dataclass(frozen=True, slots=True)
class RecordedTopic:
    """One topic of a recording.

    Attributes:
        name: of the topic.
        message_type: full name, such as `sensor_msgs/msg/Image`.
        encoding: of the messages; only `cdr` can be read.
        message_count: in all files.
        sources: where it is stored: number of the file and topic in it.
    """

    name: str
    message_type: str
    encoding: str
    message_count: int
    sources: tuple[tuple[int, StoredTopic], ...]


class RecordedMessage(NamedTuple):
    """One message.

    Attributes:
        time_ns: when it was recorded, nanoseconds since the epoch.
        message: of the type library.
    """

    time_ns: int
    message: Any


@contextmanager
def open_recording(path: Path) -> Iterator[Recording]:
    """Open a recording; errors of the libraries behind it become ours, also while it is read.

    Args:
        path: rosbag2 folder or one storage file.

    Raises:
        TransportError: if it is missing, damaged or of another kind.
    """
    try:
        with open_storage_files(find_storage_files(path)) as files:
            yield Recording(tuple(_open_file(file) for file in files))
    except VL2Error as error:
        if str(path) in str(error):
            raise
        raise TransportError(_describe_damage(path, error)) from error
    except Exception as error:  # flipped bytes raised twelve kinds of error in the libraries
        raise TransportError(_describe_damage(path, error)) from error


class Recording:
    """The topics and messages of some storage files.

    Args:
        files: in the order in which they were written.

    Attributes:
        topics: in the order of their names.
    """

    def __init__(self, files: tuple[StorageFile, ...]) -> None:
        self._files = files
        grouped: dict[tuple[str, str, str], list[tuple[int, StoredTopic]]] = {}
        for number, file in enumerate(files):
            for topic in file.topics:
                kind = (topic.name, name_type(topic.message_type), topic.encoding)
                grouped.setdefault(kind, []).append((number, topic))
        self.topics = tuple(
            RecordedTopic(*kind, sum(topic.message_count for _, topic in stored), tuple(stored))
            for kind, stored in sorted(grouped.items())
        )

    def read(self, topic: RecordedTopic) -> Iterator[RecordedMessage]:
        """Read the messages of a topic in the order of their time.

        Raises:
            TransportError: if its type is not defined anywhere.
        """
        parts = (
            (self._files[number].start_ns, partial(self._read_file, number, topic))
            for number in sorted({number for number, _ in topic.sources})
        )
        return merge_in_time(parts)

    def _read_file(self, number: int, topic: RecordedTopic) -> Iterator[RecordedMessage]:
        deserializers = {
            stored.key: make_deserializer(
                topic.message_type, stored.definition, stored.definition_encoding
            )
            for where, stored in topic.sources
            if where == number
        }
        for time_ns, key, data in self._files[number].read(deserializers.keys()):
            yield RecordedMessage(time_ns, deserializers[key](take_message(data)))


def _open_file(path: Path) -> StorageFile:
    """Open a storage file; its first bytes give the format, not its name."""
    magic = read_magic(path)
    if magic.startswith(MCAP_MAGIC):
        return McapFile(path)
    if magic == SQLITE_MAGIC:
        return SqliteFile(path)
    raise TransportError(f"{path.name} begins neither as MCAP nor as SQLite does")


def _describe_damage(path: Path, error: Exception) -> str:
    reason = str(error) if isinstance(error, VL2Error) else f"{type(error).__name__}: {error}"
    return (
        f"{path} cannot be read as a bag, it is damaged, cut short or of another kind: {reason}; "
        f"expected {BAG_FORMS}"
    )

"""Read one .db3 file of rosbag2, including what a recorder left in its write-ahead log."""

from __future__ import annotations

import shutil
import sqlite3
import struct
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vl2_ros.errors import TransportError
from vl2_ros.recordings.recording_files import check_message_size
from vl2_ros.recordings.stored_topic import StoredTopic
from vl2_ros.recordings.time_order import TimedMessage

#: Files beside a database that was not closed: newer pages, or old ones to restore.
_JOURNALS = ("-wal", "-journal")
_HEADER_BYTES = 100


class SqliteFile:
    """The topics and messages of one .db3 file.

    Args:
        path: the file; it is open only while something is read.

    Attributes:
        topics: one for each row of its table of topics.
        start_ns: time of the first message, 0 without any.

    Raises:
        TransportError: if it has no tables of rosbag2.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _connect(path) as database:
            if not {"topics", "messages"} <= _list_columns(database, "sqlite_master", "name"):
                raise TransportError("the database has no tables of topics and messages")
            definitions = _read_definitions(database)
            query = "SELECT topic_id, COUNT(*), MIN(timestamp) FROM messages GROUP BY topic_id"
            rows = database.execute(query).fetchall()
            counts = {topic: count for topic, count, _ in rows}
            self.start_ns = min((start_ns for *_, start_ns in rows), default=0)
            query = "SELECT id, name, type, serialization_format FROM topics ORDER BY id"
            self.topics = tuple(
                # Versions before Iron have no definitions; ours are taken for what is well known.
                StoredTopic(
                    key,
                    name,
                    kind,
                    encoding or "cdr",
                    *definitions.get(kind, ("", "")),
                    counts.get(key, 0),
                )
                for key, name, kind, encoding in database.execute(query)
            )

    def read(self, keys: Collection[int]) -> Iterator[TimedMessage]:
        """Read the messages of some topics in the order of their time.

        Args:
            keys: of `topics`.
        """
        marks = ", ".join("?" for _ in keys)
        # Numbers are sorted, not messages: without its index SQLite would copy every one.
        order = (
            f"SELECT id, topic_id, timestamp, LENGTH(data) FROM messages "  # noqa: S608
            f"WHERE topic_id IN ({marks}) ORDER BY timestamp, id"
        )
        with _connect(self._path) as database:
            for row, key, time_ns, length in database.execute(order, tuple(keys)).fetchall():
                check_message_size(length)
                query = "SELECT data FROM messages WHERE id = ?"
                (data,) = database.execute(query, (row,)).fetchone()
                yield TimedMessage(time_ns, key, bytes(data))


@contextmanager
def _connect(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for reading, journals included; its messages are not changed."""
    journals = [journal for end in _JOURNALS if _holds_bytes(journal := Path(f"{path}{end}"))]
    if not journals:
        _require_all_pages(path)
        # Without journals only the file counts, and no process is writing.
        with closing(_open(path, "immutable=1")) as database:
            yield database
        return
    with ExitStack() as stack:
        try:
            database = stack.enter_context(closing(_open(path, "mode=ro")))
            database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            # A folder that cannot be written to, or a change to undo: both can be done in a copy.
            copy = _copy(path, journals, stack.enter_context(TemporaryDirectory(prefix="vl2_bag_")))
            database = stack.enter_context(closing(_open(copy, "mode=rw")))
        yield database


def _copy(path: Path, journals: Iterable[Path], folder: str) -> Path:
    for source in (path, *journals):
        shutil.copyfile(source, Path(folder) / source.name)
    return Path(folder) / path.name


def _open(path: Path, mode: str) -> sqlite3.Connection:
    # A reader may be begun in one thread and end in another.
    return sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, check_same_thread=False)


def _require_all_pages(path: Path) -> None:
    """Check that a database has the pages that it counts; SQLite takes missing ones for zeros.

    Raises:
        TransportError: if it was cut short.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        raise TransportError(f"the database has {len(header)} bytes, not even its header")
    (page_bytes,) = struct.unpack_from(">H", header, 16)
    changes, pages = struct.unpack_from(">II", header, 24)
    (counted_at,) = struct.unpack_from(">I", header, 92)
    # 1 stands for 65536; the number of pages counts only if the last writer has kept it.
    expected = pages * (65536 if page_bytes == 1 else page_bytes)
    size = path.stat().st_size
    if changes == counted_at and size < expected:
        raise TransportError(
            f"the database has {size} of {expected} bytes; what is left can be saved with "
            "`sqlite3 FILE .recover`"
        )


def _holds_bytes(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _list_columns(database: sqlite3.Connection, table: str, column: str) -> set[Any]:
    return {value for (value,) in database.execute(f"SELECT {column} FROM {table}")}  # noqa: S608


def _read_definitions(database: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Return text and encoding of the definitions by the name of their type."""
    if "message_definitions" not in _list_columns(database, "sqlite_master", "name"):
        return {}
    query = "SELECT topic_type, encoded_message_definition, encoding FROM message_definitions"
    return {kind: (text or "", encoding or "") for kind, text, encoding in database.execute(query)}

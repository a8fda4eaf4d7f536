"""Messages to one MCAP recording as ROS 2 writes it; knows topics and types, no meaning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mcap.writer import Writer
from rosbags.typesys.store import Typestore

from vl2_ros.errors import TransportError

#: Messages are held back until so many bytes are there. Small, so that a full disk is noticed soon.
_CHUNK_BYTES = 256 << 10


class RecordingWriter:
    """Adds messages to an open recording; a topic begins with its first message.

    Args:
        writer: the started MCAP writer.
        store: knows the definition and the bytes of every type that will be added.
    """

    def __init__(self, writer: Writer, store: Typestore) -> None:
        self._writer = writer
        self._store = store
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, tuple[str, int]] = {}

    def add(self, topic: str, message_type: str, message: Any, time_ns: int) -> None:
        """Write one message.

        Args:
            topic: absolute name.
            message_type: such as `sensor_msgs/msg/Image`, one for the whole topic.
            message: of the type library's classes, or with the same attributes.
            time_ns: when it was recorded, nanoseconds since the epoch.

        Raises:
            TransportError: if the topic began with another type.
        """
        if topic not in self._channels:
            self._channels[topic] = (message_type, self._open_channel(topic, message_type))
        known_type, channel = self._channels[topic]
        if known_type != message_type:
            raise TransportError(
                f"{topic} is recorded as {known_type}, expected no {message_type} on it"
            )
        data = bytes(self._store.serialize_cdr(message, message_type))
        self._writer.add_message(channel, time_ns, data, time_ns)

    def _open_channel(self, topic: str, message_type: str) -> int:
        if message_type not in self._schemas:
            definition, _ = self._store.generate_msgdef(message_type, ros_version=2)
            schema = self._writer.register_schema(message_type, "ros2msg", definition.encode())
            self._schemas[message_type] = schema
        return self._writer.register_channel(topic, "cdr", self._schemas[message_type])


@contextmanager
def write_recording(path: Path, store: Typestore) -> Iterator[RecordingWriter]:
    """Open a recording; the file appears when the body has ended without an error.

    Args:
        path: the .mcap file; an existing one is replaced.
        store: knows every type that will be written.

    Raises:
        TransportError: if the file cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            writer = Writer(file, chunk_size=_CHUNK_BYTES)
            writer.start(profile="ros2", library="vl2_ros")
            yield RecordingWriter(writer, store)
            writer.finish()  # type: ignore[no-untyped-call]
        part.replace(path)
    except OSError as error:
        raise TransportError(
            f"cannot write {path}: {error}; expected a name such as results.mcap in a folder that "
            "is there"
        ) from error
    finally:
        part.unlink(missing_ok=True)

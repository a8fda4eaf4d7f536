"""Write messages to an MCAP recording as ROS 2 does; knows topics and types, no meaning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mcap.writer import Writer
from rosbags.typesys.store import Typestore

from vl2_ros.errors import TransportError
from vl2_ros.node.transport import Qos

#: rosbag2's words for no limit of time.
_NO_LIMIT = "\n    sec: 9223372036\n    nsec: 854775807"

#: Bytes of messages that are buffered. Small, so that a full disk is noticed soon.
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

    def add(
        self,
        topic: str,
        message_type: str,
        message: Any,
        time_ns: int,
        qos: Qos = Qos(),  # noqa: B008 (frozen)
    ) -> None:
        """Write one message.

        Args:
            topic: absolute name.
            message_type: such as `sensor_msgs/msg/Image`, one for the whole topic.
            message: of the type library's classes, or with the same attributes.
            time_ns: when it was recorded, nanoseconds since the epoch.
            qos: with which `ros2 bag play` publishes the topic again; that of its first message
                counts.

        Raises:
            TransportError: if the topic began with another type.
        """
        if topic not in self._channels:
            channel = self._open_channel(topic, message_type, qos)
            self._channels[topic] = (message_type, channel)
        known_type, channel = self._channels[topic]
        if known_type != message_type:
            raise TransportError(
                f"{topic} is recorded as {known_type}, got a message of type {message_type}"
            )
        data = bytes(self._store.serialize_cdr(message, message_type))
        self._writer.add_message(channel, time_ns, data, time_ns)

    def _open_channel(self, topic: str, message_type: str, qos: Qos) -> int:
        if message_type not in self._schemas:
            definition, _ = self._store.generate_msgdef(message_type, ros_version=2)
            schema = self._writer.register_schema(message_type, "ros2msg", definition.encode())
            self._schemas[message_type] = schema
        metadata = {"offered_qos_profiles": describe_qos(qos)}
        return self._writer.register_channel(topic, "cdr", self._schemas[message_type], metadata)


def describe_qos(qos: Qos) -> str:
    """Return the YAML text of `offered_qos_profiles`, as rosbag2 of Jazzy and later writes it."""
    return f"""\
- history: keep_last
  depth: {qos.depth}
  reliability: {"reliable" if qos.reliable else "best_effort"}
  durability: {"transient_local" if qos.transient_local else "volatile"}
  deadline:{_NO_LIMIT}
  lifespan:{_NO_LIMIT}
  liveliness: automatic
  liveliness_lease_duration:{_NO_LIMIT}
  avoid_ros_namespace_conventions: false"""


def require_free(path: Path, *, overwrite: bool) -> None:
    """Check that writing a file would lose nothing, before work is spent on it.

    Raises:
        TransportError: if the file is there already and may not be overwritten.
    """
    if path.exists() and not overwrite:
        raise TransportError(
            f"{path} is there already; name another file, or add --force to replace it"
        )


@contextmanager
def write_recording(
    path: Path, store: Typestore, *, overwrite: bool = False
) -> Iterator[RecordingWriter]:
    """Open a recording; the file appears when the body has ended without an error.

    Args:
        path: the .mcap file.
        store: knows every type that will be written.
        overwrite: replace an existing file.

    Raises:
        TransportError: if the file is there already, or cannot be written.
    """
    require_free(path, overwrite=overwrite)
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

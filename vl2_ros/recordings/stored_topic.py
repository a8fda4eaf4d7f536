"""Describe the topics and files of a recording as stored."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from vl2_ros.recordings.time_order import TimedMessage


@dataclass(frozen=True, slots=True)
class StoredTopic:
    """One topic of one publisher in one storage file.

    Attributes:
        key: identifies it within its file.
        name: of the topic.
        message_type: such as `sensor_msgs/msg/Image`, or of another kind than ROS 2's.
        encoding: of the messages; ROS 2's is `cdr`.
        definition: text of the message type; empty when the file has none.
        definition_encoding: `ros2msg`, `ros2idl`, or of another kind.
        message_count: messages in the file.
    """

    key: int
    name: str
    message_type: str
    encoding: str
    definition: str
    definition_encoding: str
    message_count: int


class StorageFile(Protocol):
    """One file of a recording.

    Attributes:
        topics: its topics.
        start_ns: time of its first message, nanoseconds since the epoch.
    """

    topics: tuple[StoredTopic, ...]
    start_ns: int

    def read(self, keys: Collection[int]) -> Iterator[TimedMessage]:
        """Read the messages of some topics in the order of their time."""

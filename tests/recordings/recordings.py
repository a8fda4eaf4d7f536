"""Small camera recordings for tests of their readers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mcap.writer import Writer

from vl2_ros.recordings.bag import (
    COMPRESSED_IMAGE_TYPE,
    IMAGE_TYPE,
    PinholeCamera,
    write_camera_bag,
)
from vl2_ros.structures import Frame
from vl2_ros.transports.message_types import StoreMessageTypes

FRAME_HW = (16, 24)
CAMERA = PinholeCamera(FRAME_HW, fx=20.0, fy=20.0, cx=12.0, cy=8.0)
#: Begins at an odd time, so that nothing is right by being zero.
FIRST_STAMP_NS = 5_000_000_007
PERIOD_NS = 100_000_000
#: What rosbag2 before Iron writes.
_OLD_TABLES = """
CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
  serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);
CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL,
  timestamp INTEGER NOT NULL, data BLOB NOT NULL);
"""


def make_frames(count: int) -> list[Frame]:
    """Make distinguishable images, ten a second."""
    return [
        Frame(
            np.full((*FRAME_HW, 3), 20 * index, np.uint8),
            FIRST_STAMP_NS + index * PERIOD_NS,
            "camera_link",
        )
        for index in range(count)
    ]


def record_camera(path: Path, count: int = 4, *, compressed: bool = False) -> list[Frame]:
    """Write `count` images on /camera/image_raw, or its /compressed; return them."""
    frames = make_frames(count)
    write_camera_bag(path, [(frame, CAMERA) for frame in frames], compressed=compressed)
    return frames


def make_image(frame: Frame, *, compressed: bool = False) -> Any:
    """Make the message of a frame; a compressed one loses nothing."""
    make = StoreMessageTypes().make
    seconds, nanoseconds = divmod(frame.stamp_ns, 1_000_000_000)
    stamp = make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    header = make("std_msgs/msg/Header", stamp=stamp, frame_id=frame.frame_id)
    if compressed:
        png = cv2.imencode(".png", frame.rgb[..., ::-1])[1].reshape(-1)
        return make(COMPRESSED_IMAGE_TYPE, header=header, format="png", data=png)
    height, width = frame.frame_hw
    return make(
        IMAGE_TYPE,
        header=header,
        height=height,
        width=width,
        encoding="rgb8",
        step=3 * width,
        data=frame.rgb.reshape(-1),
    )


def write_bytes(message: Any) -> bytes:
    """Return a message as ROS 2 stores it."""
    return bytes(StoreMessageTypes().typestore.serialize_cdr(message, message.__msgtype__))


class McapRecording:
    """Writes an MCAP file in any form that the format allows.

    Args:
        path: the file.
        profile: of its header.
        form: options of the MCAP project's own writer.
    """

    def __init__(self, path: Path, *, profile: str = "ros2", **form: Any) -> None:
        self._file = path.open("wb")
        self._writer = Writer(self._file, **form)
        self._writer.start(profile, "test")

    def open_topic(
        self,
        topic: str,
        message_type: str = IMAGE_TYPE,
        definition: str | None = None,
        *,
        definition_encoding: str = "ros2msg",
        encoding: str = "cdr",
    ) -> int:
        """Begin a topic; without a definition it is ROS 2 Jazzy's."""
        if definition is None:
            store = StoreMessageTypes().typestore
            definition, _ = store.generate_msgdef(message_type, ros_version=2)
        schema = self._writer.register_schema(
            message_type, definition_encoding, definition.encode()
        )
        return self._writer.register_channel(topic, encoding, schema)

    def add(self, channel: int, time_ns: int, data: bytes) -> None:
        self._writer.add_message(channel, time_ns, data, time_ns)

    def add_frames(self, channel: int, frames: Iterable[Frame], *, compressed: bool = False):
        for frame in frames:
            self.add(channel, frame.stamp_ns, write_bytes(make_image(frame, compressed=compressed)))

    def close(self) -> None:
        self._writer.finish()
        self._file.close()

    def __enter__(self) -> McapRecording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def record_mcap(path: Path, frames: Sequence[Frame], topic: str = "/image", **form: Any) -> Path:
    """Write raw images on one topic as an MCAP of some form."""
    with McapRecording(path, **form) as recording:
        recording.add_frames(recording.open_topic(topic), frames)
    return path


def record_old_database(path: Path, frames: Sequence[Frame], topic: str = "/image") -> Path:
    """Write raw images as the .db3 of rosbag2 before Iron: no definitions, no index of times."""
    database = sqlite3.connect(path)
    database.executescript(_OLD_TABLES)
    database.execute(f"INSERT INTO topics VALUES (1, '{topic}', '{IMAGE_TYPE}', 'cdr', '')")
    add_to_database(database, frames)
    database.close()
    return path


def add_to_database(database: sqlite3.Connection, frames: Iterable[Frame]) -> None:
    """Add raw images to the first topic of a .db3."""
    rows = [(frame.stamp_ns, write_bytes(make_image(frame))) for frame in frames]
    query = "INSERT INTO messages(topic_id, timestamp, data) VALUES (1, ?, ?)"
    database.executemany(query, rows)
    database.commit()


def assert_same(frames: Sequence[Frame], read: Iterable[Frame]) -> None:
    """Compare pixels, stamps and frame_ids."""
    read = list(read)
    assert [frame.stamp_ns for frame in read] == [frame.stamp_ns for frame in frames]
    for frame, other in zip(frames, read, strict=True):
        np.testing.assert_array_equal(frame.rgb, other.rgb)
        assert frame.frame_id == other.frame_id

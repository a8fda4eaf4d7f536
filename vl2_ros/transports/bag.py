"""Recorded camera topics to pictures, and frames to a recording: rosbag2 folders, .mcap, .db3.

Knows messages and files; what is in the pictures is nobody's business here.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from vl2_ros.errors import TransportError, VL2Error
from vl2_ros.node.camera_image import is_depth, store_compressed_image, store_image
from vl2_ros.node.request import StoredImage
from vl2_ros.structures import Frame
from vl2_ros.transports.bag_limits import bound_reader, check_folder
from vl2_ros.transports.mcap_writer import write_recording
from vl2_ros.transports.message_types import StoreMessageTypes

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
IMAGE_TYPES = (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE)

_BAG_FORMS = "a rosbag2 folder (with metadata.yaml), a .mcap or a .db3 file"


@dataclass(frozen=True, slots=True)
class PinholeCamera:
    """What a CameraInfo without distortion says.

    Attributes:
        frame_hw: height and width of the picture, in pixels.
        fx: focal length along a row, in pixels.
        fy: focal length along a column, in pixels.
        cx: column of the optical axis, in pixels.
        cy: row of the optical axis, in pixels.
    """

    frame_hw: tuple[int, int]
    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True, slots=True)
class ImageTopic:
    """One recorded picture topic.

    Attributes:
        name: topic name.
        message_type: sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage.
        message_count: recorded messages.
    """

    name: str
    message_type: str
    message_count: int


def list_image_topics(path: Path | str) -> tuple[ImageTopic, ...]:
    """List the picture topics of a bag, depth topics included.

    Raises:
        TransportError: if the bag is missing or cannot be read.
    """
    with _open(path) as reader:
        return tuple(_image_topic(connection) for connection in _image_connections(reader))


def count_images(path: Path | str, *, topic: str | None = None) -> int:
    """Count the pictures of one camera; arguments and errors as of `read_images`."""
    path = Path(path)
    with _open(path) as reader:
        return sum(one.msgcount for one in _choose_connections(reader, path, topic))


@dataclass(frozen=True, slots=True, eq=False)
class RecordedImage:
    """One picture of a recording, not decoded yet.

    Attributes:
        topic: as recorded.
        message_type: sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage.
        time_ns: when it was recorded, nanoseconds since the epoch.
        message: as the bag library read it.
        image: the same with the stamp of its header; decodes when asked.
    """

    topic: str
    message_type: str
    time_ns: int
    message: Any
    image: StoredImage


def read_images(
    path: Path | str, *, topic: str | None = None
) -> Generator[RecordedImage, None, None]:
    """Read the pictures of one camera in the order of recording, without decoding them.

    Args:
        path: rosbag2 folder, .mcap or .db3 file.
        topic: which picture topic; None takes the only camera there is (depth is no camera).

    Raises:
        TransportError: if the bag cannot be read, or the topic is not there or not the only one.
    """
    path = Path(path)
    with _open(path) as reader:
        connections = _choose_connections(reader, path, topic)
        for connection, time_ns, raw in reader.messages(connections):
            message: Any = reader.deserialize(raw, connection.msgtype)
            store = store_image if connection.msgtype == IMAGE_TYPE else store_compressed_image
            yield RecordedImage(
                connection.topic, connection.msgtype, time_ns, message, store(message)
            )


def read_frames(path: Path | str, *, topic: str | None = None) -> Iterator[Frame]:
    """Read the pictures of one camera in the order of recording, decoded.

    Args:
        path: rosbag2 folder, .mcap or .db3 file.
        topic: which picture topic; None takes the only camera there is (depth is no camera).

    Yields:
        Frames with the stamp and frame_id of their header.

    Raises:
        TransportError: if the bag cannot be read, the topic is not there or not the only one, or
            a picture does not hold what its header says.
    """
    for index, recorded in enumerate(read_images(path, topic=topic)):
        try:
            frame = recorded.image.decode()
        except VL2Error as error:
            raise TransportError(f"{path}: message {index} of {recorded.topic}: {error}") from error
        yield frame


def write_camera_bag(
    path: Path,
    shots: Iterable[tuple[Frame, PinholeCamera]],
    *,
    topic: str = "/camera/image_raw",
    compressed: bool = True,
    quality: int = 90,
) -> int:
    """Record frames of one camera as an MCAP file with ROS 2 (Jazzy) messages.

    Each frame gives a picture (on `topic`, as JPEG on `topic`/compressed) and its `camera_info`.

    Args:
        path: the .mcap file; an existing one is replaced.
        shots: pictures with rising stamps, each with the intrinsics it was taken with.
        topic: name of the raw picture topic.
        compressed: write sensor_msgs/CompressedImage instead of sensor_msgs/Image.
        quality: of JPEG, 1 to 100.

    Returns:
        The number of frames written.

    Raises:
        TransportError: if a frame has another size than its camera, or the file cannot be written.
    """
    types = StoreMessageTypes()
    image_type = COMPRESSED_IMAGE_TYPE if compressed else IMAGE_TYPE
    image_topic = f"{topic}/compressed" if compressed else topic
    info_topic = f"{topic.rpartition('/')[0]}/camera_info"
    count = 0
    with write_recording(path, types.typestore) as recording:
        for count, (frame, camera) in enumerate(shots, start=1):
            if frame.frame_hw != camera.frame_hw:
                raise TransportError(
                    f"frame {count - 1} is {frame.frame_hw} (height, width), expected "
                    f"{camera.frame_hw} as its camera says"
                )
            image = _make_image(types, frame, jpeg_quality=quality if compressed else None)
            recording.add(image_topic, image_type, image, frame.stamp_ns)
            info = _make_camera_info(types, frame, camera)
            recording.add(info_topic, CAMERA_INFO_TYPE, info, frame.stamp_ns)
    return count


@contextmanager
def _open(path: Path | str) -> Iterator[AnyReader]:
    path = Path(path)
    if not path.exists():
        raise TransportError(f"{path} does not exist; expected {_BAG_FORMS}")
    if path.is_dir() and not (path / "metadata.yaml").exists():
        raise TransportError(f"{path} has no metadata.yaml; expected {_BAG_FORMS}")
    if path.is_file() and path.suffix not in (".mcap", ".db3"):
        raise TransportError(f"{path} is not a bag; expected {_BAG_FORMS}")
    try:
        if path.is_dir():
            check_folder(path)
        # Recordings before Jazzy may lack message definitions; the common ones never changed.
        with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
            bound_reader(reader)
            yield reader
    except VL2Error:
        raise
    except Exception as error:  # flipped bytes raised twelve kinds of error in the bag library
        raise TransportError(
            f"{path} cannot be read as a bag, it is damaged, cut short or of another kind: "
            f"{type(error).__name__}: {error}"
        ) from error


def _image_connections(reader: AnyReader) -> list[Connection]:
    return [one for one in reader.connections if one.msgtype in IMAGE_TYPES]


def _image_topic(connection: Connection) -> ImageTopic:
    return ImageTopic(connection.topic, connection.msgtype, connection.msgcount)


def _choose_connections(reader: AnyReader, path: Path, topic: str | None) -> list[Connection]:
    """Return the connections (one per publisher) of the asked or of the only camera topic."""
    candidates = _image_connections(reader)
    listing = ", ".join(sorted({f"{one.topic} ({one.msgtype})" for one in candidates}))
    if not candidates:
        others = ", ".join(sorted({one.topic for one in reader.connections})) or "none"
        raise TransportError(
            f"{path} has no picture topic; expected {' or '.join(IMAGE_TYPES)}, "
            f"its topics are: {others}"
        )
    if topic is not None:
        chosen = [one for one in candidates if one.topic == topic]
        if not chosen:
            raise TransportError(f"{path} has no picture topic {topic!r}; it has: {listing}")
        return chosen
    cameras = [one for one in candidates if one.msgcount and not _holds_depth(reader, one)]
    count = len({one.topic for one in cameras})
    if count != 1:
        raise TransportError(
            f"{path} has {count} cameras with pictures, expected one; name the topic: {listing}"
        )
    return cameras


def _holds_depth(reader: AnyReader, connection: Connection) -> bool:
    for _, _, raw in reader.messages([connection]):
        message: Any = reader.deserialize(raw, connection.msgtype)
        return is_depth(message.encoding if connection.msgtype == IMAGE_TYPE else message.format)
    return False


def _make_image(types: StoreMessageTypes, frame: Frame, *, jpeg_quality: int | None) -> Any:
    """Make a JPEG CompressedImage, or an rgb8 Image without a quality."""
    header = _make_header(types, frame)
    if jpeg_quality is None:
        height, width = frame.frame_hw
        return types.make(
            IMAGE_TYPE,
            header=header,
            height=height,
            width=width,
            encoding="rgb8",
            step=3 * width,
            data=np.ascontiguousarray(frame.rgb).reshape(-1),
        )
    bgr = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])
    return types.make(COMPRESSED_IMAGE_TYPE, header=header, format="jpeg", data=data.reshape(-1))


def _make_header(types: StoreMessageTypes, frame: Frame) -> Any:
    seconds, nanoseconds = divmod(frame.stamp_ns, 1_000_000_000)
    stamp = types.make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    return types.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame.frame_id)


def _make_camera_info(types: StoreMessageTypes, frame: Frame, camera: PinholeCamera) -> Any:
    k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return types.make(
        CAMERA_INFO_TYPE,
        header=_make_header(types, frame),
        height=camera.frame_hw[0],
        width=camera.frame_hw[1],
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array(k),
        r=np.eye(3).reshape(-1),
        p=np.array(p),
    )

"""Recorded camera topics to frames, and frames to a recording: rosbag2 folders, .mcap, .db3.

Knows messages and files; what is in the pictures is nobody's business here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mcap.writer import Writer
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from vl2_ros.errors import TransportError, VL2Error
from vl2_ros.structures import Frame
from vl2_ros.transports.camera_image import decode_compressed_image, decode_image, is_depth

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


def read_frames(path: Path | str, *, topic: str | None = None) -> Iterator[Frame]:
    """Read the pictures of one camera in the order of recording.

    Args:
        path: rosbag2 folder, .mcap or .db3 file.
        topic: which picture topic; None takes the only camera there is (depth is no camera).

    Yields:
        Frames with the stamp and frame_id of their header.

    Raises:
        TransportError: if the bag cannot be read, the topic is not there or not the only one, or
            a picture does not hold what its header says.
    """
    path = Path(path)
    with _open(path) as reader:
        connections = _choose_connections(reader, path, topic)
        name = connections[0].topic
        for index, (connection, _, raw) in enumerate(reader.messages(connections)):
            message = reader.deserialize(raw, connection.msgtype)
            try:
                yield _decode_frame(message, connection.msgtype)
            except VL2Error as error:
                raise TransportError(f"{path}: message {index} of {name}: {error}") from error


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
    store = get_typestore(Stores.ROS2_JAZZY)
    image_type = COMPRESSED_IMAGE_TYPE if compressed else IMAGE_TYPE
    image_topic = f"{topic}/compressed" if compressed else topic
    part = path.with_name(path.name + ".part")
    count = 0
    try:
        with part.open("wb") as file:
            writer = Writer(file)
            writer.start(profile="ros2", library="vl2_ros")
            image_channel = _add_channel(writer, store, image_topic, image_type)
            info_topic = f"{topic.rpartition('/')[0]}/camera_info"
            info_channel = _add_channel(writer, store, info_topic, CAMERA_INFO_TYPE)
            for count, (frame, camera) in enumerate(shots, start=1):
                if frame.frame_hw != camera.frame_hw:
                    raise TransportError(
                        f"frame {count - 1} is {frame.frame_hw} (height, width), expected "
                        f"{camera.frame_hw} as its camera says"
                    )
                image = _make_image(store, frame, quality if compressed else None)
                info = _make_camera_info(store, frame, camera)
                for channel, kind, message in (
                    (image_channel, image_type, image),
                    (info_channel, CAMERA_INFO_TYPE, info),
                ):
                    data = bytes(store.serialize_cdr(message, kind))
                    writer.add_message(channel, frame.stamp_ns, data, frame.stamp_ns)
            writer.finish()  # type: ignore[no-untyped-call]
        part.replace(path)
    except OSError as error:
        raise TransportError(f"cannot write {path}: {error}") from error
    finally:
        part.unlink(missing_ok=True)
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
        # Recordings before Jazzy may lack message definitions; the common ones never changed.
        with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
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


def _decode_frame(message: Any, message_type: str) -> Frame:
    if message_type == COMPRESSED_IMAGE_TYPE:
        rgb = decode_compressed_image(image_format=message.format, data=message.data)
    else:
        rgb = decode_image(
            height=message.height,
            width=message.width,
            encoding=message.encoding,
            step=message.step,
            is_bigendian=bool(message.is_bigendian),
            data=message.data,
        )
    stamp = message.header.stamp
    return Frame(rgb, stamp.sec * 1_000_000_000 + stamp.nanosec, message.header.frame_id)


def _add_channel(writer: Writer, store: Typestore, topic: str, message_type: str) -> int:
    definition, _ = store.generate_msgdef(message_type, ros_version=2)
    schema = writer.register_schema(message_type, "ros2msg", definition.encode())
    return writer.register_channel(topic, "cdr", schema)


def _make_header(store: Typestore, frame: Frame) -> Any:
    seconds, nanoseconds = divmod(frame.stamp_ns, 1_000_000_000)
    stamp = store.types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return store.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame.frame_id)


def _make_image(store: Typestore, frame: Frame, quality: int | None) -> Any:
    """Build a JPEG CompressedImage, or an rgb8 Image when `quality` is None."""
    header = _make_header(store, frame)
    if quality is None:
        height, width = frame.frame_hw
        return store.types[IMAGE_TYPE](
            header=header,
            height=height,
            width=width,
            encoding="rgb8",
            is_bigendian=0,
            step=3 * width,
            data=np.ascontiguousarray(frame.rgb).reshape(-1),
        )
    bgr = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return store.types[COMPRESSED_IMAGE_TYPE](header=header, format="jpeg", data=data.reshape(-1))


def _make_camera_info(store: Typestore, frame: Frame, camera: PinholeCamera) -> Any:
    k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    region = store.types["sensor_msgs/msg/RegionOfInterest"](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return store.types[CAMERA_INFO_TYPE](
        header=_make_header(store, frame),
        height=camera.frame_hw[0],
        width=camera.frame_hw[1],
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array(k),
        r=np.eye(3).reshape(-1),
        p=np.array(p),
        binning_x=0,
        binning_y=0,
        roi=region,
    )

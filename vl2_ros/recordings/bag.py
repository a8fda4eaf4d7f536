"""Read images from recordings (rosbag2 folders, .mcap, .db3), and record frames as MCAP.

Knows messages and files, not what the images show.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vl2_ros.errors import TransportError, VL2Error
from vl2_ros.node.cameras.camera_image import store_compressed_image, store_image
from vl2_ros.node.cameras.encodings import is_depth
from vl2_ros.node.request import StoredImage
from vl2_ros.recordings.mcap_writer import write_recording
from vl2_ros.recordings.recording import CDR, RecordedTopic, Recording, open_recording
from vl2_ros.structures import Frame
from vl2_ros.transports.message_types import StoreMessageTypes

IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
IMAGE_TYPES = (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE)
_COMPRESSED = "/compressed"


@dataclass(frozen=True, slots=True)
class PinholeCamera:
    """Intrinsics of a camera without distortion, as in a CameraInfo.

    Attributes:
        frame_hw: height and width of the image, in pixels.
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
    """One recorded image topic.

    Attributes:
        name: topic name.
        message_type: sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage.
        message_count: recorded messages.
    """

    name: str
    message_type: str
    message_count: int


def list_image_topics(path: Path | str) -> tuple[ImageTopic, ...]:
    """List the image topics of a bag, depth topics included.

    Raises:
        TransportError: if the bag is missing or cannot be read.
    """
    with open_recording(Path(path)) as recording:
        return tuple(
            ImageTopic(one.name, one.message_type, one.message_count)
            for one in _list_images(recording)
        )


def count_images(path: Path | str, *, topic: str | None = None) -> int:
    """Count the images of one camera; arguments and errors as of `read_images`."""
    path = Path(path)
    with open_recording(path) as recording:
        return _choose_topic(recording, path, topic).message_count


@dataclass(frozen=True, slots=True, eq=False)
class RecordedImage:
    """One image of a recording, not decoded yet.

    Attributes:
        topic: as recorded.
        message_type: sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage.
        time_ns: when it was recorded, nanoseconds since the epoch.
        message: as the bag library read it.
        image: the same with the stamp of its header; decoded on request.
    """

    topic: str
    message_type: str
    time_ns: int
    message: Any
    image: StoredImage


def read_images(
    path: Path | str, *, topic: str | None = None
) -> Generator[RecordedImage, None, None]:
    """Read the images of one camera in the order of recording, without decoding them.

    Args:
        path: rosbag2 folder, .mcap or .db3 file.
        topic: which image topic; None takes the only camera there is (depth is no camera).

    Raises:
        TransportError: if the bag cannot be read, or the topic is not there or not the only one.
    """
    path = Path(path)
    with open_recording(path) as recording:
        chosen = _choose_topic(recording, path, topic)
        is_empty = True
        for time_ns, message in recording.read(chosen):
            is_empty = False
            image = _store(chosen.message_type, message)
            yield RecordedImage(chosen.name, chosen.message_type, time_ns, message, image)
        if is_empty:
            raise TransportError(
                f"{path} gave none of the {chosen.message_count} images of {chosen.name}; check it "
                "with other tools, such as `mcap doctor` or `ros2 bag info`"
            )


def raise_stamps(images: Iterable[RecordedImage]) -> Iterator[RecordedImage]:
    """Give images rising stamps, so that a stamp names one image.

    Cameras exist whose stamps stay zero or repeat. A stamp that is not later than the one before
    becomes that and a nanosecond; rising ones stay as they are.
    """
    previous_ns = None
    for recorded in images:
        stamp_ns = recorded.image.stamp_ns
        if previous_ns is not None and stamp_ns <= previous_ns:
            stamp_ns = previous_ns + 1
            recorded = _change_stamp(recorded, stamp_ns)
        previous_ns = stamp_ns
        yield recorded


def read_frames(path: Path | str, *, topic: str | None = None) -> Iterator[Frame]:
    """Read the images of one camera in the order of recording, decoded.

    Args:
        path: rosbag2 folder, .mcap or .db3 file.
        topic: which image topic; None takes the only camera there is (depth is no camera).

    Yields:
        Frames with the stamp and frame_id of their header.

    Raises:
        TransportError: if the bag cannot be read, the topic is not there or not the only one, or
            an image does not match its header.
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
    overwrite: bool = False,
) -> int:
    """Record frames of one camera as an MCAP file with ROS 2 (Jazzy) messages.

    Each frame gives an image (on `topic`, as JPEG on `topic`/compressed) and its `camera_info`.

    Args:
        path: the .mcap file.
        shots: images with rising stamps, each with the intrinsics it was taken with.
        topic: name of the raw image topic.
        compressed: write sensor_msgs/CompressedImage instead of sensor_msgs/Image.
        quality: of JPEG, 1 to 100.
        overwrite: replace an existing file.

    Returns:
        The number of frames written.

    Raises:
        TransportError: if a frame has another size than its camera, or the file is there already
            or cannot be written.
    """
    types = StoreMessageTypes()
    image_type = COMPRESSED_IMAGE_TYPE if compressed else IMAGE_TYPE
    image_topic = f"{topic}/compressed" if compressed else topic
    info_topic = f"{topic.rpartition('/')[0]}/camera_info"
    count = 0
    with write_recording(path, types.typestore, overwrite=overwrite) as recording:
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


def _change_stamp(recorded: RecordedImage, stamp_ns: int) -> RecordedImage:
    header = recorded.message.header
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    stamp = replace(header.stamp, sec=seconds, nanosec=nanoseconds)
    message = replace(recorded.message, header=replace(header, stamp=stamp))
    return replace(recorded, message=message, image=_store(recorded.message_type, message))


def _store(message_type: str, message: Any) -> StoredImage:
    return (store_image if message_type == IMAGE_TYPE else store_compressed_image)(message)


def _list_images(recording: Recording) -> list[RecordedTopic]:
    return [
        one for one in recording.topics if one.message_type in IMAGE_TYPES and one.encoding == CDR
    ]


def _choose_topic(recording: Recording, path: Path, topic: str | None) -> RecordedTopic:
    """Return the requested camera, or the only one.

    Raises:
        TransportError: if it is not there, has no image, or is not the only one.
    """
    candidates = _list_images(recording)
    listing = _list_names(candidates)
    if not candidates:
        raise TransportError(
            f"{path} has no image topic; expected {' or '.join(IMAGE_TYPES)} in {CDR}, "
            f"its topics are: {_list_names(recording.topics) or 'none'}"
        )
    if topic is not None:
        # A camera's name stands for its compressed topic where that is the recorded one.
        for name in (topic, topic + _COMPRESSED):
            chosen = [one for one in candidates if one.name == name]
            if chosen:
                return _require_images(path, _take_fullest(chosen), listing)
        raise TransportError(f"{path} has no image topic {topic!r}; it has: {listing}")
    cameras: dict[str, list[RecordedTopic]] = {}
    for one in candidates:
        if one.message_count and not _holds_depth(recording, one):
            cameras.setdefault(_name_camera(one), []).append(one)
    if len(cameras) != 1:
        raise TransportError(
            f"{path} has {len(cameras)} cameras with images, expected one; name the topic: "
            f"{listing}"
        )
    return _take_fullest(*cameras.values())


def _list_names(topics: Iterable[RecordedTopic]) -> str:
    """List topics with their types; where messages are encoded otherwise, with that."""
    return ", ".join(
        f"{one.name} ({one.message_type}{'' if one.encoding == CDR else f', {one.encoding}'})"
        for one in topics
    )


def _require_images(path: Path, chosen: RecordedTopic, listing: str) -> RecordedTopic:
    if not chosen.message_count:
        raise TransportError(f"{path} has no image on {chosen.name}; it has the topics: {listing}")
    return chosen


def _name_camera(topic: RecordedTopic) -> str:
    """Return the name that a camera's raw and its compressed topic share."""
    is_compressed = topic.message_type == COMPRESSED_IMAGE_TYPE
    return topic.name.removesuffix(_COMPRESSED) if is_compressed else topic.name


def _take_fullest(topics: list[RecordedTopic]) -> RecordedTopic:
    """Return the topic with the most images; the raw one where both have as many."""
    return max(topics, key=lambda one: (one.message_count, one.message_type == IMAGE_TYPE))


def _holds_depth(recording: Recording, topic: RecordedTopic) -> bool:
    for _, message in recording.read(topic):
        return is_depth(message.encoding if topic.message_type == IMAGE_TYPE else message.format)
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

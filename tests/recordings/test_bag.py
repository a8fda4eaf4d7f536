from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from vl2_ros.errors import TransportError
from vl2_ros.recordings.bag import (
    CAMERA_INFO_TYPE,
    COMPRESSED_IMAGE_TYPE,
    IMAGE_TYPE,
    PinholeCamera,
    list_image_topics,
    read_frames,
    write_camera_bag,
)
from vl2_ros.structures import Frame

STORE = get_typestore(Stores.ROS2_JAZZY)
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
CAMERA = PinholeCamera((48, 64), fx=60.0, fy=61.0, cx=32.0, cy=24.0)


def make_frames(count: int = 3, frame_hw: tuple[int, int] = (48, 64)) -> list[Frame]:
    rng = np.random.default_rng(0)
    frames = []
    for index in range(count):
        small = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
        rgb = cv2.resize(small, frame_hw[::-1], interpolation=cv2.INTER_LINEAR)
        frames.append(Frame(rgb, 1_700_000_000_000_000_123 + index * 100_000_000, "camera_link"))
    return frames


def make_image(frame: Frame, encoding: str = "rgb8"):
    header = STORE.types["std_msgs/msg/Header"](
        stamp=STORE.types["builtin_interfaces/msg/Time"](
            sec=frame.stamp_ns // 10**9, nanosec=frame.stamp_ns % 10**9
        ),
        frame_id=frame.frame_id,
    )
    rgb = frame.rgb if encoding == "rgb8" else frame.rgb[..., ::-1]
    return STORE.types[IMAGE_TYPE](
        header=header,
        height=rgb.shape[0],
        width=rgb.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=3 * rgb.shape[1],
        data=np.ascontiguousarray(rgb).reshape(-1),
    )


def make_depth(frame: Frame):
    height, width = frame.frame_hw
    data = np.zeros(height * width * 2, np.uint8)
    return replace(make_image(frame), encoding="16UC1", step=2 * width, data=data)


def write_bag(
    path: Path,
    topics: dict[str, list],
    *,
    storage: StoragePlugin = StoragePlugin.MCAP,
    compress: bool = False,
    message_type: str = IMAGE_TYPE,
) -> Path:
    """Write a rosbag2 folder with the bag library's own writer."""
    writer = Writer(path, version=9, storage_plugin=storage)
    if compress:
        mode = CompressionMode.STORAGE if storage is StoragePlugin.MCAP else CompressionMode.FILE
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        for topic, messages in topics.items():
            connection = writer.add_connection(topic, message_type, typestore=STORE)
            for index, message in enumerate(messages):
                data = STORE.serialize_cdr(message, message_type)
                writer.write(connection, 1000 + index, data)
    return path


def assert_same(frames: list[Frame], read: list[Frame]) -> None:
    assert len(frames) == len(read)
    for frame, other in zip(frames, read, strict=True):
        np.testing.assert_array_equal(frame.rgb, other.rgb)
        assert (frame.stamp_ns, frame.frame_id) == (other.stamp_ns, other.frame_id)


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_folder_gives_its_images(tmp_path, storage, compress, encoding):
    frames = make_frames()
    messages = [make_image(frame, encoding) for frame in frames]
    bag = write_bag(tmp_path / "bag", {"/image": messages}, storage=storage, compress=compress)
    assert_same(frames, list(read_frames(bag)))


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_bare_file_without_metadata_gives_its_images(tmp_path, storage):
    frames = make_frames()
    bag = write_bag(tmp_path / "bag", {"/image": [make_image(f) for f in frames]}, storage=storage)
    (source,) = [path for path in bag.iterdir() if path.suffix in (".mcap", ".db3")]
    alone = tmp_path / f"alone{source.suffix}"
    shutil.copy(source, alone)
    assert_same(frames, list(read_frames(alone)))


def test_written_raw_bag_reads_back_exactly(tmp_path):
    frames = make_frames()
    path = tmp_path / "raw.mcap"
    written = write_camera_bag(path, [(frame, CAMERA) for frame in frames], compressed=False)
    assert written == len(frames)
    assert_same(frames, list(read_frames(path)))


def test_written_jpeg_bag_reads_back_close(tmp_path):
    frames = make_frames()
    path = tmp_path / "jpeg.mcap"
    write_camera_bag(path, [(frame, CAMERA) for frame in frames], quality=95)
    (topic,) = list_image_topics(path)
    assert topic.name == "/camera/image_raw/compressed"
    assert (topic.message_type, topic.message_count) == (COMPRESSED_IMAGE_TYPE, 3)
    for frame, other in zip(frames, read_frames(path), strict=True):
        assert np.abs(frame.rgb.astype(int) - other.rgb).mean() < 2
        assert (frame.stamp_ns, frame.frame_id) == (other.stamp_ns, other.frame_id)


def test_written_camera_info_has_the_intrinsics(tmp_path):
    path = tmp_path / "jpeg.mcap"
    write_camera_bag(path, [(frame, CAMERA) for frame in make_frames()])
    with AnyReader([path]) as reader:
        (connection,) = [one for one in reader.connections if one.msgtype == CAMERA_INFO_TYPE]
        assert connection.topic == "/camera/camera_info"
        messages = [
            reader.deserialize(raw, one.msgtype) for one, _, raw in reader.messages([connection])
        ]
    assert len(messages) == 3
    assert (messages[0].height, messages[0].width) == (48, 64)
    np.testing.assert_array_equal(messages[0].k, [60, 0, 32, 0, 61, 24, 0, 0, 1])
    np.testing.assert_array_equal(messages[0].p, [60, 0, 32, 0, 0, 61, 24, 0, 0, 0, 1, 0])
    assert messages[0].header.frame_id == "camera_link"


def test_written_file_is_mcap_as_other_readers_know_it(tmp_path):
    """Read with the MCAP project's own reader, checksums on, as viewers do."""
    path = tmp_path / "jpeg.mcap"
    frames = make_frames()
    write_camera_bag(path, [(frame, CAMERA) for frame in frames])
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
        assert {s.name: s.encoding for s in summary.schemas.values()} == {
            COMPRESSED_IMAGE_TYPE: "ros2msg",
            CAMERA_INFO_TYPE: "ros2msg",
        }
        assert {c.message_encoding for c in summary.channels.values()} == {"cdr"}
        stamps = [message.log_time for _, _, message in reader.iter_messages()]
    assert stamps == sorted(stamp for frame in frames for stamp in [frame.stamp_ns] * 2)


def test_depth_topic_is_not_taken_for_a_second_camera(tmp_path):
    frames = make_frames()
    bag = write_bag(
        tmp_path / "bag",
        {"/depth": [make_depth(f) for f in frames], "/color": [make_image(f) for f in frames]},
    )
    assert_same(frames, list(read_frames(bag)))


@pytest.mark.parametrize("said", ["16UC1; png compressed ", "16UC1; compressedDepth png"])
def test_compressed_depth_is_not_taken_for_a_second_camera(tmp_path, said):
    frames = make_frames()

    def compress(frame: Frame, values: np.ndarray, image_format: str):
        data = cv2.imencode(".png", values)[1].reshape(-1)
        header = make_image(frame).header
        return STORE.types[COMPRESSED_TYPE](header=header, format=image_format, data=data)

    depth = [compress(f, f.rgb[..., 0].astype(np.uint16), said) for f in frames]
    color = [compress(f, f.rgb[..., ::-1], "rgb8; png compressed bgr8") for f in frames]
    topics = {"/depth/compressed": depth, "/color/compressed": color}
    bag = write_bag(tmp_path / "bag", topics, message_type=COMPRESSED_TYPE)
    assert_same(frames, list(read_frames(bag)))


def test_two_cameras_need_a_name(tmp_path):
    left, right = make_frames(2), make_frames(3)
    bag = write_bag(
        tmp_path / "bag",
        {"/left": [make_image(f) for f in left], "/right": [make_image(f) for f in right]},
    )
    with pytest.raises(TransportError, match=r"2 cameras.*/left.*/right"):
        list(read_frames(bag))
    assert_same(left, list(read_frames(bag, topic="/left")))
    assert_same(right, list(read_frames(bag, topic="/right")))


def test_two_publishers_of_one_topic_are_one_camera(tmp_path):
    frames = make_frames(2)
    path = tmp_path / "bag"
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        first = writer.add_connection("/image", IMAGE_TYPE, typestore=STORE)
        for index, frame in enumerate(frames):
            writer.write(first, index, STORE.serialize_cdr(make_image(frame), IMAGE_TYPE))
        writer.add_connection("/unused", IMAGE_TYPE, typestore=STORE)
    assert_same(frames, list(read_frames(path)))


def test_unknown_topic_lists_the_known(tmp_path):
    bag = write_bag(tmp_path / "bag", {"/image": [make_image(f) for f in make_frames()]})
    with pytest.raises(TransportError, match=r"'/other'.*/image \(sensor_msgs/msg/Image\)"):
        list(read_frames(bag, topic="/other"))


def test_bag_without_images_lists_its_topics(tmp_path):
    text = STORE.types["std_msgs/msg/String"](data="hello")
    bag = write_bag(tmp_path / "bag", {"/chatter": [text]}, message_type="std_msgs/msg/String")
    with pytest.raises(TransportError, match=r"no image topic.*sensor_msgs.*/chatter"):
        list(read_frames(bag))
    assert list_image_topics(bag) == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"encoding": "nonsense"}, "'nonsense' is not known"),
        ({"step": 10}, "step is 10, expected at least 192"),
        ({"height": 40}, "expected 7680"),
        ({"height": 0, "width": 0, "step": 0}, "no pixel"),
    ],
)
def test_broken_image_names_topic_message_and_reason(tmp_path, changes, expected):
    good, bad = make_frames(2)
    bag = write_bag(
        tmp_path / "bag", {"/image": [make_image(good), replace(make_image(bad), **changes)]}
    )
    frames = read_frames(bag)
    next(frames)
    with pytest.raises(TransportError, match=f"message 1 of /image.*{expected}"):
        next(frames)


def test_missing_path_says_what_is_expected(tmp_path):
    with pytest.raises(TransportError, match=r"does not exist; expected .*\.mcap"):
        list(read_frames(tmp_path / "nothing.mcap"))


def test_folder_without_metadata_is_named(tmp_path):
    with pytest.raises(TransportError, match=r"metadata\.yaml"):
        list(read_frames(tmp_path))


def test_image_file_is_not_a_bag(tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(b"\x89PNG")
    with pytest.raises(TransportError, match="is not a bag"):
        list(read_frames(path))


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
@pytest.mark.parametrize("content", [b"", b"rubbish", bytes(5000)])
def test_rubbish_under_a_bag_name_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"bag{suffix}"
    path.write_bytes(content)
    with pytest.raises(TransportError, match=r"cannot be read as a bag|no image topic"):
        list(read_frames(path))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_recording_cut_short_fails_clearly_or_gives_whole_images(tmp_path, storage, share):
    frames = make_frames(8)
    bag = write_bag(tmp_path / "bag", {"/image": [make_image(f) for f in frames]}, storage=storage)
    (source,) = [path for path in bag.iterdir() if path.suffix in (".mcap", ".db3")]
    content = source.read_bytes()
    cut = tmp_path / f"cut{source.suffix}"
    cut.write_bytes(content[: int(len(content) * share)])
    read: list[Frame] = []
    try:
        for frame in read_frames(cut):
            read.append(frame)
    except TransportError as error:
        assert str(cut) in str(error)
    assert_same(frames[: len(read)], read)


def test_database_of_another_program_is_refused(tmp_path):
    path = tmp_path / "other.db3"
    with sqlite3.connect(path) as database:
        database.execute("create table notes (text)")
    with pytest.raises(TransportError, match="cannot be read as a bag"):
        list(read_frames(path))


def test_frame_of_another_size_than_its_camera_leaves_no_file(tmp_path):
    path = tmp_path / "bag.mcap"
    wrong = make_frames(1, frame_hw=(10, 12))[0]
    with pytest.raises(TransportError, match=r"frame 0 is \(10, 12\).*expected \(48, 64\)"):
        write_camera_bag(path, [(wrong, CAMERA)])
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_overwritten_only_when_asked(tmp_path):
    path = tmp_path / "bag.mcap"
    shots = [(frame, CAMERA) for frame in make_frames(2)]
    write_camera_bag(path, shots)
    with pytest.raises(TransportError, match="is there already; name another file, or add --force"):
        write_camera_bag(path, shots[:1])
    assert len(list(read_frames(path))) == 2
    write_camera_bag(path, shots[:1], overwrite=True)
    assert len(list(read_frames(path))) == 1


def test_folder_that_is_not_there_cannot_be_written_to(tmp_path):
    with pytest.raises(TransportError, match="cannot write"):
        write_camera_bag(tmp_path / "missing" / "bag.mcap", [])


def test_reading_stops_when_the_reader_has_enough(tmp_path):
    path = tmp_path / "bag.mcap"
    write_camera_bag(path, [(frame, CAMERA) for frame in make_frames(5)])
    frames = read_frames(path)
    next(frames)
    frames.close()
    path.unlink()


@pytest.mark.parametrize("seed", range(5))
def test_flipped_bytes_raise_no_foreign_error(tmp_path, seed):
    path = tmp_path / "bag.mcap"
    write_camera_bag(path, [(frame, CAMERA) for frame in make_frames(2)])
    content = path.read_bytes()
    rng = np.random.default_rng(seed)
    for _ in range(40):
        damaged = bytearray(content)
        for place in rng.integers(len(damaged), size=4):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            frames = list(read_frames(path))
        except TransportError as error:
            assert str(path) in str(error)
        else:
            assert all(isinstance(frame, Frame) for frame in frames)

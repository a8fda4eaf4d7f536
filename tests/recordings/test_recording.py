"""Recordings as found in practice: written, edited or left unfinished by other software."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
import zstandard
from mcap.writer import CompressionType, IndexType
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from tests.recordings.recordings import (
    McapRecording,
    assert_same,
    make_frames,
    make_image,
    record_mcap,
    record_old_database,
    write_bytes,
)
from vl2_ros.errors import TransportError
from vl2_ros.recordings import recording_files
from vl2_ros.recordings.bag import (
    COMPRESSED_IMAGE_TYPE,
    IMAGE_TYPE,
    count_images,
    list_image_topics,
    read_frames,
)

FRAMES = make_frames(3)

# ---- the table: index forms x compression, storage x metadata damage ----

INDEX_FORMS = {
    "complete": {},
    "no statistics": {"use_statistics": False},
    "no summary offsets": {"use_summary_offsets": False},
    "no repeated channels": {"repeat_channels": False, "repeat_schemas": False},
    "no chunks": {"use_chunking": False},
    "no chunk index": {"index_types": IndexType.MESSAGE},
    "no message index": {"index_types": IndexType.CHUNK},
    "no index, no summary": {
        "index_types": IndexType.NONE,
        "use_statistics": False,
        "use_summary_offsets": False,
        "repeat_channels": False,
        "repeat_schemas": False,
    },
    "no checksums": {"enable_crcs": False},
}
CUTS = {"whole": 3, "cut before footer": 3, "cut in an image": 2}
#: One image fits a chunk.
CHUNK_BYTES = 600


def cut(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "cut before footer":
        path.write_bytes(content[:-40])
    elif how == "cut in an image":
        # The time is first found in the head of its chunk or message.
        path.write_bytes(content[: content.index(FRAMES[2].stamp_ns.to_bytes(8, "little")) + 20])


@pytest.mark.parametrize("how", CUTS)
def test_every_form_of_mcap_gives_its_images(tmp_path, capsys, how):
    rows = [f"{'MCAP, ' + how:24}" + "".join(f"{one.name:>8}" for one in CompressionType)]
    failed = []
    for name, form in INDEX_FORMS.items():
        cells = []
        for compression in CompressionType:
            path = tmp_path / f"{name}_{compression.name}.mcap"
            record_mcap(path, FRAMES, compression=compression, chunk_size=CHUNK_BYTES, **form)
            cut(path, how)
            frames = list(read_frames(path))
            assert_same(FRAMES[: len(frames)], frames)
            cells.append(len(frames))
            if (len(frames), count_images(path)) != (CUTS[how],) * 2:
                failed.append((name, compression.name))
        rows.append(f"  {name:22}" + "".join(f"{cell:8}" for cell in cells))
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(rows) + "\n")
    assert failed == []


def write_folder(path: Path, plugin: StoragePlugin, mode: CompressionMode | None = None) -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    writer = Writer(path, version=9, storage_plugin=plugin)
    if mode is not None:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/image", IMAGE_TYPE, typestore=store)
        for frame in FRAMES:
            writer.write(connection, frame.stamp_ns, write_bytes(make_image(frame)))


def write_split(path: Path, record: Callable[..., Path], suffix: str) -> None:
    """Write a file for each image; the last is called 10 and lies between 0 and 9 by its name."""
    path.mkdir()
    names = [f"bag_{number}{suffix}" for number in (0, 9, 10)]
    for name, frame in zip(names, FRAMES, strict=True):
        record(path / name, [frame])
    write_metadata(path, {"relative_file_paths": names, "storage_identifier": suffix})


def write_metadata(folder: Path, information: dict) -> None:
    document = {"rosbag2_bagfile_information": information}
    (folder / "metadata.yaml").write_text(yaml.safe_dump(document))


STORAGES = {
    "mcap": lambda path: write_folder(path, StoragePlugin.MCAP),
    "mcap, chunks zstd": lambda p: write_folder(p, StoragePlugin.MCAP, CompressionMode.STORAGE),
    "mcap, messages zstd": lambda p: write_folder(p, StoragePlugin.MCAP, CompressionMode.MESSAGE),
    "mcap, file zstd": lambda path: write_folder(path, StoragePlugin.MCAP, CompressionMode.FILE),
    "mcap, split": lambda path: write_split(path, record_mcap, ".mcap"),
    "db3": lambda path: write_folder(path, StoragePlugin.SQLITE3),
    "db3, messages zstd": lambda p: write_folder(p, StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
    "db3, file zstd": lambda path: write_folder(path, StoragePlugin.SQLITE3, CompressionMode.FILE),
    "db3 of Humble, split": lambda path: write_split(path, record_old_database, ".db3"),
}
HUMBLE_QOS = "- history: 1\n  depth: 10\n  reliability: 1\n  durability: 2\n  deadline: {sec: 0}"


def change(folder: Path, **changes) -> None:
    document = yaml.safe_load((folder / "metadata.yaml").read_text())
    write_metadata(folder, {**document["rosbag2_bagfile_information"], **changes})


def change_topics(folder: Path, *, count: int, **changes) -> None:
    metadata = {"name": "/image", "type": IMAGE_TYPE, "serialization_format": "cdr", **changes}
    change(folder, topics_with_message_count=[{"topic_metadata": metadata, "message_count": count}])


DAMAGES = {
    "as written": lambda folder: None,
    "missing": lambda folder: (folder / "metadata.yaml").unlink(),
    "no YAML": lambda folder: (folder / "metadata.yaml").write_text("{a: [b"),
    "a list": lambda folder: (folder / "metadata.yaml").write_text("- 1\n- 2\n"),
    "QoS of Humble": lambda f: change_topics(f, count=3, offered_qos_profiles=HUMBLE_QOS),
    "unknown QoS": lambda f: change_topics(f, count=3, offered_qos_profiles=[{"depth": "x"}]),
    "no topics": lambda folder: change(folder, topics_with_message_count=[]),
    "count 0": lambda folder: (change(folder, message_count=0), change_topics(folder, count=0)),
    "another type": lambda folder: change_topics(folder, count=3, type="std_msgs/msg/String"),
    "no storage": lambda folder: change(folder, storage_identifier=""),
    "other storage": lambda folder: change(folder, storage_identifier="my_storage"),
    "other names": lambda folder: change(folder, relative_file_paths=["renamed_0.db3"]),
    "no names": lambda folder: change(folder, relative_file_paths=None),
    "not compressed": lambda f: change(f, compression_mode="", compression_format=""),
    "compressed": lambda f: change(f, compression_mode="MESSAGE", compression_format="zstd"),
    "version 99": lambda folder: change(folder, version=99),
}


def test_storage_decides_whatever_metadata_says(tmp_path, capsys):
    rows, failed = [], []
    for number, (storage, write) in enumerate(STORAGES.items()):
        write(tmp_path / "original")
        cells = []
        for damage, make in DAMAGES.items():
            folder = tmp_path / f"{number}_{damage}"
            shutil.copytree(tmp_path / "original", folder)
            make(folder)
            frames = list(read_frames(folder))
            assert_same(FRAMES[: len(frames)], frames)
            cells.append(len(frames))
            if (len(frames), count_images(folder)) != (3, 3):
                failed.append((storage, damage))
        shutil.rmtree(tmp_path / "original")
        rows.append(f"  {storage:22}" + "".join(f"{cell:3}" for cell in cells))
    with capsys.disabled():
        sys.stdout.write(f"\nmetadata.yaml: {', '.join(DAMAGES)}\n" + "\n".join(rows) + "\n")
    assert failed == []


def test_files_that_metadata_does_not_name_belong_to_another_recording(tmp_path):
    write_split(tmp_path / "bag", record_mcap, ".mcap")
    record_mcap(tmp_path / "bag" / "filtered.mcap", make_frames(9))
    assert_same(FRAMES, read_frames(tmp_path / "bag"))


def test_unpacked_file_beside_its_compressed_one_is_read_once(tmp_path):
    folder = tmp_path / "bag"
    folder.mkdir()
    plain = record_mcap(folder / "bag_0.mcap", FRAMES)
    (folder / "bag_0.mcap.zstd").write_bytes(zstandard.compress(plain.read_bytes()))
    assert_same(FRAMES, read_frames(folder))
    plain.unlink()
    assert_same(FRAMES, read_frames(folder))
    assert_same(FRAMES, read_frames(folder / "bag_0.mcap.zstd"))


def test_split_files_that_overlap_are_read_in_the_order_of_time(tmp_path):
    folder, frames = tmp_path / "bag", make_frames(7)
    folder.mkdir()
    record_mcap(folder / "a.mcap", frames[1::2])
    record_old_database(folder / "b.db3", frames[::2])
    assert_same(frames, read_frames(folder))
    assert [one.message_count for one in list_image_topics(folder)] == [7]


def test_empty_last_file_of_a_full_disk_is_skipped_with_a_warning(tmp_path, caplog):
    write_split(tmp_path / "bag", record_mcap, ".mcap")
    (tmp_path / "bag" / "bag_10.mcap").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert_same(FRAMES[:2], read_frames(tmp_path / "bag"))
    assert "bag_10.mcap" in caplog.text and "empty" in caplog.text


# ---- one odd channel ----

WIDE = "wstring<=5 a\nwstring<=3[] b\n"
ODD_CHANNELS = {
    "service event": ("my_msgs/srv/Add_Event", "ros2msg", "int64 a\n---\nint64 sum\n", "cdr"),
    "action feedback": (
        "my_msgs/action/Go_FeedbackMessage",
        "ros2msg",
        "int8 a\n---\n---\n",
        "cdr",
    ),
    "bounds of wstring": ("my_msgs/msg/Wide", "ros2msg", WIDE, "cdr"),
    "lines that end with CRLF": ("my_msgs/msg/A", "ros2msg", "int8 a\r\nint8 b\r\n", "cdr"),
    "IDL that is none": ("my_msgs/msg/A", "ros2idl", "module {", "cdr"),
    "missing definition": ("my_msgs/msg/A", "ros2msg", "", "cdr"),
    "definition of unknown kind": ("my_msgs/msg/A", "", "?", "cdr"),
    "JSON": ("robot.State", "jsonschema", '{"type": "object"}', "json"),
    "Protobuf": ("foxglove.Log", "protobuf", "\n\x00\udcff", "protobuf"),
    "FlatBuffers": ("foxglove.Log", "flatbuffer", "\x00\x01", "flatbuffer"),
    "ROS 1": ("std_msgs/String", "ros1msg", "string data\n", "ros1"),
    "ROS 1 camera": ("sensor_msgs/Image", "ros1msg", "uint32 height\n", "ros1"),
    "JSON camera": (IMAGE_TYPE, "jsonschema", "{}", "json"),
}


@pytest.mark.parametrize("profile", ["ros2", "", "ros1", "my_profile"])
@pytest.mark.parametrize("odd", ODD_CHANNELS)
def test_odd_channel_beside_a_camera_does_not_matter(tmp_path, odd, profile):
    kind, definition_encoding, definition, encoding = ODD_CHANNELS[odd]
    path = tmp_path / "drive.mcap"
    with McapRecording(path, profile=profile) as recording:
        channel = recording._writer.register_channel(
            "/odd",
            encoding,
            recording._writer.register_schema(
                kind, definition_encoding, definition.encode("utf-8", "surrogateescape")
            ),
        )
        recording.add(channel, 5, b"\x00\x01\x00\x00\x07\x00\x00\x00")
        recording.add_frames(recording.open_topic("/image"), FRAMES)
    assert_same(FRAMES, read_frames(path))
    with pytest.raises(TransportError, match=r"no image topic '/odd'.*it has: /image"):
        list(read_frames(path, topic="/odd"))


def test_channel_without_a_schema_does_not_matter(tmp_path):
    path = tmp_path / "drive.mcap"
    with McapRecording(path) as recording:
        recording.add(recording._writer.register_channel("/odd", "json", 0), 5, b"{}")
        recording.add_frames(recording.open_topic("/image"), FRAMES)
    assert_same(FRAMES, read_frames(path))


def test_recording_of_other_encodings_only_says_which(tmp_path):
    path = tmp_path / "drive.mcap"
    with McapRecording(path) as recording:
        channel = recording.open_topic("/cam", "sensor_msgs/Image", "", encoding="ros1")
        recording.add(channel, 5, b"\x00")
    with pytest.raises(TransportError, match=r"in cdr.*/cam \(sensor_msgs/msg/Image, ros1\)"):
        list(read_frames(path))


@pytest.mark.parametrize("definition", ["", "\n", "this is : no definition"])
@pytest.mark.parametrize("name", [IMAGE_TYPE, "sensor_msgs/Image"])
def test_well_known_type_needs_no_definition(tmp_path, name, definition):
    with McapRecording(tmp_path / "drive.mcap") as recording:
        recording.add_frames(recording.open_topic("/image", name, definition), FRAMES)
    assert_same(FRAMES, read_frames(tmp_path / "drive.mcap"))


def test_definition_with_crlf_is_understood(tmp_path):
    store = get_typestore(Stores.ROS2_JAZZY)
    text = store.generate_msgdef(COMPRESSED_IMAGE_TYPE, ros_version=2)[0].replace("\n", "\r\n")
    with McapRecording(tmp_path / "drive.mcap") as recording:
        channel = recording.open_topic("/image", COMPRESSED_IMAGE_TYPE, text)
        recording.add_frames(channel, FRAMES, compressed=True)
    assert_same(FRAMES, read_frames(tmp_path / "drive.mcap"))


def test_definition_of_another_release_counts(tmp_path):
    """A CompressedImage with one field more, before the data."""
    text = (
        "std_msgs/Header header\nstring format\nuint32 quality\nuint8[] data\n"
        + "=" * 80
        + "\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
        + "=" * 80
        + "\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
    )
    image = make_image(FRAMES[1], compressed=True)
    data = write_bytes(image)
    at = len(data) - len(image.data) - 4
    assert data[at : at + 4] == len(image.data).to_bytes(4, "little")
    with McapRecording(tmp_path / "drive.mcap") as recording:
        channel = recording.open_topic("/image", COMPRESSED_IMAGE_TYPE, text)
        recording.add(channel, 1, data[:at] + (95).to_bytes(4, "little") + data[at:])
    assert_same(FRAMES[1:2], read_frames(tmp_path / "drive.mcap"))


# ---- one camera ----


def record_both(path: Path, raw_count: int, compressed_count: int) -> Path:
    with McapRecording(path) as recording:
        raw = recording.open_topic("/cam/image_raw")
        recording.add_frames(raw, make_frames(raw_count))
        compressed = recording.open_topic("/cam/image_raw/compressed", COMPRESSED_IMAGE_TYPE)
        recording.add_frames(compressed, make_frames(compressed_count), compressed=True)
    return path


@pytest.mark.parametrize(
    ("raw_count", "compressed_count", "expected"),
    [(3, 3, IMAGE_TYPE), (1, 4, COMPRESSED_IMAGE_TYPE), (4, 1, IMAGE_TYPE)],
)
def test_raw_and_compressed_topic_are_one_camera(tmp_path, raw_count, compressed_count, expected):
    path = record_both(tmp_path / "drive.mcap", raw_count, compressed_count)
    assert_same(make_frames(max(raw_count, compressed_count)), read_frames(path))
    by_type = {one.message_type: one.message_count for one in list_image_topics(path)}
    assert by_type[expected] == count_images(path)


def test_name_of_a_camera_stands_for_its_compressed_topic(tmp_path):
    path = tmp_path / "drive.mcap"
    with McapRecording(path) as recording:
        for camera in ("/left", "/right"):
            channel = recording.open_topic(f"{camera}/compressed", COMPRESSED_IMAGE_TYPE)
            recording.add_frames(channel, FRAMES, compressed=True)
    with pytest.raises(TransportError, match="2 cameras"):
        list(read_frames(path))
    assert_same(FRAMES, read_frames(path, topic="/left"))


@pytest.mark.parametrize("write", [record_mcap, record_old_database])
def test_topic_without_images_is_an_error(tmp_path, write):
    path = tmp_path / ("drive.mcap" if write is record_mcap else "drive.db3")
    write(path, [])
    for read in (count_images, lambda *a, **k: list(read_frames(*a, **k))):
        with pytest.raises(TransportError, match="has no image on /image"):
            read(path, topic="/image")


def test_topic_that_gives_none_of_its_images_is_an_error(tmp_path, monkeypatch):
    path = record_old_database(tmp_path / "drive.db3", FRAMES)
    frames = read_frames(path)
    monkeypatch.setattr(
        "vl2_ros.recordings.sqlite_storage.SqliteFile.read", lambda self, keys: iter(())
    )
    with pytest.raises(TransportError, match="gave none of the 3 images of /image"):
        next(frames)


# ---- bounds, lowered ----


def test_message_that_is_too_large_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    write_folder(tmp_path / "bag", StoragePlugin.SQLITE3, CompressionMode.MESSAGE)
    monkeypatch.setattr(recording_files, "MAX_MESSAGE_BYTES", 1000)
    with pytest.raises(TransportError, match="becomes larger than 1000 bytes"):
        list(read_frames(tmp_path / "bag"))
    plain = record_old_database(tmp_path / "plain.db3", FRAMES)
    with pytest.raises(TransportError, match="expected 1000 at most"):
        list(read_frames(plain))
    with pytest.raises(TransportError, match="expected 1000 at most"):
        list(read_frames(record_mcap(tmp_path / "plain.mcap", FRAMES)))


def test_bytes_of_a_damaged_database_are_no_foreign_error(tmp_path):
    path = record_old_database(tmp_path / "drive.db3", FRAMES)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE messages SET data = 'text' WHERE id = 2")
    with pytest.raises(TransportError, match="cannot be read as a bag"):
        list(read_frames(path))

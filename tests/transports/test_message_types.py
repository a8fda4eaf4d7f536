from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vl2_ros.errors import ShapeError, TransportError
from vl2_ros.transports.message_types import (
    StoreMessageTypes,
    find_definitions,
    load_typestore,
    read_definitions,
)

REPOSITORY = Path(__file__).resolve().parents[2]
TYPES = StoreMessageTypes()
IMAGE = "sensor_msgs/msg/Image"


def test_every_definition_file_becomes_a_type():
    files = [*REPOSITORY.glob("msg/*.msg"), *REPOSITORY.glob("srv/*.srv")]
    endings = {".msg": [""], ".srv": ["_Request", "_Response"]}
    expected = {
        f"vl2_ros/{path.suffix[1:]}/{path.stem}{ending}"
        for path in files
        for ending in endings[path.suffix]
    }
    expected |= {f"vl2_ros/action/Perceive{part}" for part in ("_Goal", "_Result", "_Feedback")}
    assert len(files) >= 13
    assert set(read_definitions()) == expected
    assert expected <= set(load_typestore().types)


def test_fields_default_to_zero_empty_or_false():
    message = TYPES.make("vl2_ros/msg/VisionResult")
    assert (message.command_id, message.status, message.is_final) == ("", 0, False)
    assert (message.header.stamp.sec, message.header.frame_id) == (0, "")
    assert message.instances == [] and message.routes == []
    info = TYPES.make("sensor_msgs/msg/CameraInfo")
    assert info.k.dtype == np.float64 and info.k.tolist() == [0.0] * 9 and info.d.size == 0
    assert TYPES.make("vl2_ros/msg/Instance").skeleton_edges.dtype == np.uint16


def test_a_quaternion_defaults_to_the_identity_as_in_ros():
    pose = TYPES.make("vision_msgs/msg/ObjectHypothesisWithPose").pose.pose
    assert (pose.orientation.x, pose.orientation.w) == (0.0, 1.0)


def test_messages_do_not_share_default_values():
    first, second = TYPES.make("vl2_ros/msg/VisionResult"), TYPES.make("vl2_ros/msg/VisionResult")
    first.routes.append("detect")
    first.header.frame_id = "camera"
    assert second.routes == [] and second.header.frame_id == ""


def test_images_are_not_copied_when_made_and_when_read():
    data = np.arange(12, dtype=np.uint8)
    message = TYPES.make(IMAGE, data=data, height=2, width=2, step=6, encoding="rgb8")
    assert np.shares_memory(message.data, data)
    cdr = bytes(TYPES.serialize(message))
    read = TYPES.deserialize(cdr, IMAGE)
    assert np.shares_memory(read.data, np.frombuffer(cdr, np.uint8))
    assert read.data.tolist() == list(range(12))


def test_bytes_of_known_values():
    position = TYPES.make("geometry_msgs/msg/Point", x=1.0, y=2.0, z=3.0)
    keypoint = TYPES.make(
        "vl2_ros/msg/Keypoint", name="abc", x=1.5, y=-2.0, score=0.25, position=position
    )
    # Four bytes before the doubles, which begin at a multiple of eight.
    values = (4, b"abc\x00", 1.5, -2.0, 0.25, 1.0, 2.0, 3.0)
    expected = b"\x00\x01\x00\x00" + struct.pack("<I4sfff4x3d", *values)
    assert bytes(TYPES.serialize(keypoint)) == expected


def test_type_hashes_are_those_of_ros():
    assert TYPES.hash_type("std_msgs/msg/String") == (
        "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"
    )
    assert TYPES.hash_type(IMAGE) == (
        "RIHS01_d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47"
    )


@pytest.mark.parametrize(
    "data",
    [
        np.zeros(3, np.int8),
        np.zeros(3, np.float32),
        np.zeros((1, 3), np.uint8),
        [1, 2, 3],
        b"\x01\x02",
    ],
)
def test_another_dtype_would_be_garbage_on_the_wire_and_is_refused(data):
    with pytest.raises(ShapeError, match=r"Image\.data must be a 1-D numpy array of uint8"):
        TYPES.make(IMAGE, data=data)


def test_strided_arrays_arrive_as_they_look():
    data = np.arange(12, dtype=np.uint8)[::-2]
    cdr = TYPES.serialize(TYPES.make(IMAGE, data=data))
    assert TYPES.deserialize(cdr, IMAGE).data.tolist() == data.tolist()


def test_unknown_types_and_fields_are_named():
    with pytest.raises(TransportError, match="vl2_ros/msg/Nothing"):
        TYPES.make("vl2_ros/msg/Nothing")
    with pytest.raises(TransportError, match=r"no field bounding; it has: route, label"):
        TYPES.make("vl2_ros/msg/Instance", bounding=1)
    with pytest.raises(TransportError, match="nothing/msg/Nothing"):
        TYPES.deserialize(b"\x00\x01\x00\x00", "nothing/msg/Nothing")


@pytest.mark.parametrize("fields", [{"height": -1}, {"height": 2**32}, {"encoding": 3}])
def test_values_that_do_not_fit_are_refused(fields):
    with pytest.raises(TransportError, match="Image cannot be written"):
        TYPES.serialize(TYPES.make(IMAGE, **fields))


@pytest.mark.parametrize("keep", [0, 3, 4, 10, 40])
def test_cut_bytes_are_refused(keep):
    cdr = bytes(TYPES.serialize(TYPES.make(IMAGE, encoding="rgb8", data=np.ones(9, np.uint8))))
    with pytest.raises(TransportError, match="Image cannot be read"):
        TYPES.deserialize(cdr[:keep], IMAGE)


def test_strings_that_are_not_utf8_come_with_replacement_characters():
    command = TYPES.make(
        "vl2_ros/msg/VisionCommand",
        id="mug-7",
        text="find ?? möbel",
        camera="?",
        images=[TYPES.make(IMAGE, encoding="rgb?", data=np.array([63, 63], np.uint8))],
    )
    cdr = bytes(TYPES.serialize(command)).replace(b"??", b"\xff\xc3", 1).replace(b"b?", b"b\xfe")
    read = TYPES.deserialize(cdr, "vl2_ros/msg/VisionCommand")
    assert read.text == "find \ufffd\ufffd möbel"
    assert (read.id, read.camera) == ("mug-7", "?")
    assert read.images[0].encoding == "rgb\ufffd"
    assert read.images[0].data.tolist() == [63, 63]


def test_big_endian_strings_that_are_not_utf8_are_found_too():
    cdr = b"\x00\x00\x00\x00" + struct.pack(">I", 4) + b"a\xffb\x00"
    assert TYPES.deserialize(cdr, "std_msgs/msg/String").data == "a\ufffdb"


def test_reading_damaged_strings_has_an_end():
    texts = ["x?y"] * 100
    cdr = bytes(TYPES.serialize(TYPES.make("vl2_ros/msg/InstanceArray", phrases=texts)))
    with pytest.raises(TransportError, match="not UTF-8"):
        TYPES.deserialize(cdr.replace(b"x?y", b"x\xffy"), "vl2_ros/msg/InstanceArray")


def test_a_file_with_a_missing_section_is_named(tmp_path, monkeypatch):
    for kind in ("msg", "srv", "action"):
        shutil.copytree(REPOSITORY / kind, tmp_path / kind)
    (tmp_path / "srv" / "Stop.srv").write_text("string id\n")
    monkeypatch.setattr("vl2_ros.transports.message_types.find_definitions", lambda: tmp_path)
    with pytest.raises(TransportError, match=r"Stop\.srv has 1 sections, expected 2"):
        read_definitions()


def test_a_working_copy_reads_the_definitions_of_the_repository():
    assert find_definitions() == REPOSITORY


@pytest.mark.slow
def test_a_wheel_carries_the_definitions(tmp_path):
    copy = tmp_path / "source"
    large = ("*.safetensors", "*.mcap", "*.onnx")
    ignored = shutil.ignore_patterns(".*", "tests", "build", "training_runs", "__pycache__", *large)
    shutil.copytree(REPOSITORY, copy, ignore=ignored)
    code = f"from setuptools import build_meta\nprint(build_meta.build_wheel({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    unpacked = tmp_path / "installed"
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    code = (
        "from vl2_ros.transports.message_types import StoreMessageTypes, find_definitions\n"
        "print(find_definitions())\n"
        "print(StoreMessageTypes().hash_type('vl2_ros/msg/VisionResult'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=unpacked, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    folder, type_hash = done.stdout.split()
    assert Path(folder) == unpacked / "vl2_ros" / "wire"
    assert type_hash == TYPES.hash_type("vl2_ros/msg/VisionResult")

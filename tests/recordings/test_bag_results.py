from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from tests.node.scripted_perceiver import ScriptedPerceiver
from tests.node.stepwise_perceiver import FrameCount, StepwisePerceiver
from tests.recordings.recordings import FIRST_STAMP_NS, FRAME_HW, PERIOD_NS, record_camera
from vl2_ros.clients.received_result import read_result
from vl2_ros.errors import InputError, TransportError
from vl2_ros.node.messages.result_messages import (
    RESULT,
    RESULT_TOPICS,
    ROUTE_TOPICS,
    SPATIAL_TOPICS,
)
from vl2_ros.node.request import Status
from vl2_ros.recordings.bag import IMAGE_TYPE, list_image_topics, read_frames
from vl2_ros.recordings.bag_results import BagQuestion, answer_bag, choose_images
from vl2_ros.recordings.mcap_writer import write_recording
from vl2_ros.structures import Command, Route
from vl2_ros.transports.message_types import StoreMessageTypes, load_typestore


def ask(text: str, **options) -> BagQuestion:
    return BagQuestion((Command(text, id="q"),), **options)


def read_recording(path: Path) -> dict[str, list[tuple[int, object]]]:
    """Read what was written with the bag library: (time, message) by topic.

    The definitions in the file are used, as another program would.
    """
    read: dict[str, list[tuple[int, object]]] = {}
    with AnyReader([path]) as reader:
        for connection, time_ns, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            read.setdefault(connection.topic, []).append((time_ns, message))
    return read


@pytest.fixture
def source(tmp_path) -> Path:
    record_camera(tmp_path / "camera.mcap")
    return tmp_path / "camera.mcap"


def test_every_image_gives_one_result_at_its_time(source, tmp_path):
    out, perceiver = tmp_path / "results.mcap", ScriptedPerceiver()
    heard = []
    count = answer_bag(perceiver, source, out, ask("find it"), on_answer=heard.append)
    assert count == len(heard) == len(perceiver.seen) == 4
    stamps = [FIRST_STAMP_NS + index * PERIOD_NS for index in range(4)]
    results = read_recording(out)["/vl2/result"]
    assert [time_ns for time_ns, _ in results] == stamps
    received = [read_result(message) for _, message in results]
    assert [one.result.stamp_ns for one in received] == stamps
    assert {one.result.frame_id for one in received} == {"camera_link"}
    assert {(one.command_id, one.status, one.text) for one in received} == {
        ("q", Status.OK, "find it")
    }
    assert {one.camera for one in received} == {"/camera/image_raw"}
    assert {one.model for one in received} == {"scripted"}


@pytest.mark.parametrize("route", [Route.ANSWER, Route.DETECT, Route.SEGMENT, Route.POSE])
def test_route_decides_the_topics_as_on_the_node(source, tmp_path, route):
    words = {Route.ANSWER: "hello", Route.DETECT: "find", Route.SEGMENT: "segment"}
    out = tmp_path / "results.mcap"
    answer_bag(ScriptedPerceiver(), source, out, ask(words.get(route, "pose"), annotated=False))
    topics = {RESULT, *ROUTE_TOPICS[route]} - set(SPATIAL_TOPICS)
    names = {topic.name.replace("~", "/vl2") for topic in topics}
    assert read_recording(out).keys() == names


def test_masks_boxes_and_labels_survive_the_file(source, tmp_path):
    out = tmp_path / "results.mcap"
    answers = []
    answer_bag(ScriptedPerceiver(), source, out, ask("segment it"), on_answer=answers.append)
    for answer, (_, message) in zip(answers, read_recording(out)["/vl2/result"], strict=True):
        (sent,), (read,) = answer.result.branches, read_result(message).result.branches
        np.testing.assert_array_equal(read.detections.masks, sent.detections.masks)
        np.testing.assert_array_equal(read.detections.boxes_xyxy, sent.detections.boxes_xyxy)
        np.testing.assert_array_equal(read.detections.scores, sent.detections.scores)
        assert read.detections.labels == sent.detections.labels
        assert (read.route, read.phrases) == (sent.route, sent.phrases)


def test_viewers_find_schemas_profile_and_annotated_images(source, tmp_path):
    """Read with the MCAP project's own reader, as Foxglove does."""
    out = tmp_path / "results.mcap"
    answer_bag(ScriptedPerceiver(), source, out, ask("segment it"))
    with out.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
    assert {schema.encoding for schema in summary.schemas.values()} == {"ros2msg"}
    names = {schema.name for schema in summary.schemas.values()}
    assert {"vl2_ros/msg/VisionResult", "vision_msgs/msg/Detection2DArray", IMAGE_TYPE} <= names
    assert {channel.message_encoding for channel in summary.channels.values()} == {"cdr"}
    assert summary.statistics.message_count == 4 * 7
    topics = {topic.name: topic.message_count for topic in list_image_topics(out)}
    assert topics == {"/vl2/label_image": 4, "/vl2/annotated/compressed": 4}
    annotated = list(read_frames(out, topic="/vl2/annotated/compressed"))
    assert [frame.stamp_ns for frame in annotated] == [
        frame.stamp_ns for frame in read_frames(source)
    ]
    assert annotated[0].frame_hw[1] % FRAME_HW[1] == 0


def test_every_topic_of_the_node_can_be_written_and_read(tmp_path):
    out, types = tmp_path / "all.mcap", StoreMessageTypes()
    with write_recording(out, load_typestore()) as recording:
        for topic in RESULT_TOPICS:
            recording.add(f"/vl2{topic.name[1:]}", topic.type_name, types.make(topic.type_name), 7)
    assert len(read_recording(out)) == len(RESULT_TOPICS)


def test_several_commands_are_distinguished_by_id(source, tmp_path):
    out, perceiver = tmp_path / "results.mcap", ScriptedPerceiver()
    commands = (Command("find it", id="a"), Command("segment it", id="b"))
    assert answer_bag(perceiver, source, out, BagQuestion(commands)) == 8
    ids = [message.command_id for _, message in read_recording(out)["/vl2/result"]]
    assert ids == ["a", "b"] * 4
    frames = [frame for frame, _ in perceiver.seen]
    assert all(first is second for first, second in zip(frames[::2], frames[1::2], strict=True))


def test_each_command_gets_its_memory_back_with_the_next_image(source, tmp_path):
    perceiver = StepwisePerceiver()
    commands = (Command("find it", id="a"), Command("segment it", id="b"))
    answer_bag(perceiver, source, tmp_path / "results.mcap", BagQuestion(commands))
    assert perceiver.memories == [
        None if frames == 0 else FrameCount(frames, name) for frames in range(4) for name in "ab"
    ]


def test_compressed_camera_is_answered_too(tmp_path):
    record_camera(tmp_path / "camera.mcap", 2, compressed=True)
    out = tmp_path / "results.mcap"
    assert answer_bag(ScriptedPerceiver(), tmp_path / "camera.mcap", out, ask("find it")) == 2


def test_broken_image_is_a_result_that_says_so_and_the_others_are_answered(tmp_path):
    source, out, types = tmp_path / "camera.mcap", tmp_path / "results.mcap", StoreMessageTypes()
    data = np.zeros(48, np.uint8)
    fields = {"height": 4, "width": 4, "encoding": "rgb8", "step": 12, "data": data}
    with write_recording(source, types.typestore) as recording:
        fields["header"] = types.make("std_msgs/msg/Header", frame_id="eye")
        for time_ns, changes in enumerate(({}, {"encoding": "nonsense"}, {"step": 5}, {})):
            message = types.make(IMAGE_TYPE, **{**fields, **changes})
            recording.add("/image", IMAGE_TYPE, message, time_ns)
    answer_bag(ScriptedPerceiver(), source, out, ask("hello"))
    results = [message for _, message in read_recording(out)["/vl2/result"]]
    assert [one.status for one in results] == [0, 4, 4, 0]
    assert "'nonsense' is not known" in results[1].message
    assert "step is 5" in results[2].message
    assert [one.header.frame_id for one in results] == ["eye"] * 4


def test_failure_of_the_perceiver_is_also_a_result(source, tmp_path):
    out = tmp_path / "results.mcap"
    assert answer_bag(ScriptedPerceiver(), source, out, ask("fail")) == 4
    read = read_recording(out)
    assert read.keys() == {"/vl2/result"}
    for time_ns, message in read["/vl2/result"]:
        assert (message.status, message.message) == (
            Status.FAILED,
            "EngineError: the engine is out of memory",
        )
        stamp = message.header.stamp
        assert stamp.sec * 10**9 + stamp.nanosec == time_ns


def test_crash_leaves_no_file(source, tmp_path):
    out = tmp_path / "results.mcap"
    with pytest.raises(ZeroDivisionError):
        answer_bag(ScriptedPerceiver(), source, out, ask("crash"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["camera.mcap"]


@pytest.mark.parametrize(
    ("times_ms", "rate_hz", "expected"),
    [
        ([0, 100, 200, 300], 0.0, [0, 100, 200, 300]),
        ([0, 100, 200, 300], 5.0, [0, 200]),
        ([0, 100, 200, 300], 30.0, [0, 100, 200, 300]),
        # 30 images a second at 10 a second: every third, although each comes a little late.
        ([0, 34, 67, 101, 134, 167, 201, 234, 267, 301], 10.0, [0, 101, 201, 301]),
        # After a gap no burst makes up for it.
        ([0, 1000, 1010, 1020, 1060, 1110], 10.0, [0, 1000, 1060]),
    ],
)
def test_rate_chooses_images_by_recorded_time(times_ms, rate_hz, expected):
    class Recorded:
        def __init__(self, time_ms):
            self.time_ns = time_ms * 1_000_000

    chosen = choose_images([Recorded(time_ms) for time_ms in times_ms], rate_hz)
    assert [recorded.time_ns // 1_000_000 for recorded in chosen] == expected


def test_recording_is_not_overwritten_by_its_results(source):
    before = source.read_bytes()
    with pytest.raises(TransportError, match="is the recording itself; name another"):
        answer_bag(ScriptedPerceiver(), source, source, ask("find it"))
    assert source.read_bytes() == before


def test_existing_file_is_overwritten_only_when_asked(source, tmp_path):
    out = tmp_path / "results.mcap"
    out.write_bytes(b"another file")
    perceiver = ScriptedPerceiver()
    with pytest.raises(TransportError, match="is there already; name another file, or add --force"):
        answer_bag(perceiver, source, out, ask("find it"))
    assert out.read_bytes() == b"another file" and perceiver.seen == []
    assert answer_bag(perceiver, source, out, ask("find it"), overwrite=True) == 4
    assert len(read_recording(out)["/vl2/result"]) == 4


def test_written_topics_carry_their_qos_as_rosbag2_writes_it(source, tmp_path):
    """What `ros2 bag play` publishes again must reach a subscriber that comes late."""
    out = tmp_path / "results.mcap"
    answer_bag(ScriptedPerceiver(), source, out, ask("segment it"))
    with out.open("rb") as file:
        channels = make_reader(file).get_summary().channels.values()
    profiles = {one.topic: yaml.safe_load(one.metadata["offered_qos_profiles"]) for one in channels}
    no_limit = {"sec": 9223372036, "nsec": 854775807}
    assert profiles["/vl2/label_info"] == [
        {
            "history": "keep_last",
            "depth": 1,
            "reliability": "reliable",
            "durability": "transient_local",
            "deadline": no_limit,
            "lifespan": no_limit,
            "liveliness": "automatic",
            "liveliness_lease_duration": no_limit,
            "avoid_ros_namespace_conventions": False,
        }
    ]
    latched = {
        topic for topic, (one,) in profiles.items() if one["durability"] == "transient_local"
    }
    expected = {one.name for one in RESULT_TOPICS if one.qos.transient_local}
    assert latched == {name.replace("~", "/vl2") for name in expected} & profiles.keys()
    assert latched == {"/vl2/result", "/vl2/label_info"}
    assert {one["durability"] for (one,) in profiles.values()} == {"transient_local", "volatile"}


def test_qos_is_what_the_bag_library_reads(source, tmp_path):
    out = tmp_path / "results.mcap"
    answer_bag(ScriptedPerceiver(), source, out, ask("segment it"))
    with AnyReader([out]) as reader:
        (one,) = [one for one in reader.connections if one.topic == "/vl2/label_info"]
    (qos,) = one.ext.offered_qos_profiles
    assert (qos.durability.name, qos.reliability.name) == ("TRANSIENT_LOCAL", "RELIABLE")
    assert (qos.history.name, qos.depth) == ("KEEP_LAST", 1)


@pytest.mark.parametrize("name", ["results", "results.db3", "results.bag"])
def test_other_forms_than_mcap_are_refused(source, tmp_path, name):
    with pytest.raises(TransportError, match=r"expected a name such as results\.mcap"):
        answer_bag(ScriptedPerceiver(), source, tmp_path / name, ask("find it"))


def test_questions_without_sense_are_refused():
    with pytest.raises(InputError, match="there is no command"):
        BagQuestion(())
    for rate_hz in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="rate_hz"):
            ask("find it", rate_hz=rate_hz)


def test_one_topic_has_one_type(tmp_path):
    types = StoreMessageTypes()
    text = types.make("std_msgs/msg/String", data="a")
    with write_recording(tmp_path / "out.mcap", types.typestore) as recording:
        recording.add("/a", "std_msgs/msg/String", text, 0)
        with pytest.raises(TransportError, match="/a is recorded as std_msgs/msg/String"):
            recording.add("/a", IMAGE_TYPE, types.make(IMAGE_TYPE), 1)

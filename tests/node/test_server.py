"""What the server makes of bad images, bad commands and bad times; the rest is conformance."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from tests.node.wire import (
    Inbox,
    make_compressed_image,
    make_image,
    make_points,
    stamp_of,
    wait_until,
)
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.errors import ConfigError
from vl2_ros.node.messages.result_messages import RESULT_TOPICS, SPATIAL_TOPICS
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.request import Mode, Status
from vl2_ros.node.server import PerceptionServer
from vl2_ros.node.transport import Qos
from vl2_ros.structures import RunLengths, StageEvent
from vl2_ros.transports.message_types import StoreMessageTypes

MS = 1_000_000
TYPES = StoreMessageTypes()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.close()


def make_prompt(**fields):
    return TYPES.make("vl2_ros/msg/VisualPrompt", **fields)


def make_mask(height: int, width: int):
    mask = np.zeros((height, width), np.bool_)
    mask[1:3, 1:3] = True
    counts = RunLengths.encode(mask).counts
    return TYPES.make("vl2_ros/msg/InstanceMask", height=height, width=width, counts=counts)


EMPTY = np.zeros(0, np.uint8)
BAD_IMAGES = {
    "too little data": ({"height": 17}, "has 1152 bytes, expected 1224"),
    "too short a step": ({"step": 71}, "step is 71, expected at least 72"),
    "width against step": ({"width": 25}, "step is 72, expected at least 75"),
    "unknown encoding": ({"encoding": "jpeg2000"}, "'jpeg2000' is not known"),
    "empty": ({"data": EMPTY}, "has 0 bytes, expected 1152"),
    "depth": ({"encoding": "16UC1"}, "'16UC1' contains depth"),
    "float depth": ({"encoding": "32FC1"}, "'32FC1' contains depth"),
    "0x0": ({"height": 0, "width": 0, "step": 0, "data": EMPTY}, "0x0 pixels has no pixel"),
    "20000x20000": ({"height": 20000, "width": 20000, "step": 60000}, "20000x20000 pixels is over"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_image_is_answered_invalid_and_the_next_one_is_fine(rig, name):
    changes, expected = BAD_IMAGES[name]
    rig.start()
    camera = rig.open_camera()
    rig.command("w", mode=int(Mode.WATCH))
    rig.show(camera, 1 * MS, message=make_image(TYPES, 1 * MS, **changes))
    rig.command("ask")
    (ask,) = rig.results.wait_for("ask")
    assert (ask.status, ask.is_final) == (Status.INVALID, True)
    assert expected in ask.message
    assert "camera image" in ask.message
    assert (stamp_of(ask), ask.header.frame_id) == (1 * MS, "camera_link")
    rig.show(camera, 2 * MS)
    bad, good = rig.results.wait_for("w", 2)
    assert (bad.status, bad.is_final, good.status) == (Status.INVALID, False, Status.OK)
    assert (stamp_of(bad), bad.header.frame_id) == (1 * MS, "camera_link")
    assert stamp_of(good) == 2 * MS


def test_bad_compressed_image_is_answered_invalid(rig):
    rig.start()
    camera = rig.open_camera("/image/compressed", compressed=True)
    rubbish = make_compressed_image(TYPES, data=np.arange(40, dtype=np.uint8))
    rig.show(camera, 1, message=rubbish)
    rig.command("a")
    (result,) = rig.results.wait_for("a")
    assert result.status == Status.INVALID
    assert "format 'png'" in result.message
    assert (stamp_of(result), result.header.frame_id) == (1_000_000_007, "camera_link")


BAD_COMMANDS = {
    "empty text": ({"text": ""}, "the command is empty"),
    "1 MB of text": ({"text": "find " * 200_000}, "has 1000000 characters, at most 4000"),
    "not UTF-8": ({"text": "find \ufffd\ufffd"}, "not UTF-8"),
    "undecoded bytes": ({"text": "find \udcff"}, "not UTF-8"),
    "unknown mode": ({"mode": 9}, "mode must be one of"),
    "NaN rate": ({"mode": 1, "rate_hz": float("nan")}, "rate_hz"),
    "NaN deadline": ({"deadline_s": float("nan")}, "deadline_s"),
    "threshold": ({"score_threshold": 7.0}, "score_threshold must lie in 0..1"),
    "unknown camera": ({"camera": "rear"}, "no camera 'rear'; the node has: image"),
    "point outside": (
        {"visual_prompts": [make_prompt(points=make_points(TYPES, (24.5, 3)))]},
        "point (24.5, 3) is outside the image of 24x16 pixels",
    ),
    "point that is NaN": (
        {"visual_prompts": [make_prompt(points=make_points(TYPES, (float("nan"), 3)))]},
        "point (nan, 3) is outside",
    ),
    "box inside out": (
        {"visual_prompts": [make_prompt(kind=1, points=make_points(TYPES, (9, 9), (3, 3)))]},
        "upper left",
    ),
    "mask of another size": (
        {"visual_prompts": [make_prompt(kind=4, mask=make_mask(8, 8))]},
        "mask is 8x8, expected the image's 24x16",
    ),
    "prompt on no image": (
        {"visual_prompts": [make_prompt(points=make_points(TYPES, (1, 1)), image=2)]},
        "points into image 2",
    ),
    "bad further image": ({"images": [make_image(TYPES, step=1)]}, "step is 1"),
}


@pytest.mark.parametrize("name", BAD_COMMANDS)
def test_bad_command_is_answered_invalid_and_disturbs_no_other(rig, name):
    fields, expected = BAD_COMMANDS[name]
    rig.start()
    camera = rig.open_camera()
    rig.show(camera, 1 * MS)
    rig.command("w", mode=int(Mode.WATCH))
    rig.results.wait_for("w")
    rig.command("bad", **fields)
    (result,) = rig.results.wait_for("bad")
    assert (result.status, result.is_final) == (Status.INVALID, True)
    assert expected in result.message
    assert len(result.command_text) <= 4000
    TYPES.serialize(result)
    rig.show(camera, 2 * MS)
    assert [one.status for one in rig.results.wait_for("w", 2)] == [Status.OK, Status.OK]
    rig.command("bad")
    assert rig.results.wait_for("bad", 2)[1].status == Status.OK


@pytest.mark.parametrize(("text", "expected"), [("", "is empty"), ("x" * 5000, "at most 4000")])
def test_bad_sentence_is_answered_invalid(rig, text, expected):
    rig.start()
    rig.say(text)
    (result,) = rig.results.wait()
    assert (result.status, result.camera) == (Status.INVALID, "image")
    assert result.command_id
    assert expected in result.message


def test_special_tokens_are_words_like_others(rig):
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    text = "find [DET][EMB]<im_patch> </s> it"
    rig.command("a", text)
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.command_text) == (Status.OK, text)
    assert rig.perceiver.seen[0][1].text == text


def test_result_names_its_image_however_it_ends_and_none_where_none_was_taken(rig):
    rig.start(queue_size=1)
    rig.command("early", deadline_s=0.01)
    (early,) = rig.results.wait_for("early")
    assert (early.status, stamp_of(early)) == (Status.EXPIRED, 0)
    rig.show(rig.open_camera(), 3 * MS)
    may_end = threading.Event()

    def hang(frame, command, memory):
        yield StageEvent("language")
        rig.perceiver.is_running.set()
        may_end.wait(60.0)

    answer, rig.perceiver.run = rig.perceiver.run, hang
    rig.command("late", deadline_s=0.05)
    assert rig.perceiver.is_running.wait(30.0)
    rig.command("waits", deadline_s=60.0)
    rig.command("busy")
    (busy,) = rig.results.wait_for("busy")
    assert (busy.status, stamp_of(busy)) == (Status.BUSY, 0)
    (late,) = rig.results.wait_for("late")
    assert (late.status, stamp_of(late)) == (Status.EXPIRED, 3 * MS)
    assert late.header.frame_id == "image_link"
    rig.perceiver.is_running.clear()
    may_end.set()
    may_end = threading.Event()
    assert rig.perceiver.is_running.wait(30.0)
    rig.stop_command("waits")
    (stopped,) = rig.results.wait_for("waits")
    assert (stopped.status, stamp_of(stopped)) == (Status.CANCELED, 3 * MS)
    may_end.set()
    rig.perceiver.run = answer
    rig.command("crash", "crash")
    (failed,) = rig.results.wait_for("crash")
    assert (failed.status, stamp_of(failed)) == (Status.FAILED, 3 * MS)


def test_image_beyond_the_last_second_gets_a_result_at_that_second(rig):
    rig.start()
    last = 2**31 - 1
    message = make_image(TYPES, 1)
    message.header.stamp.sec, message.header.stamp.nanosec = last, 2_500_000_000
    rig.show(rig.open_camera(), 0, message=message)
    for text, status in (("find it", Status.OK), ("fail", Status.FAILED)):
        rig.command(text, text)
        (result,) = rig.results.wait_for(text)
        assert (result.status, stamp_of(result)) == (status, last * 10**9 + 500_000_000)
        TYPES.serialize(result)


def test_duplicate_id_is_refused_and_the_first_goes_on(rig):
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    rig.perceiver.may_answer.clear()
    rig.command("a")
    assert rig.perceiver.is_running.wait(30.0)
    rig.command("a", "find something else")
    (refused,) = rig.results.wait_for("refused:a")
    assert (refused.status, refused.command_text) == (Status.INVALID, "find something else")
    assert "'a'" in refused.message and "already" in refused.message
    rig.perceiver.may_answer.set()
    assert rig.results.wait_for("a")[0].status == Status.OK


@pytest.mark.parametrize(
    ("text", "expected"), [("fail", "engine is out of memory"), ("crash", "ZeroDivisionError")]
)
def test_failing_perceiver_is_reported_and_the_node_lives_on(rig, text, expected):
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    rig.command("a", text)
    (result,) = rig.results.wait_for("a")
    assert result.status == Status.FAILED
    assert expected in result.message
    rig.command("b")
    assert rig.results.wait_for("b")[0].status == Status.OK


def test_prompts_and_images_reach_the_perceiver(rig):
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    rgb = np.full((8, 8, 3), 7, np.uint8)
    prompt = make_prompt(kind=1, points=make_points(TYPES, (1, 2), (8, 8)), image=1)
    rig.command(
        "a",
        images=[make_image(TYPES, rgb=rgb)],
        visual_prompts=[prompt, make_prompt(kind=4, mask=make_mask(16, 24))],
        score_threshold=0.75,
    )
    rig.results.wait_for("a")
    command = rig.perceiver.seen[0][1]
    np.testing.assert_array_equal(command.images[0].rgb, rgb)
    assert command.visual_prompts[0].points_xy.tolist() == [[1, 2], [8, 8]]
    assert command.visual_prompts[1].decode_mask().sum() == 4
    assert command.score_threshold == 0.75


def test_without_subscribers_only_what_is_kept_for_late_ones_is_made(rig, monkeypatch):
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    published: list[str] = []
    bus_publish = rig.harness.bus.publish

    def note(publisher, message) -> None:
        published.append(publisher.topic)
        bus_publish(publisher, message)

    monkeypatch.setattr(rig.harness.bus, "publish", note)
    rig.command("a", "segment it")
    rig.results.wait_for("a")
    rig.command("b")
    rig.results.wait_for("b")
    results = [topic for topic in published if topic.startswith("/vl2/") and "command" not in topic]
    assert results == ["/vl2/label_info", "/vl2/result", "/vl2/result"]


def test_a_topic_whose_type_is_missing_is_skipped(rig, monkeypatch, caplog):
    has = StoreMessageTypes.has
    monkeypatch.setattr(
        StoreMessageTypes, "has", lambda types, name: "LabelInfo" not in name and has(types, name)
    )
    with caplog.at_level(logging.INFO):
        rig.start()
    assert "~/label_info is not offered: vision_msgs/msg/LabelInfo is missing" in caplog.text
    rig.show(rig.open_camera(), 1 * MS)
    rig.command("a", "segment it")
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.message) == (Status.OK, "")
    assert rig.client.count_publishers(rig.name_of("~/label_info")) == 0


def test_result_comes_after_the_topics_of_its_routes(rig):
    rig.start()
    order: list[str] = []
    for topic in RESULT_TOPICS:
        rig.client.subscribe(
            rig.name_of(topic.name),
            topic.type_name,
            Qos(),
            lambda message, name=topic.name: order.append(name),
        )
    rig.show(rig.open_camera(), 1 * MS)
    rig.command("a", "segment the pose")
    wait_until(lambda: "~/result" in order, "the result is there")
    silent = {"~/generated_image", *(topic.name for topic in SPATIAL_TOPICS)}
    assert order == [topic.name for topic in RESULT_TOPICS if topic.name not in silent]


def test_silent_camera_is_a_warning_within_its_time_and_once(rig, caplog):
    with caplog.at_level(logging.INFO):
        rig.start(camera_timeout_s=0.2, diagnostics_period_s=0.1)
        inbox = Inbox(rig.client, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Qos())
        inbox.wait(8)
        warnings = [one for one in caplog.messages if "no image ever came" in one]
        assert len(warnings) == 1
        assert "/image or /image/compressed: nothing publishes there" in warnings[0]
        rig.show(rig.open_camera(), 1 * MS)
        wait_until(lambda: any("come again" in one for one in caplog.messages), "it is back")
        stale = inbox.wait(1, lambda message: message.status[1].level == 3)[0]
    assert stale.status[1].name == "vl2: camera image"
    assert "no image came on /image or /image/compressed for" in stale.status[1].message


def test_camera_that_is_silent_is_not_back_because_the_node_was_restarted(rig, caplog):
    with caplog.at_level(logging.INFO):
        rig.start(camera_timeout_s=0.2, diagnostics_period_s=0.1)

        def count_warnings() -> int:
            return sum("no image ever came" in one for one in caplog.messages)

        wait_until(lambda: count_warnings() == 1, "it is silent")
        rig.server.stop()
        rig.server.start()
        wait_until(lambda: count_warnings() == 2, "it is silent after the restart")
    assert not [one for one in caplog.messages if "come again" in one]


def test_camera_name_that_is_no_topic_is_refused_before_anything_is_open(rig):
    transport = rig.open("vl2")
    with pytest.raises(ConfigError, match="no ROS name"):
        PerceptionServer(rig.perceiver, transport, NodeParameters(cameras=("my camera",)))
    assert transport.count_publishers("~/result") == 0


def test_server_starts_once_and_stops_twice(rig):
    rig.start()
    with pytest.raises(ConfigError, match="runs already"):
        rig.server.start()
    rig.server.stop()
    rig.server.stop()


def test_stopped_server_leaves_no_thread_and_has_no_subscriptions(rig):
    before = set(threading.enumerate())
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    rig.server.stop()
    left = {one for one in set(threading.enumerate()) - before if one.name.startswith("vl2")}
    assert left == set()
    rig.command("a")
    assert rig.client.advertise("/image", "sensor_msgs/msg/Image", Qos()).count_subscribers() == 0
    rig.server.start()
    rig.command("b", deadline_s=0.1)
    assert rig.results.wait()[0].command_id == "b"
    assert rig.client.count_publishers(rig.name_of("~/result")) == 1

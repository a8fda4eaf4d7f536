from __future__ import annotations

import math
from dataclasses import replace

import pytest

from vl2_ros.node.cameras.camera_health import CameraHealth
from vl2_ros.node.cameras.source import SourceHealth
from vl2_ros.node.messages.diagnostic_messages import DiagnosticMessages, Level
from vl2_ros.node.reports import CameraReport, NodeReport, WatchState
from vl2_ros.node.request import Status
from vl2_ros.structures import ModelInfo
from vl2_ros.transports.message_types import StoreMessageTypes

CAMERA = CameraReport("image", received=90, dropped=60, used=30, last_age_s=0.02, rate_hz=29.97)
REPORT = NodeReport(
    cameras=(CAMERA,),
    queue_length=2,
    running_id="seven",
    running_stage="language",
    idle_s=0.4,
    is_stalled=False,
    watches=(WatchState("w", "find it", "image", 10.0, 0.0, 4),),
    answer_counts={status: 0 for status in Status} | {Status.OK: 5},
    unlike_count=0,
    stage_mean_ms={"queue": 1.0, "language": 20.5},
    stage_max_ms={"queue": 2.0, "language": 44.25},
    is_worker_alive=True,
    last_error="",
)
HEALTHY = CameraHealth(CAMERA, "/head/image", reliable=True, publisher_count=1, lost=3)


def make_maker() -> DiagnosticMessages:
    info = ModelInfo("embedded", "0123abcd", "torch", "cpu", ())
    return DiagnosticMessages(StoreMessageTypes(), "robot/vl2", lambda: info)


def count(**counts: int) -> dict[Status, int]:
    return {status: counts.get(status.name, 0) for status in Status}


def test_healthy_node_is_ok_with_all_numbers():
    array = make_maker().make_array(REPORT, (HEALTHY,), 1_700_000_000_000_000_005)
    assert (array.header.stamp.sec, array.header.stamp.nanosec) == (1_700_000_000, 5)
    node, camera = array.status
    assert [(one.level, one.name) for one in array.status] == [
        (Level.OK, "robot/vl2: perception"),
        (Level.OK, "robot/vl2: camera image"),
    ]
    assert node.hardware_id == "torch cpu"
    assert (node.message, camera.message) == ("busy", "30.0 Hz")
    values = {one.key: one.value for one in node.values}
    assert values["queue_length"] == "2"
    assert values["running"] == "seven"
    assert values["watches"] == "w"
    assert values["answers_ok"] == "5"
    assert (values["language_mean_ms"], values["language_max_ms"]) == ("20.50", "44.25")
    values = {one.key: one.value for one in camera.values}
    assert values == {
        "rate_hz": "29.97",
        "received": "90",
        "used": "30",
        "dropped": "60",
        "lost": "3",
        "last_age_s": "0.020",
        "topic": "/head/image",
        "reliability": "reliable",
        "publishers": "1",
    }


def test_worker_that_does_not_run_is_an_error():
    array = make_maker().make_array(replace(REPORT, is_worker_alive=False), (), 0)
    assert array.status[0].level == Level.ERROR


@pytest.mark.parametrize("status", ["FAILED", "EXPIRED", "BUSY"])
def test_trouble_is_a_warning_once(status):
    maker = make_maker()
    report = replace(REPORT, answer_counts=count(**{status: 3}))
    first, second = (maker.make_array(report, (), 0).status[0] for _ in range(2))
    assert first.level == Level.WARN
    assert f"3 {status.lower()}" in first.message
    assert second.level == Level.OK
    more = replace(REPORT, answer_counts=count(**{status: 4}))
    assert f"1 {status.lower()}" in maker.make_array(more, (), 0).status[0].message


def test_canceled_and_invalid_commands_are_their_senders_trouble():
    report = replace(REPORT, answer_counts=count(CANCELED=2, INVALID=2, ENDED=1, OK=1))
    assert make_maker().make_array(report, (), 0).status[0].level == Level.OK


@pytest.mark.parametrize(
    ("camera", "silence", "level", "text"),
    [
        (replace(CAMERA, received=0, last_age_s=math.inf), "", Level.OK, "no image yet"),
        (replace(CAMERA, received=0, last_age_s=math.inf), "none", Level.WARN, "none"),
        (replace(CAMERA, last_age_s=9.0), "gone", Level.STALE, "gone"),
    ],
)
def test_silent_camera_is_reported(camera, silence, level, text):
    health = replace(HEALTHY, report=camera, silence=silence)
    array = make_maker().make_array(REPORT, (health,), 0)
    assert (array.status[1].level, array.status[1].message) == (level, text)


def test_camera_that_loses_images_is_a_warning_with_its_rate():
    health = replace(HEALTHY, loss="6 of 10 images were lost; do this", reliable=False)
    (_, status) = make_maker().make_array(REPORT, (health,), 0).status
    assert status.level == Level.WARN
    assert status.message == "30.0 Hz; 6 of 10 images were lost; do this"
    assert {one.key: one.value for one in status.values}["reliability"] == "best_effort"


SOURCE = SourceHealth("depth", "/depth", True, 9, 29.96, 0.02, 1)


@pytest.mark.parametrize(
    ("changes", "level", "text"),
    [
        ({}, Level.OK, "30.0 Hz"),
        ({"received": 0, "rate_hz": 0.0, "last_age_s": math.inf}, Level.OK, "none came on /depth"),
        ({"fault": "of another size"}, Level.WARN, "of another size"),
        ({"received": 0, "fault": "none", "is_silent": True}, Level.WARN, "none"),
        ({"fault": "gone", "is_silent": True}, Level.STALE, "gone"),
    ],
)
def test_sources_of_a_camera_have_lines_after_it(changes, level, text):
    health = replace(HEALTHY, sources=(replace(SOURCE, **changes),))
    array = make_maker().make_array(REPORT, (health,), 0)
    assert [one.name for one in array.status[1:]] == [
        "robot/vl2: camera image",
        "robot/vl2: camera image depth",
    ]
    assert (array.status[2].level, array.status[2].message) == (level, text)


def test_time_that_has_not_begun_is_a_warning():
    array = make_maker().make_array(REPORT, (), 0, clock_fault="no time has come")
    assert (array.status[0].level, array.status[0].message) == (
        Level.WARN,
        "simulated time: no time has come",
    )


def test_message_can_be_written():
    types = StoreMessageTypes()
    health = replace(HEALTHY, sources=(SOURCE,))
    types.serialize(make_maker().make_array(REPORT, (health,), 1))


def test_answers_about_images_unlike_training_are_a_warning_once():
    maker = make_maker()
    report = replace(REPORT, unlike_count=2)
    first, second = (maker.make_array(report, (), 0).status[0] for _ in range(2))
    assert first.level == Level.WARN
    assert first.message == "2 answers about images unlike those of training"
    assert {one.key: one.value for one in first.values}["answers_unlike_training"] == "2"
    assert second.level == Level.OK

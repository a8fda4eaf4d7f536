"""Outcomes of a command: one result each, stopped, canceled, late, refused."""

from __future__ import annotations

from tests.node.wire import stamp_of, wait_until
from vl2_ros.node.request import Mode, Status

MS = 1_000_000


def test_command_gives_one_result_with_the_stamp_of_its_frame(rig):
    rig.start()
    camera = rig.open_camera()
    rig.show(camera, 1_700_000_000_000_000_123)
    rig.command("first", "find the mug")
    (result,) = rig.results.wait_for("first")
    assert (result.status, result.is_final, result.message) == (Status.OK, True, "")
    assert stamp_of(result) == 1_700_000_000_000_000_123
    assert result.header.frame_id == "image_link"
    assert (result.command_text, result.camera) == ("find the mug", "image")
    assert (result.text, result.routes) == ("answer to: find the mug", ["detect"])
    assert [one.label for one in result.instances] == ["mug", "bowl"]
    assert [one.stage for one in result.stage_times] == ["queue", "decode", "language"]
    rig.command("second")
    rig.results.wait_for("second")
    assert len(rig.results.list()) == 2


def test_sentence_asks_about_the_newest_frame_of_the_first_camera(rig):
    rig.start(cameras=("image", "other"))
    camera, other = rig.open_camera("/image"), rig.open_camera("/other")
    for stamp in (1, 2, 3):
        rig.show(camera, stamp * MS)
    rig.show(other, 9 * MS, name="other")
    rig.say("describe it")
    (result,) = rig.results.wait()
    assert (result.status, stamp_of(result), result.camera) == (Status.OK, 3 * MS, "image")
    assert result.command_id


def test_cancel_stops_the_running_command(rig):
    rig.start()
    camera = rig.open_camera()
    rig.show(camera, 1 * MS)
    rig.perceiver.may_answer.clear()
    rig.command("a")
    assert rig.perceiver.is_running.wait(30.0)
    rig.stop_command("a")
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.is_final) == (Status.CANCELED, True)
    assert rig.perceiver.closed_count == 1
    rig.perceiver.may_answer.set()
    rig.command("b")
    (result,) = rig.results.wait_for("b")
    assert result.status == Status.OK


def test_empty_id_stops_everything(rig):
    rig.start()
    camera = rig.open_camera()
    rig.show(camera, 1 * MS)
    rig.perceiver.may_answer.clear()
    rig.command("running")
    assert rig.perceiver.is_running.wait(30.0)
    rig.command("waiting")
    rig.command("watching", mode=int(Mode.WATCH))
    wait_until(lambda: len(rig.server.node.list_watches()) == 1, "the watch is there")
    rig.stop_command()
    results = {result.command_id: result.status for result in rig.results.wait(3)}
    assert results == {
        "running": Status.CANCELED,
        "waiting": Status.CANCELED,
        "watching": Status.ENDED,
    }


def test_stopping_everything_can_be_switched_off(rig):
    rig.start(allow_stop_all=False)
    rig.show(rig.open_camera(), 1 * MS)
    rig.perceiver.may_answer.clear()
    rig.command("mine")
    assert rig.perceiver.is_running.wait(30.0)
    rig.stop_command()
    (refused,) = rig.results.wait()
    assert (refused.status, refused.is_final) == (Status.INVALID, True)
    assert "allow_stop_all" in refused.message and refused.command_id != "mine"
    rig.stop_command("mine")
    (result,) = rig.results.wait_for("mine")
    assert result.status == Status.CANCELED


def test_command_before_any_frame_waits_until_its_deadline_then_says_so(rig):
    rig.start()
    rig.command("early", deadline_s=0.3)
    (result,) = rig.results.wait_for("early")
    assert (result.status, result.header.frame_id) == (Status.EXPIRED, "")
    assert "no image came on image" in result.message
    rig.command("patient", deadline_s=60.0)
    camera = rig.open_camera()
    rig.show(camera, 7 * MS)
    (result,) = rig.results.wait_for("patient")
    assert (result.status, stamp_of(result)) == (Status.OK, 7 * MS)


def test_deadline_stops_the_running_command(rig):
    rig.start()
    camera = rig.open_camera()
    rig.show(camera, 1 * MS)
    rig.perceiver.may_answer.clear()
    rig.command("late", deadline_s=0.3)
    (result,) = rig.results.wait_for("late")
    assert result.status == Status.EXPIRED
    assert "there was no time" in result.message
    wait_until(lambda: not rig.server.node.report().running_id, "the run is over")
    assert len(rig.results.list()) == 1


def test_full_queue_is_busy_at_once(rig):
    rig.start(queue_size=1, max_watches=0)
    camera = rig.open_camera()
    rig.show(camera, 1 * MS)
    rig.perceiver.may_answer.clear()
    rig.command("running")
    assert rig.perceiver.is_running.wait(30.0)
    rig.command("waiting")
    rig.command("too many")
    rig.command("watch", mode=int(Mode.WATCH))
    refused = rig.results.wait(2)
    assert [(one.command_id, one.status) for one in refused] == [
        ("too many", Status.BUSY),
        ("watch", Status.BUSY),
    ]
    assert "ask again later" in refused[0].message
    rig.perceiver.may_answer.set()
    answered = rig.results.wait(4)[2:]
    assert [(one.command_id, one.status) for one in answered] == [
        ("running", Status.OK),
        ("waiting", Status.OK),
    ]


def test_server_that_is_stopped_ends_its_commands_and_starts_again(rig):
    rig.start()
    camera = rig.open_camera()
    rig.show(camera, 1 * MS)
    rig.command("w", mode=int(Mode.WATCH))
    rig.results.wait_for("w")
    rig.server.stop()
    *_, last = rig.results.wait_for("w", 2)
    assert last.status == Status.ENDED
    rig.server.start()
    rig.show(camera, 2 * MS)
    rig.command("a")
    (result,) = rig.results.wait_for("a")
    assert (result.status, stamp_of(result)) == (Status.OK, 2 * MS)


def test_text_survives_the_way_in_every_language(rig):
    rig.start()
    camera = rig.open_camera()
    rig.show(camera, 1 * MS)
    text = "finde die rote Tasse – 赤いカップ 🍵"
    rig.command("ü", text)
    (result,) = rig.results.wait_for("ü")
    assert (result.status, result.command_text) == (Status.OK, text)
    assert rig.perceiver.seen[0][1].text == text

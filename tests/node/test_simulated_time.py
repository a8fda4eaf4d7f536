"""With simulated time, deadlines, durations, rates and ages follow it; what hangs does not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from tests.node.simulated_rig import S, SimulatedRig
from tests.node.wire import Inbox, stamp_of, wait_until
from vl2_ros.node.request import Mode, Status
from vl2_ros.node.transport import Qos
from vl2_ros.structures import StageEvent

DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
EPOCH_NS = 1_700_000_000 * S


@pytest.fixture
def rig() -> Iterator[SimulatedRig]:
    rig = SimulatedRig(100 * S)
    yield rig
    rig.close()


def test_a_deadline_passes_in_simulated_time_only(rig):
    rig.start()
    rig.command("a", deadline_s=0.05)
    rig.expect_nothing("a")
    rig.go_on(0.1)
    (result,) = rig.results.wait_for("a")
    assert result.status == Status.EXPIRED


def test_a_deadline_outlives_a_jump_back(rig):
    rig.start()
    rig.command("a", deadline_s=10.0)
    rig.wait_for_queue(1)
    rig.go_on(6.0)
    rig.server.node.report()
    rig.now_ns = 1 * S
    rig.server.node.report()
    rig.go_on(3.0)
    rig.expect_nothing("a")
    rig.go_on(1.1)
    assert rig.results.wait_for("a")[0].status == Status.EXPIRED


def test_a_watch_ends_after_its_simulated_duration(rig):
    rig.start()
    rig.command("w", mode=int(Mode.WATCH), duration_s=0.05)
    rig.expect_nothing("w")
    rig.go_on(0.1)
    assert rig.results.wait_for("w")[0].status == Status.ENDED


def test_the_rate_of_a_watch_is_simulated_and_goes_on_after_a_jump_back(rig):
    rig.start()
    camera = rig.open_camera()
    rig.command("w", mode=int(Mode.WATCH), rate_hz=10.0)
    rig.show(camera, 1)
    rig.results.wait_for("w", 1)
    rig.show(camera, 2)
    rig.expect_nothing("w", 1)
    rig.now_ns = 2 * S
    rig.show(camera, 3)
    rig.expect_nothing("w", 1)
    rig.go_on(0.11)
    assert stamp_of(rig.results.wait_for("w", 2)[1]) == 3


def test_an_image_ages_in_simulated_time(rig):
    rig.start(max_frame_age_s=0.05)
    rig.show(rig.open_camera(), 7)
    rig.expect_nothing("a")
    rig.command("a")
    assert rig.results.wait_for("a")[0].status == Status.OK
    rig.go_on(1.0)
    rig.command("b", deadline_s=5.0)
    rig.wait_for_queue(1)
    rig.go_on(5.0)
    (result,) = rig.results.wait_for("b")
    assert result.status == Status.EXPIRED
    assert "no image came on image in the 5 s of the deadline" in result.message


def test_no_age_is_negative_after_a_jump_back(rig):
    rig.start()
    camera = rig.open_camera()
    rig.show(camera, 1)
    rig.go_on(2.0)
    rig.server.node.report()
    rig.now_ns = 0
    rig.go_on(1.0)
    (report,) = rig.server.node.report().cameras
    assert report.last_age_s == pytest.approx(2.0)
    rig.show(camera, 2)
    (report,) = rig.server.node.report().cameras
    assert (report.last_age_s, report.rate_hz) == (0.0, pytest.approx(0.5))


def test_a_run_past_its_simulated_deadline_is_given_up_on_the_wall(rig):
    rig.start()
    may_end = threading.Event()

    def hang(frame, command, memory):
        yield StageEvent("language")
        rig.perceiver.is_running.set()
        may_end.wait(60.0)

    rig.perceiver.run = hang
    rig.show(rig.open_camera(), 5)
    rig.command("a", deadline_s=1.0)
    assert rig.perceiver.is_running.wait(30.0)
    rig.expect_nothing("a")
    rig.go_on(1.0)
    # From here on simulated time stands still, and the answer comes all the same.
    (result,) = rig.results.wait_for("a")
    assert (result.status, stamp_of(result)) == (Status.EXPIRED, 5)
    may_end.set()


def test_a_stall_is_found_while_simulated_time_stands_still(rig):
    rig.start(stall_limit_s=0.1)
    rig.perceiver.may_answer.clear()
    rig.perceiver.run = lambda *_: iter(_wait_and_end(rig))
    rig.show(rig.open_camera(), 1)
    rig.command("a")
    wait_until(lambda: rig.server.node.report().is_stalled, "the stall is found")
    rig.perceiver.may_answer.set()


def _wait_and_end(rig):
    yield StageEvent("language")
    rig.perceiver.may_answer.wait(60.0)


def test_before_the_first_clock_nothing_expires_and_one_warning_says_why(rig, caplog):
    rig.now_ns = 0
    with caplog.at_level(logging.INFO):
        rig.start(diagnostics_period_s=0.1, camera_timeout_s=1.0)
        inbox = Inbox(rig.client, "/diagnostics", DIAGNOSTICS, Qos(depth=100))
        rig.command("a", deadline_s=0.05)

        def is_said(array) -> bool:
            return "no time has come on /clock" in array.status[0].message

        array = inbox.wait(1, is_said)[0]
        assert array.status[0].level == 1
        # A camera cannot be silent for a time that does not pass.
        assert [one.level for one in array.status[1:2]] == [0]
        assert rig.results.list() == []
        rig.now_ns = EPOCH_NS
        wait_until(lambda: "simulated time: it runs" in caplog.messages, "time runs")
        rig.expect_nothing("a")
        rig.go_on(0.1)
        assert rig.results.wait_for("a")[0].status == Status.EXPIRED
    (warning,) = [one for one in caplog.records if "no time has come" in one.getMessage()]
    assert warning.levelno == logging.WARNING
    assert not [one for one in caplog.messages if "no image ever came" in one]


def test_a_pause_is_said_once_and_is_no_warning(rig, caplog):
    with caplog.at_level(logging.INFO):
        rig.start(diagnostics_period_s=0.1)
        wait_until(lambda: any("stands still" in one for one in caplog.messages), "it is said")
        inbox = Inbox(rig.client, "/diagnostics", DIAGNOSTICS, Qos(depth=100))
        array = inbox.wait(3)[-1]
    assert array.status[0].level == 0
    (line,) = [one for one in caplog.records if "stands still" in one.getMessage()]
    assert line.levelno == logging.INFO

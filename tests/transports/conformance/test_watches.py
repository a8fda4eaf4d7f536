"""Promises of a watch: rate, newest frame, no frame twice, an end."""

from __future__ import annotations

import threading
import time

import numpy as np

from tests.node.wire import make_image, stamp_of, wait_until
from tests.transports.harness import Rig
from vl2_ros.node.request import Mode, Status
from vl2_ros.structures import WatchMode

MS = 1_000_000


class StreamingCamera:
    """Publishes images with rising stamps at a rate, until it is stopped."""

    def __init__(self, rig: Rig, camera, rate_hz: float) -> None:
        self._rig, self._camera, self._period_s = rig, camera, 1.0 / rate_hz
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.count = 0

    def __enter__(self) -> StreamingCamera:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._period_s):
            self.count += 1
            self._camera.publish(make_image(self._rig.client.types, self.count * MS))


def test_watch_at_10_hz_from_a_30_hz_camera_neither_repeats_nor_lags(rig):
    rig.start()
    camera = rig.open_camera()
    lags: list[int] = []
    run = rig.perceiver.run

    def run_and_measure(frame, command, memory):
        lags.append(rig.received() - frame.stamp_ns // MS)
        return run(frame, command, memory)

    rig.perceiver.run = run_and_measure
    with StreamingCamera(rig, camera, 30.0) as stream:
        began_s = time.monotonic()
        rig.command("w", mode=int(Mode.WATCH), rate_hz=10.0)
        results = rig.results.wait_for("w", 12)
        spent_s = time.monotonic() - began_s
        rig.stop_command("w")
        wait_until(lambda: rig.results.list()[-1].is_final, "the watch has ended")
    stamps = [stamp_of(result) for result in results]
    assert stamps == sorted(set(stamps)), "a frame was repeated"
    assert [result.sequence for result in results] == list(range(len(results)))
    assert not any(result.is_final for result in results)
    # No burst: results come a period apart, but for the half that makes up for a delay.
    assert len(results) <= 10.0 * spent_s + 2
    assert stream.count >= 2 * len(results)
    # Frames that come between the choice and the measurement are no lag; they are rare.
    assert sorted(lags)[int(0.8 * len(lags))] <= 1


def test_watch_takes_the_newest_frame_after_a_long_answer(rig):
    rig.start()
    camera = rig.open_camera()
    rig.show(camera, 1 * MS)
    rig.perceiver.may_answer.clear()
    rig.command("w", mode=int(Mode.WATCH))
    assert rig.perceiver.is_running.wait(30.0)
    for stamp in range(2, 9):
        rig.show(camera, stamp * MS)
    rig.perceiver.may_answer.set()
    results = rig.results.wait_for("w", 2)
    assert [stamp_of(result) for result in results] == [1 * MS, 8 * MS]
    (report,) = rig.server.node.report().cameras
    assert (report.received, report.dropped, report.used) == (8, 6, 2)


def test_stopped_watch_says_so_and_is_silent_then(rig):
    rig.start()
    camera = rig.open_camera()
    rig.show(camera, 1 * MS)
    rig.command("w", mode=int(Mode.WATCH))
    rig.results.wait_for("w")
    rig.stop_command("w")
    *_, last = rig.results.wait_for("w", 2)
    assert (last.status, last.is_final, last.sequence) == (Status.ENDED, True, 1)
    rig.show(camera, 2 * MS)
    rig.command("after")
    rig.results.wait_for("after")
    assert len(rig.results.wait_for("w")) == 2
    rig.stop_command("w")
    (refusal,) = rig.results.wait_for("refused:w")
    assert refusal.status == Status.INVALID
    assert "nothing to stop" in refusal.message


def test_watch_ends_by_itself(rig):
    rig.start()
    camera = rig.open_camera()
    rig.show(camera, 1 * MS)
    rig.command("w", mode=int(Mode.WATCH), duration_s=0.5)
    results = rig.results.wait(1, lambda message: message.is_final)
    assert (results[-1].command_id, results[-1].status) == ("w", Status.ENDED)


def test_unknown_watch_mode_is_invalid_and_names_the_known_ones(rig):
    rig.start()
    rig.command("w", mode=int(Mode.WATCH), watch_mode=200)
    (refused,) = rig.results.wait_for("w")
    assert (refused.status, refused.is_final) == (Status.INVALID, True)
    assert "1 (PLAIN), 2 (EXACT), 3 (CACHED), 4 (AUTO)" in refused.message
    assert "got 200" in refused.message
    assert rig.server.node.list_watches() == ()


def test_tracks_and_text_as_generated_reach_who_asked(rig):
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    rig.perceiver.track_ids = np.array([7, 0])
    rig.command("w", mode=int(Mode.WATCH), watch_mode=int(WatchMode.CACHED))
    (result,) = rig.results.wait_for("w")
    assert [one.track_id for one in result.instances] == [7, 0]
    assert result.raw_text == "answer to: find it[DET]"
    assert (result.in_domain, result.answer_score, result.answer_age) == (0, 0.0, 0)

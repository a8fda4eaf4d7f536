from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.node.stepwise_perceiver import make_image
from vl2_ros.node.cameras.camera_buffer import CameraBuffer
from vl2_ros.node.request import Mode, Request
from vl2_ros.node.scheduling.jobs import Watch
from vl2_ros.node.scheduling.watches import WatchList


class Camera:
    """A buffer that a test moves through time."""

    def __init__(self) -> None:
        self.buffer = CameraBuffer("image")
        self.now_s = 0.0
        self.count = 0

    def shoot(self, now_s: float) -> None:
        self.now_s = now_s
        self.count += 1
        self.buffer.put(make_image(self.count), now_s)

    def find(self, camera: str):
        return self.buffer.find_fresh(self.now_s, 0.0) if camera == "image" else None


def make_watch(name: str, *, rate_hz: float = 0.0, duration_s: float = 0.0, camera: str = "image"):
    request = Request("what is there?", name, Mode.WATCH, camera, rate_hz, duration_s)
    return Watch(request=request, camera=camera, waits_since_s=0.0)


def start_times(rate_hz: float, camera_hz: float, delays_s: list[float], seconds: float = 30.0):
    """When one watch looks, if the worker comes to it with these delays over and over."""
    camera, watches = Camera(), WatchList()
    watches.add(make_watch("w", rate_hz=rate_hz))
    starts: list[float] = []
    now_s, shot = 0.0, 0
    while now_s < seconds:
        while shot / camera_hz <= now_s:
            camera.shoot(shot / camera_hz)
            shot += 1
        camera.now_s = now_s
        if watches.take(now_s, camera.find):
            starts.append(now_s)
        due_s = watches.find_next_due_s(now_s, camera.find)
        delay_s = delays_s[len(starts) % len(delays_s)]
        now_s = max(min(due_s, shot / camera_hz), now_s) + delay_s
    return starts


def test_ten_hertz_from_a_thirty_hertz_camera_does_not_drift():
    starts = start_times(10.0, 30.0, [0.013, 0.002, 0.0])
    assert len(starts) == pytest.approx(300, abs=2)
    for index, start_s in enumerate(starts):
        assert 0.1 * index <= start_s + 1e-9 <= 0.1 * index + 0.05


def test_rate_zero_looks_at_every_image():
    assert len(start_times(0.0, 8.0, [0.0])) == 8 * 30


def test_a_camera_slower_than_the_rate_is_followed_image_by_image():
    assert len(start_times(10.0, 4.0, [0.001])) == pytest.approx(4 * 30, abs=1)


def test_after_a_stall_nothing_is_made_up_for():
    starts = start_times(10.0, 100.0, [0.0] * 20 + [3.0])
    after = [start_s for start_s in starts if 4.9 < start_s < 5.9]
    assert 9 <= len(after) <= 11
    stalls = [b - a for a, b in zip(starts, starts[1:], strict=False)]
    assert max(stalls) > 2.9 and min(stalls) > 0.049


@settings(deadline=None, max_examples=50)
@given(
    rate_hz=st.floats(0.5, 60.0),
    camera_hz=st.floats(1.0, 60.0),
    delays_s=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6),
)
def test_never_above_the_rate_and_never_in_bursts(rate_hz, camera_hz, delays_s):
    starts = start_times(rate_hz, camera_hz, delays_s, seconds=10.0)
    for index, start_s in enumerate(starts):
        assert start_s >= index / rate_hz - 1e-6
    for before, after in zip(starts, starts[1:], strict=False):
        assert after - before >= 0.5 / rate_hz - 1e-6


def test_a_image_is_looked_at_once():
    camera, watches = Camera(), WatchList()
    watches.add(make_watch("w"))
    camera.shoot(1.0)
    assert watches.take(1.0, camera.find) is not None
    assert watches.take(2.0, camera.find) is None
    assert watches.find_next_due_s(2.0, camera.find) == math.inf
    camera.shoot(3.0)
    assert watches.take(3.0, camera.find) is not None


def test_watches_take_turns_whatever_came_between():
    camera, watches = Camera(), WatchList()
    for name in "abc":
        watches.add(make_watch(name))
    turns = []
    for now_s in range(1, 8):
        camera.shoot(float(now_s))
        taken = watches.take(float(now_s), camera.find)
        assert taken is not None
        turns.append(taken[0].request.id)
        if now_s == 4:
            watches.add(make_watch("d"))
    assert turns == ["a", "b", "c", "a", "d", "b", "c"]


def test_a_watch_that_cannot_look_does_not_hold_up_others():
    camera, watches = Camera(), WatchList()
    watches.add(make_watch("blind", camera="other"))
    watches.add(make_watch("later", rate_hz=0.1))
    watches.add(make_watch("now"))
    taken = []
    for now_s in (1.0, 2.0, 3.0, 4.0):
        camera.shoot(now_s)
        pair = watches.take(now_s, camera.find)
        assert pair is not None
        taken.append(pair[0].request.id)
    assert taken == ["later", "now", "now", "now"]


def test_a_watch_ends_after_its_duration():
    camera, watches = Camera(), WatchList()
    watches.add(make_watch("short", duration_s=2.0))
    watches.add(make_watch("long"))
    assert watches.find_next_end_s() == 2.0
    states = {state.id: state for state in watches.describe(0.5, camera.find)}
    assert states["short"].remaining_s == pytest.approx(1.5)
    assert states["long"].remaining_s == 0.0
    camera.shoot(2.0)
    pair = watches.take(2.0, camera.find)
    assert pair is not None and pair[0].request.id == "long"
    assert watches.describe(2.5, camera.find)[0].remaining_s > 0.0
    assert [watch.request.id for watch in watches.take_ended(2.0)] == ["short"]
    assert [state.id for state in watches.describe(2.0, camera.find)] == ["long"]
    assert len(watches) == 1 and watches.find_next_end_s() == math.inf

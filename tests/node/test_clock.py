"""The node's clock counts what goes forward, and a thread that waits for it wakes up."""

from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vl2_ros.node.clock import STANDSTILL_S, Moment, NodeClock

S = 1_000_000_000
EPOCH_NS = 1_700_000_000 * S
PATIENCE_S = 30.0


class Times:
    """Simulated time as a test sets it."""

    def __init__(self, simulated_ns: int | None) -> None:
        self.simulated_ns = simulated_ns
        self.clock = NodeClock(lambda: self.simulated_ns)
        self.began_s = self.clock.now().s

    def go_to(self, simulated_ns: int | None) -> float:
        """Set the time, and return what the clock has counted since it was made."""
        self.simulated_ns = simulated_ns
        return self.clock.now().s - self.began_s


def test_real_time_is_that_of_the_wall(clock):
    times = Times(None)
    clock.advance(1e6)
    now = times.clock.now()
    assert now.s == now.wall_s > times.began_s + 1e6
    assert (times.clock.explain_standstill(), times.clock.is_unset) == ("", False)


def test_simulated_time_counts_forwards_only(clock):
    times = Times(100 * S)
    assert times.go_to(103 * S) == pytest.approx(3.0)
    clock.advance(1000.0)
    assert times.go_to(103 * S) == pytest.approx(3.0)
    assert times.clock.now().wall_s > times.began_s + 1000.0
    # A recording that begins again.
    assert times.go_to(2 * S) == pytest.approx(3.0)
    assert times.go_to(4 * S) == pytest.approx(5.0)


def test_the_first_simulated_time_is_no_jump_from_1970():
    times = Times(0)
    assert times.clock.is_unset
    assert times.go_to(EPOCH_NS) == 0.0
    assert times.go_to(EPOCH_NS + S) == pytest.approx(1.0)
    assert not times.clock.is_unset


def test_changing_between_real_and_simulated_time_is_no_jump(clock):
    times = Times(None)
    clock.advance(5.0)
    before_s = times.go_to(None)
    assert times.go_to(EPOCH_NS) == before_s
    clock.advance(7.0)
    assert times.go_to(EPOCH_NS + S) - before_s == pytest.approx(1.0)
    after_s = times.go_to(None)
    assert after_s - before_s == pytest.approx(1.0)
    clock.advance(2.0)
    assert times.go_to(None) - after_s >= 2.0


@given(st.lists(st.none() | st.integers(0, 4 * EPOCH_NS)))
def test_the_clock_never_goes_back(readings):
    times = Times(None)
    last_s = 0.0
    for simulated_ns in readings:
        now_s = times.go_to(simulated_ns)
        assert now_s >= last_s
        last_s = now_s


def test_time_that_stands_still_is_explained_and_one_that_never_began_otherwise(clock):
    times = Times(0)
    assert times.clock.explain_standstill() == ""
    clock.advance(STANDSTILL_S)
    assert "no time has come on /clock" in times.clock.explain_standstill()
    times.go_to(S)
    assert times.clock.explain_standstill() == ""
    clock.advance(STANDSTILL_S)
    assert "stands still" in times.clock.explain_standstill()


@pytest.mark.parametrize("ahead_s", [0.05, 100_000.0])
def test_a_thread_that_waits_wakes_up_when_simulated_time_has_come(ahead_s):
    simulated_ns = S
    clock, condition = NodeClock(lambda: simulated_ns), threading.Condition()
    until = Moment(clock.now().s + ahead_s, math.inf)
    has_come = threading.Event()

    def wait() -> None:
        with condition:
            while clock.now().s < until.s:
                clock.wait(condition, until)
        has_come.set()

    threading.Thread(target=wait, daemon=True).start()
    # Many times as long as it is ahead on the wall, where that is short.
    assert not has_come.wait(0.3)
    simulated_ns += round((ahead_s + 1) * S)
    assert has_come.wait(PATIENCE_S)


@pytest.mark.parametrize("simulated_ns", [None, S])
def test_a_wait_ends_at_the_wall_s_end_also_while_simulated_time_stands_still(simulated_ns):
    clock, condition = NodeClock(lambda: simulated_ns), threading.Condition()
    wall_s = clock.now().wall_s + 0.05
    with condition:
        while clock.now().wall_s < wall_s:
            clock.wait(condition, Moment(math.inf, wall_s))

"""Simulated time: stamps follow it, and whatever it does the node answers."""

from __future__ import annotations

import pytest

from tests.node.wire import Inbox, stamp_of, wait_until
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos

pytestmark = pytest.mark.ros

S = 1_000_000_000


class Simulator:
    """Publishes /clock until the node has seen it."""

    def __init__(self, client) -> None:
        self._make = client.make
        self._clock = client.transport.advertise("/clock", "rosgraph_msgs/msg/Clock", Qos(depth=1))
        kind = "diagnostic_msgs/msg/DiagnosticArray"
        self.diagnostics = Inbox(client.transport, "/diagnostics", kind, Qos(depth=100))

    def set(self, now_s: int) -> None:
        stamp = self._make("builtin_interfaces/msg/Time", sec=now_s)

        def is_received() -> bool:
            self._clock.publish(self._make("rosgraph_msgs/msg/Clock", clock=stamp))
            received = self.diagnostics.list()
            return bool(received) and stamp_of(received[-1]) == now_s * S

        wait_until(is_received, f"diagnostics are stamped {now_s} s")


def test_node_starts_before_simulated_time_does(running, client):
    running.start(use_sim_time=True, autostart=True)
    wait_until(lambda: client.get_state() == "active", "the node is active")


def test_clock_that_stands_still_or_steps_back_stops_nothing(running, client):
    running.start(use_sim_time=True, diagnostics_period_s=0.1, max_frame_age_s=1.0)
    client.activate()
    simulator = Simulator(client)
    inbox = client.listen()
    # A recording that ends, and begins again.
    for turn, now_s in enumerate((100, 200, 5, 6)):
        simulator.set(now_s)
        client.show_image(now_s * S)()
        result = client.ask(inbox, f"turn {turn}")
        assert (result.status, stamp_of(result)) == (Status.OK, now_s * S), result.message


def test_deadlines_run_while_simulated_time_stands_still(running, client):
    running.start(use_sim_time=True, diagnostics_period_s=0.1)
    client.activate()
    Simulator(client).set(7)
    # No image comes.
    assert client.ask(client.listen(), "a", deadline_s=0.2).status == Status.EXPIRED

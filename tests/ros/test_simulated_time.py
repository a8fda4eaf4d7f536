"""Simulated time: stamps, deadlines, durations and rates follow it, whatever it does."""

from __future__ import annotations

import time

import pytest

from tests.node.wire import Inbox, stamp_of, wait_until
from tests.ros.running_node import PATIENCE_S, wait_for
from vl2_ros.node.request import Mode, Status
from vl2_ros.node.transport import Qos

pytestmark = pytest.mark.ros

S = 1_000_000_000
#: Seconds of the wall in which nothing may happen.
STILL_S = 0.5


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


def test_deadline_and_duration_pass_in_simulated_time_only(running, client):
    running.start(use_sim_time=True, diagnostics_period_s=0.1)
    client.activate()
    simulator = Simulator(client)
    simulator.set(7)
    inbox = client.listen()
    # No image comes.
    client.command("a", deadline_s=0.2)
    client.command("w", mode=int(Mode.WATCH), duration_s=0.2)
    wait_until(lambda: running.node._server.node.list_watches(), "both are there")
    time.sleep(STILL_S)
    assert inbox.list() == []
    # Neither does a jump back end anything.
    simulator.set(2)
    time.sleep(STILL_S)
    assert inbox.list() == []
    simulator.set(3)
    assert inbox.wait_for("a")[0].status == Status.EXPIRED
    assert inbox.wait_for("w")[0].status == Status.ENDED


def test_rate_of_a_watch_is_simulated_and_survives_a_jump_back(running, client):
    running.start(use_sim_time=True, diagnostics_period_s=0.1)
    client.activate()
    simulator = Simulator(client)
    simulator.set(100)
    inbox = client.listen()
    show = client.show_image()
    client.ask(inbox, "w", mode=int(Mode.WATCH), rate_hz=1.0)
    show()
    time.sleep(STILL_S)
    assert len(inbox.list()) == 1
    simulator.set(1)
    show()
    time.sleep(STILL_S)
    assert len(inbox.list()) == 1
    simulator.set(3)
    assert len(inbox.wait_for("w", 2)) == 2


def test_deadline_of_a_goal_passes_in_simulated_time(running, client):
    from rclpy.action import ActionClient
    from vl2_ros.action import Perceive
    from vl2_ros.msg import VisionCommand

    running.start(use_sim_time=True, diagnostics_period_s=0.1)
    client.activate()
    simulator = Simulator(client)
    simulator.set(7)
    action = ActionClient(client.node, Perceive, "/vl2/perceive")
    assert action.wait_for_server(PATIENCE_S)
    goal = Perceive.Goal(command=VisionCommand(text="find it", deadline_s=0.2))
    result = wait_for(action.send_goal_async(goal), "goal").get_result_async()
    time.sleep(STILL_S)
    assert not result.done()
    simulator.set(8)
    assert wait_for(result, "result").result.result.status == Status.EXPIRED


def test_results_of_goals_do_not_pile_up_while_simulated_time_stands_still(
    running, client, monkeypatch
):
    from action_msgs.msg import GoalStatus
    from rclpy.action import ActionClient
    from vl2_ros.action import Perceive
    from vl2_ros.msg import VisionCommand

    from vl2_ros.ros_node import perceive_action

    running.start(use_sim_time=True, diagnostics_period_s=0.1)
    client.activate()
    Simulator(client).set(7)
    client.show_image()
    monkeypatch.setattr(perceive_action, "_RESULT_KEPT_S", 0.05)
    action = ActionClient(client.node, Perceive, "/vl2/perceive")
    assert action.wait_for_server(PATIENCE_S)

    def send(command_id: str):
        goal = Perceive.Goal(command=VisionCommand(text="find it", id=command_id))
        return wait_for(action.send_goal_async(goal), "goal")

    old = send("old")
    wait_until(lambda: old.status == GoalStatus.STATUS_SUCCEEDED, "the first goal has ended")
    time.sleep(0.1)
    new = wait_for(send("new").get_result_async(), "result").result.result
    assert (new.status, len(new.instances)) == (Status.OK, 2)
    emptied = wait_for(old.get_result_async(), "result").result.result
    assert (emptied.status, emptied.command_id, emptied.instances) == (Status.FAILED, "old", [])
    assert "was kept for 0.05 s" in emptied.message


def test_before_the_first_clock_nothing_expires_and_a_warning_says_why(running, client, caplog):
    running.start(use_sim_time=True, diagnostics_period_s=0.1)
    client.activate()
    simulator = Simulator(client)
    inbox = client.listen()
    client.command("a", deadline_s=0.2)

    def is_said(array) -> bool:
        return "no time has come on /clock" in array.status[0].message

    simulator.diagnostics.wait(1, is_said)
    assert inbox.list() == []
    (line,) = [one for one in caplog.messages if "no time has come on /clock" in one]
    assert "use_sim_time" in line
    # The first time is no jump.
    simulator.set(1_700_000_000)
    time.sleep(STILL_S)
    assert inbox.list() == []
    simulator.set(1_700_000_001)
    assert inbox.wait_for("a")[0].status == Status.EXPIRED


def test_real_time_is_not_that_of_a_clock_topic(running, client):
    running.start(diagnostics_period_s=0.1)
    client.activate()
    clock = client.transport.advertise("/clock", "rosgraph_msgs/msg/Clock", Qos(depth=1))
    clock.publish(client.make("rosgraph_msgs/msg/Clock"))
    assert client.ask(client.listen(), "a", deadline_s=0.2).status == Status.EXPIRED

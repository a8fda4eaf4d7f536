"""The action and the services of the node."""

from __future__ import annotations

import threading

import pytest

from tests.node.wire import wait_until
from tests.ros.running_node import PATIENCE_S, wait_for
from vl2_ros.node.request import Mode, Status
from vl2_ros.structures import Route, StageEvent, WatchMode

pytestmark = pytest.mark.ros


class Goals:
    """Sends goals and keeps the feedback."""

    def __init__(self, client) -> None:
        from rclpy.action import ActionClient
        from vl2_ros.action import Perceive

        self._client, self._type = client, Perceive
        self._action = ActionClient(client.node, Perceive, "/vl2/perceive")
        assert self._action.wait_for_server(PATIENCE_S)
        self.feedback: list = []

    def send(self, text: str = "find it", **fields):
        command = self._client.make("vl2_ros/msg/VisionCommand", text=text, **fields)
        future = self._action.send_goal_async(
            self._type.Goal(command=command),
            feedback_callback=lambda message: self.feedback.append(message.feedback),
        )
        return wait_for(future, "goal")


def result_of(handle):
    response = wait_for(handle.get_result_async(), "result")
    return response.status, response.result.result


@pytest.fixture
def goals(running, client) -> Goals:
    running.start()
    client.activate()
    client.show_image(7_000_000)
    return Goals(client)


def test_goal_gives_feedback_and_one_complete_result(running, goals):
    from action_msgs.msg import GoalStatus

    running.perceiver.may_answer.clear()
    handle = goals.send("segment it", id="mine")
    assert handle.accepted
    wait_until(lambda: any(one.text for one in goals.feedback), "feedback has come")
    running.perceiver.may_answer.set()
    status, result = result_of(handle)
    assert status == GoalStatus.STATUS_SUCCEEDED
    assert (result.status, result.command_id, result.is_final) == (Status.OK, "mine", True)
    assert (result.routes, result.header.stamp.nanosec) == (["segment"], 7_000_000)
    assert [one.label for one in result.instances] == ["mug", "bowl"]
    assert sum(result.instances[0].mask.counts) == 16 * 24
    stages = [one.stage for one in goals.feedback]
    assert stages[0] == "decode" and "language" in stages
    assert goals.feedback[-1].text == "still thinking"
    assert goals.feedback[-1].routes == ["segment"]


def test_goal_for_an_image_reports_progress_and_returns_it(running, client, goals):
    from action_msgs.msg import GoalStatus

    running.perceiver.may_answer.clear()
    options = client.make("vl2_ros/msg/ImageOptions", seed=2**63 - 1, steps=5, scheduler="dpm++")
    handle = goals.send("change it", id="edit", image_options=options)
    wait_until(lambda: any(one.text for one in goals.feedback), "feedback has come")
    assert all(one.progress == 0 for one in goals.feedback)
    # A client that has the result gets no feedback any more, not even what is on its way.
    running.perceiver.may_end.clear()
    running.perceiver.may_answer.set()
    wait_until(lambda: goals.feedback[-1].progress == 1.0, "the last step is reported")
    running.perceiver.may_end.set()
    status, result = result_of(handle)
    assert (status, result.status) == (GoalStatus.STATUS_SUCCEEDED, Status.OK)
    reported = [one.progress for one in goals.feedback if one.stage == "diffusion"]
    assert reported == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    (made,) = result.images
    assert (made.route, made.seed, made.steps, made.scheduler) == ("edit", 2**63 - 1, 5, "dpm++")
    assert made.image.header == result.header and made.image.header.stamp.nanosec == 7_000_000
    # The camera shows an even 90.
    assert (made.image.height, made.image.width) == (16, 24)
    assert set(made.image.data) == {255 - 90}


def test_goal_with_options_that_cannot_be_used_is_aborted(client, goals):
    from action_msgs.msg import GoalStatus

    options = client.make("vl2_ros/msg/ImageOptions", guidance=float("nan"))
    status, result = result_of(goals.send("paint it", image_options=options))
    assert (status, result.status) == (GoalStatus.STATUS_ABORTED, Status.INVALID)
    assert "guidance must be a number in 0..100, got nan" in result.message


def test_cancel_stops_the_run(running, goals):
    from action_msgs.msg import GoalStatus

    running.perceiver.may_answer.clear()
    handle = goals.send()
    assert running.perceiver.is_running.wait(PATIENCE_S)
    canceled = wait_for(handle.cancel_goal_async(), "cancel")
    assert len(canceled.goals_canceling) == 1
    status, result = result_of(handle)
    assert (status, result.status) == (GoalStatus.STATUS_CANCELED, Status.CANCELED)
    assert running.perceiver.closed_count == 1
    running.perceiver.may_answer.set()
    assert result_of(goals.send())[1].status == Status.OK


def test_goal_that_cannot_be_used_is_aborted_with_the_reason(goals):
    from action_msgs.msg import GoalStatus

    status, result = result_of(goals.send(""))
    assert (status, result.status) == (GoalStatus.STATUS_ABORTED, Status.INVALID)
    assert "the command is empty" in result.message


def test_goals_beyond_the_queue_are_busy_at_once(running, client):
    running.start(queue_size=1)
    client.activate()
    client.show_image()
    goals = Goals(client)
    running.perceiver.may_answer.clear()
    first = goals.send(id="first")
    assert running.perceiver.is_running.wait(PATIENCE_S)
    second = goals.send(id="second")
    others = [goals.send(id=f"more {number}") for number in range(20)]
    for handle in others:
        status, result = result_of(handle)
        assert result.status == Status.BUSY, result
        assert "ask again later" in result.message
    running.perceiver.may_answer.set()
    assert [result_of(one)[1].status for one in (first, second)] == [Status.OK, Status.OK]


def test_many_waiting_goals_leave_the_node_alive(running, client):
    running.start(queue_size=100)
    client.activate()
    show = client.show_image()
    goals = Goals(client)
    running.perceiver.may_answer.clear()
    handles = [goals.send(id=f"goal {number}") for number in range(24)]
    assert client.get_state() == "active"
    assert client.set_parameter("score_threshold", 0.5).successful
    running.perceiver.may_answer.set()
    show()
    statuses = [result_of(handle)[1].status for handle in handles]
    assert statuses.count(Status.OK) == 16
    assert statuses.count(Status.BUSY) == 8


def test_inactive_node_rejects_goals(running, client):
    running.start()
    client.activate()
    goals = Goals(client)
    assert client.change_state("deactivate")
    assert not goals.send().accepted


def test_deactivate_ends_a_goal(running, client, goals):
    from action_msgs.msg import GoalStatus

    running.perceiver.may_answer.clear()
    handle = goals.send()
    assert running.perceiver.is_running.wait(PATIENCE_S)
    assert client.change_state("deactivate")
    status, result = result_of(handle)
    assert (status, result.status) == (GoalStatus.STATUS_ABORTED, Status.CANCELED)


def test_goal_of_a_perceiver_that_hangs_is_answered_and_nothing_waits_for_it(
    running, client, goals
):
    from action_msgs.msg import GoalStatus

    may_end = threading.Event()

    def hang(frame, command, memory):
        yield StageEvent("language")
        may_end.wait(60.0)

    running.perceiver.run = hang
    try:
        status, result = result_of(goals.send(id="hung", deadline_s=0.2))
        assert (status, result.status) == (GoalStatus.STATUS_ABORTED, Status.EXPIRED)
        waiting = goals.send(id="waiting")
        assert "hangs" in running.node.end(0.0)
        status, result = result_of(waiting)
        assert status == GoalStatus.STATUS_ABORTED
        # BUSY when it was not given to the node before that was stopped.
        assert result.status in (Status.CANCELED, Status.BUSY)
    finally:
        may_end.set()


def test_goal_whose_answer_never_comes_ends_after_the_server(running, client, goals, monkeypatch):
    from action_msgs.msg import GoalStatus

    from vl2_ros.ros_node import perceive_action

    monkeypatch.setattr(perceive_action, "_LAST_WAIT_S", 0.1)
    is_submitted = threading.Event()

    def lose(*message, **listeners):
        is_submitted.set()
        return "lost"

    monkeypatch.setattr(running.node._server, "submit", lose)
    handle = goals.send(id="lost")
    # A goal that runs only after deactivate is BUSY.
    assert is_submitted.wait(PATIENCE_S)
    assert client.change_state("deactivate")
    status, result = result_of(handle)
    assert (status, result.status) == (GoalStatus.STATUS_ABORTED, Status.FAILED)
    assert (result.command_id, "stopped" in result.message) == ("lost", True)


def test_services_say_that_the_node_is_not_active(running, client):
    from vl2_ros.srv import GetInfo, ListWatches, Stop, Watch

    running.start()
    info = client.call("get_info", GetInfo)
    assert (info.version, info.model) == ("1.2.3", "")
    assert client.change_state("configure")
    assert client.call("get_info", GetInfo).model == "scripted"
    command = client.make("vl2_ros/msg/VisionCommand", text="find it")
    refused = client.call("watch", Watch, command=command)
    assert not refused.accepted and "not active" in refused.message
    assert "not active" in client.call("stop", Stop).message
    assert client.call("list_watches", ListWatches).watches == []


def test_services_start_list_and_stop_watches(running, client):
    from vl2_ros.srv import GetInfo, ListWatches, Stop, Watch

    running.start(max_watches=1)
    client.activate()
    client.show_image()

    def watch(**fields):
        command = client.make("vl2_ros/msg/VisionCommand", mode=int(Mode.ASK), **fields)
        return client.call("watch", Watch, command=command)

    started = watch(id="w", text="find it", rate_hz=5.0, watch_mode=int(WatchMode.CACHED))
    assert (started.accepted, started.id, started.message) == (True, "w", "")
    refused = watch(id="v", text="find it")
    assert not refused.accepted and "at most 1" in refused.message
    empty = watch(text="")
    assert not empty.accepted and "is empty" in empty.message
    unknown = watch(text="find it", watch_mode=200)
    assert not unknown.accepted and "watch_mode must be one of" in unknown.message
    (state,) = client.call("list_watches", ListWatches).watches
    assert (state.id, state.text, state.camera, state.rate_hz) == ("w", "find it", "image", 5.0)
    assert state.watch_mode == WatchMode.CACHED
    assert client.call("stop", Stop, id="w").stopped == 1
    nothing = client.call("stop", Stop, id="w")
    assert nothing.stopped == 0 and "nothing to stop" in nothing.message
    assert client.call("list_watches", ListWatches).watches == []
    info = client.call("get_info", GetInfo)
    assert (info.version, info.model, info.backend) == ("1.2.3", "scripted", "numpy")
    assert info.cameras == ["image"]
    assert "segment" in info.routes and len(info.routes) == len(Route)

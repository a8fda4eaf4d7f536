"""What raises inside of rclpy's callbacks is told and answered, and the node goes on."""

from __future__ import annotations

import logging
import threading

import pytest

from tests.node.wire import wait_until
from tests.ros.running_node import PATIENCE_S, wait_for
from vl2_ros.node.request import Status

pytestmark = pytest.mark.ros


class Panic(BaseException):
    """As native libraries raise one; no Exception."""


@pytest.mark.parametrize("kind", [ZeroDivisionError, Panic])
def test_service_that_fails_answers_and_the_next_call_works(running, client, monkeypatch, kind):
    from vl2_ros.srv import GetInfo, Stop

    running.start()
    client.activate()

    def fail(command_id: str) -> int:
        raise kind("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(running.node._server, "cancel", fail)
        response = client.call("stop", Stop, id="x")
        assert (response.stopped, "failed" in response.message) == (0, True)
    assert "nothing to stop" in client.call("stop", Stop, id="x").message
    assert client.call("get_info", GetInfo).version == "1.2.3"


@pytest.mark.parametrize("kind", [ZeroDivisionError, Panic])
def test_goal_that_fails_is_aborted_with_a_result(running, client, monkeypatch, kind):
    from action_msgs.msg import GoalStatus
    from rclpy.action import ActionClient
    from vl2_ros.action import Perceive

    running.start()
    client.activate()
    client.show_picture()
    action = ActionClient(client.node, Perceive, "/vl2/perceive")
    assert action.wait_for_server(PATIENCE_S)

    def ask():
        command = client.make("vl2_ros/msg/VisionCommand", text="find it")
        goal = Perceive.Goal(command=command)
        handle = wait_for(action.send_goal_async(goal), "goal")
        assert handle.accepted
        response = wait_for(handle.get_result_async(), "result")
        return response.status, response.result.result.status

    def fail(*arguments, **options) -> str:
        raise kind("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(running.node._server, "submit", fail)
        assert ask() == (GoalStatus.STATUS_ABORTED, Status.FAILED)
    assert ask() == (GoalStatus.STATUS_SUCCEEDED, Status.OK)


def test_change_of_parameters_that_fails_is_refused_and_the_next_works(
    running, client, monkeypatch
):
    from vl2_ros.transports.rclpy_node import lifecycle_node

    running.start()
    client.activate()

    def fail(*arguments) -> None:
        raise Panic("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle_node, "check_change", fail)
        refused = client.set_parameter("score_threshold", 0.5)
        assert (refused.successful, "failed" in refused.reason) == (False, True)
    assert client.set_parameter("score_threshold", 0.5).successful


class BrokenExecutor:
    """As an executor whose `spin` fails so many times before it ends in order."""

    class context:  # noqa: N801 as rclpy names it
        @staticmethod
        def ok() -> bool:
            return True

    def __init__(self, failures: float) -> None:
        self.left = failures
        self.spun = threading.Event()

    def spin(self) -> None:
        self.left -= 1
        if self.left >= 0:
            raise RuntimeError("failed to take")
        self.spun.set()


def test_executor_that_fails_now_and_then_is_spun_again(caplog):
    from vl2_ros.transports.rclpy_node.spinning import start_spinning

    executor = BrokenExecutor(3)
    thread = start_spinning(executor, "test")
    assert executor.spun.wait(PATIENCE_S)
    thread.join()
    assert thread.failure == ""
    assert sum("failed to take" in one.getMessage() for one in caplog.records) == 1


def test_executor_that_always_fails_is_given_up_aloud(caplog):
    from vl2_ros.transports.rclpy_node.spinning import start_spinning

    thread = start_spinning(BrokenExecutor(float("inf")), "test")
    thread.join(PATIENCE_S)
    assert "cannot be spun any more" in thread.failure and "failed to take" in thread.failure
    assert [one.levelno for one in caplog.records][-1] == logging.CRITICAL


def test_context_that_somebody_else_shuts_down_is_a_failure(dds_domain):
    from vl2_ros.transports.ros import open_ros_transport

    transport = open_ros_transport("node")
    assert transport.failure == ""
    transport._node.context.try_shutdown()
    wait_until(lambda: transport.failure != "", "it is told")
    assert "context was shut down" in transport.failure
    transport.close()
    assert transport.failure == ""

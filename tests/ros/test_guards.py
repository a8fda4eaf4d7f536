"""Exceptions inside of rclpy's callbacks are logged and answered, and the node continues."""

from __future__ import annotations

import logging
import threading

import pytest

from tests.node.wire import wait_until
from tests.ros.running_node import PATIENCE_S, wait_for
from vl2_ros.errors import TransportError
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos

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
    client.show_image()
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
    from vl2_ros.ros_node import managed_node

    running.start()
    client.activate()

    def fail(*arguments) -> None:
        raise Panic("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(managed_node, "check_change", fail)
        refused = client.set_parameter("score_threshold", 0.5)
        assert (refused.successful, "failed" in refused.reason) == (False, True)
    assert client.set_parameter("score_threshold", 0.5).successful


def test_change_of_state_that_cannot_be_made_is_answered(running, client):
    """More often than the thread that spins the node would bear exceptions."""
    running.start()
    for _ in range(10):
        assert not client.change_state("activate")
    assert client.get_state() == "unconfigured"
    client.activate()
    assert not client.change_state("configure")
    assert client.get_state() == "active"


def test_parameter_of_a_kind_that_is_none_is_refused(running, client):
    from rcl_interfaces.msg import Parameter, ParameterValue
    from rcl_interfaces.srv import SetParameters

    running.start()
    strange = Parameter(name="score_threshold", value=ParameterValue(type=99))
    for _ in range(10):
        (result,) = client.call("set_parameters", SetParameters, parameters=[strange]).results
        assert (result.successful, "failed" in result.reason) == (False, True)
    assert client.set_parameter("score_threshold", 0.5).successful


def test_message_that_cannot_be_read_silences_nothing(running, client, caplog):
    """rclpy keeps the callback group of a subscription whose reading raises."""
    running.start()
    client.activate()
    inbox = client.listen()
    client.show_image()
    (broken,) = [one for one in running.node.subscriptions if one.topic_name == "/vl2/command"]
    publisher = client.transport.advertise("/vl2/command", "std_msgs/msg/String", Qos(depth=20))
    wait_until(lambda: publisher.count_subscribers() > 0, "the node subscribes to commands")
    right, broken.msg_type = broken.msg_type, object
    for _ in range(10):
        publisher.publish(client.make("std_msgs/msg/String", data="find it"))
    wait_until(lambda: "reading from a subscription failed" in caplog.text, "it is logged")
    assert client.ask(inbox, "other topic").status == Status.OK
    broken.msg_type = right
    publisher.publish(client.make("std_msgs/msg/String", data="find the last"))
    inbox.wait(keep=lambda result: result.command_text == "find the last")


def test_callbacks_that_raise_again_and_again_do_not_end_the_executor(running, client, caplog):
    running.start()

    def fail() -> None:
        raise ZeroDivisionError("a bug")

    timer = running.node.create_timer(0.001, fail)
    wait_until(lambda: "a callback of the ROS 2 node" in caplog.text, "it is logged")
    for _ in range(20):
        assert client.get_state() == "unconfigured"
    timer.cancel()
    assert running._thread.failure == "" and running._thread.is_alive()


@pytest.mark.parametrize(
    "fields", [{"deadline_s": "soon"}, {"text": 7}, {"mode": 300}, {"mode": "ask"}]
)
def test_value_that_does_not_fit_its_field_is_an_error_before_it_is_sent(client, fields):
    """rclpy's own check is off by default in Jazzy; sent, such a message ends the process."""
    with pytest.raises(TransportError, match="VisionCommand"):
        client.make("vl2_ros/msg/VisionCommand", **fields)


class BrokenExecutor:
    """An executor whose `spin` fails a number of times before it ends in order."""

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
            self.wait_failure = RuntimeError("failed to take")
            raise self.wait_failure
        self.spun.set()


def test_executor_that_fails_now_and_then_is_spun_again(caplog):
    from vl2_ros.transports.ros.spinning import start_spinning

    executor = BrokenExecutor(3)
    thread = start_spinning(executor, "test")
    assert executor.spun.wait(PATIENCE_S)
    thread.join()
    assert thread.failure == ""
    assert sum("failed to take" in one.getMessage() for one in caplog.records) == 1


def test_executor_that_always_fails_is_given_up_with_an_error(caplog):
    from vl2_ros.transports.ros.spinning import start_spinning

    thread = start_spinning(BrokenExecutor(float("inf")), "test")
    thread.join(PATIENCE_S)
    assert "cannot be spun any more" in thread.failure and "failed to take" in thread.failure
    assert [one.levelno for one in caplog.records][-1] == logging.CRITICAL


def test_context_shut_down_by_other_code_is_a_failure(dds_domain):
    from vl2_ros.transports.ros.transport import open_ros_transport

    transport = open_ros_transport("node")
    assert transport.failure == ""
    transport._node.context.try_shutdown()
    wait_until(lambda: transport.failure != "", "it is logged")
    assert "context was shut down" in transport.failure
    transport.close()
    assert transport.failure == ""


def test_thread_that_is_about_to_wait_ends_in_time(dds_domain, monkeypatch):
    """rclpy wakes a thread and destroys the waker at once; a thread must not miss it."""
    import rclpy.executors

    from vl2_ros.transports.ros.transport import open_ros_transport

    transport = open_ros_transport("node")
    is_about_to, may_wait = threading.Event(), threading.Event()
    count = rclpy.executors.NumberOfEntities

    def hold(*numbers: int):
        # It has looked whether it is to end, and now makes up what it waits for.
        is_about_to.set()
        may_wait.wait(PATIENCE_S)
        return count(*numbers)

    with monkeypatch.context() as patch:
        patch.setattr(rclpy.executors, "NumberOfEntities", hold)
        transport._node.executor.wake()
        assert is_about_to.wait(PATIENCE_S)
        closing = threading.Thread(target=transport.close)
        closing.start()
        closing.join(0.2)
    may_wait.set()
    closing.join(5.0)
    assert not closing.is_alive()

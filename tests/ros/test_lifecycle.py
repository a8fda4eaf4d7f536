"""What the states of the managed node promise, through the services that ROS 2's tools use."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest

from tests.node.scripted_perceiver import ScriptedPerceiver
from tests.node.wire import Inbox, stamp_of, wait_until
from vl2_ros.errors import CheckpointError
from vl2_ros.node.parameters import ProcessParameters
from vl2_ros.node.request import Status
from vl2_ros.node.result_messages import RESULT
from vl2_ros.node.transport import Qos

pytestmark = pytest.mark.ros


def listen(client) -> Inbox:
    return Inbox(client.transport, "/vl2/result", RESULT.type_name, Qos())


def ask(client, inbox: Inbox, command_id: str) -> object:
    commands = client.transport.advertise("/vl2/vision_command", "vl2_ros/msg/VisionCommand", Qos())
    wait_until(lambda: commands.count_subscribers() > 0, "commands are listened to")
    wait_until(lambda: client.transport.count_publishers("/vl2/result") > 0, "results are offered")
    commands.publish(client.make("vl2_ros/msg/VisionCommand", id=command_id, text="find it"))
    (result,) = inbox.wait_for(command_id)
    return result


def test_node_starts_by_itself(running, client):
    running.start(autostart=True)
    wait_until(lambda: client.get_state() == "active", "the node is active")
    assert running.loaded == [ProcessParameters()]
    inbox = listen(client)
    client.show_picture(5_000_000)
    result = ask(client, inbox, "a")
    assert (result.status, stamp_of(result)) == (Status.OK, 5_000_000)


def test_states_load_listen_and_free(running, client):
    running.start(
        weights="some/folder", device="cpu", without=["image_generation"], memory_budget_mb=8000.0
    )
    wanted = ProcessParameters("some/folder", "cpu", ("image_generation",), 8000.0, autostart=False)
    assert (client.get_state(), running.loaded) == ("unconfigured", [])
    assert client.change_state("configure")
    assert (client.get_state(), running.loaded) == ("inactive", [wanted])
    count = client.transport.count_publishers
    wait_until(lambda: count("/vl2/result") == 1, "results are offered")
    cameras = client.node.count_subscribers
    assert cameras("/image") == 0
    assert client.change_state("activate")
    wait_until(lambda: cameras("/image") == 1, "the camera is looked at")
    assert client.change_state("deactivate")
    wait_until(lambda: cameras("/image") == 0, "the camera is let go")
    assert count("/vl2/result") == 1
    loaded = weakref.ref(running.perceiver)
    running.perceiver = ScriptedPerceiver()
    assert client.change_state("cleanup")
    wait_until(lambda: count("/vl2/result") == 0, "the topics are closed")
    wait_until(lambda: gc.collect() >= 0 and loaded() is None, "the model is freed")
    client.activate()
    inbox = listen(client)
    client.show_picture()
    assert ask(client, inbox, "again").status == Status.OK


def test_deactivate_ends_what_runs_with_an_answer(running, client):
    running.start()
    client.activate()
    inbox = listen(client)
    client.show_picture()
    running.perceiver.may_answer.clear()
    commands = client.transport.advertise("/vl2/vision_command", "vl2_ros/msg/VisionCommand", Qos())
    wait_until(lambda: commands.count_subscribers() > 0, "commands are listened to")
    wait_until(lambda: client.transport.count_publishers("/vl2/result") > 0, "results are offered")
    for command_id in ("running", "waiting"):
        commands.publish(client.make("vl2_ros/msg/VisionCommand", id=command_id, text="find it"))
    assert running.perceiver.is_running.wait(30.0)
    assert client.change_state("deactivate")
    results = {one.command_id: one.status for one in inbox.wait(2)}
    assert results == {"running": Status.CANCELED, "waiting": Status.CANCELED}
    assert client.get_state() == "inactive"


@pytest.mark.parametrize(
    ("failure", "state"),
    [(CheckpointError("no weights folder at x"), "unconfigured"), (ZeroDivisionError(), None)],
)
def test_failing_load_is_said_and_can_be_tried_again(running, client, caplog, failure, state):
    running.start()
    running.failure = failure
    with caplog.at_level(logging.ERROR):
        assert not client.change_state("configure")
    assert state is None or "no weights folder at x" in caplog.text
    assert "cannot be configured" in caplog.text or "failed unexpectedly" in caplog.text
    assert client.get_state() == "unconfigured"
    running.failure = None
    client.activate()
    assert client.get_state() == "active"


def test_wrong_parameter_is_a_failure_of_configure(running, client, caplog):
    running.start(cameras=["a", "a"])
    with caplog.at_level(logging.ERROR):
        assert not client.change_state("configure")
    assert "cameras must differ" in caplog.text
    assert client.set_parameter("cameras", ["a", "b"]).successful
    assert client.change_state("configure")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_worker_that_died_brings_the_node_back_to_unconfigured(running, client, caplog):
    running.start()
    client.activate()
    inbox = listen(client)
    show = client.show_picture()

    class Deadly(BaseException):
        """Passes every `except Exception`."""

    def die(frame, command):
        raise Deadly

    running.perceiver.run = die
    commands = client.transport.advertise("/vl2/command", "std_msgs/msg/String", Qos())
    wait_until(lambda: commands.count_subscribers() > 0, "commands are listened to")
    with caplog.at_level(logging.ERROR):
        commands.publish(client.make("std_msgs/msg/String", data="find it"))
        wait_until(lambda: client.get_state() == "unconfigured", "lifecycle tools see it")
    assert "the worker has ended" in caplog.text
    running.perceiver = ScriptedPerceiver()
    client.activate()
    wait_until(lambda: client.node.count_subscribers("/image") == 1, "the camera is looked at")
    show()
    assert ask(client, inbox, "again").status == Status.OK


def test_shutdown_from_active(running, client):
    running.start()
    client.activate()
    assert client.change_state("shutdown")
    assert client.get_state() == "finalized"
    wait_until(lambda: client.node.count_subscribers("/image") == 0, "the camera is let go")

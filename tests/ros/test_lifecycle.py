"""Promises of the managed node's states, through the services that ROS 2's tools use."""

from __future__ import annotations

import gc
import logging
import re
import threading
import weakref

import pytest

from tests.node.scripted_perceiver import ScriptedPerceiver
from tests.node.wire import stamp_of, wait_until
from vl2_ros.errors import CheckpointError
from vl2_ros.node.parameters import ProcessParameters
from vl2_ros.node.perception import PerceptionNode
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos
from vl2_ros.structures import StageEvent

pytestmark = pytest.mark.ros


def test_node_starts_by_itself(running, client):
    running.start(autostart=True)
    wait_until(lambda: client.get_state() == "active", "the node is active")
    assert running.loaded == [ProcessParameters()]
    inbox = client.listen()
    client.show_image(5_000_000)
    result = client.ask(inbox, "a")
    assert (result.status, stamp_of(result)) == (Status.OK, 5_000_000)


def test_states_load_listen_and_free(running, client):
    running.start(
        weights="some/folder", device="cpu", without=["image_generation"], memory_budget_mb=8000.0
    )
    wanted = ProcessParameters(
        "some/folder",
        "cpu",
        without=("image_generation",),
        memory_budget_mb=8000.0,
        autostart=False,
    )
    assert (client.get_state(), running.loaded) == ("unconfigured", [])
    assert client.change_state("configure")
    assert (client.get_state(), running.loaded) == ("inactive", [wanted])
    count = client.transport.count_publishers
    wait_until(lambda: count("/vl2/result") == 1, "results are offered")
    cameras = client.node.count_subscribers
    assert cameras("/image") == 0
    assert client.change_state("activate")
    wait_until(lambda: cameras("/image") == 1, "the node subscribes to the camera")
    assert client.change_state("deactivate")
    wait_until(lambda: cameras("/image") == 0, "the camera is released")
    assert count("/vl2/result") == 1
    loaded = weakref.ref(running.perceiver)
    running.perceiver = ScriptedPerceiver()
    assert client.change_state("cleanup")
    wait_until(lambda: count("/vl2/result") == 0, "the topics are closed")
    wait_until(lambda: gc.collect() >= 0 and loaded() is None, "the model is freed")
    client.activate()
    inbox = client.listen()
    client.show_image()
    assert client.ask(inbox, "again").status == Status.OK


def test_every_change_of_state_is_a_line_of_the_log(running, client, caplog):
    running.start()
    with caplog.at_level(logging.INFO):
        client.activate()
        for label in ("deactivate", "cleanup", "configure", "activate", "shutdown"):
            assert client.change_state(label)
    states = r"(configured|active|inactive|unconfigured|finalized)\b"
    found = [re.match(states, one.message) for one in caplog.records]
    assert [one[0] for one in found if one] == [
        *("configured", "active", "inactive", "unconfigured"),
        *("configured", "active", "finalized"),
    ]


def test_deactivate_ends_what_runs_with_an_answer(running, client):
    running.start()
    client.activate()
    inbox = client.listen()
    client.show_image()
    running.perceiver.may_answer.clear()
    commands = client.transport.advertise("/vl2/vision_command", "vl2_ros/msg/VisionCommand", Qos())
    wait_until(lambda: commands.count_subscribers() > 0, "the node subscribes to commands")
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
def test_failing_load_is_reported_and_can_be_tried_again(running, client, caplog, failure, state):
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


def test_worker_that_died_is_reported_to_the_process(running, client, monkeypatch):
    monkeypatch.setattr(PerceptionNode, "_work", lambda self: None)
    running.start(diagnostics_period_s=0.1)
    client.activate()
    wait_until(lambda: running.failures != [], "it is reported")
    assert "has ended; the process must be started again" in running.failures[0]


def test_worker_that_hangs_ends_in_an_error_within_bounds(running, client, caplog):
    """Every command has its answer; then the process is asked to end."""
    may_end = threading.Event()

    def hang(frame, command, memory):
        yield StageEvent("language")
        running.perceiver.is_running.set()
        may_end.wait(60.0)

    running.start()
    running.perceiver.run = hang
    client.activate()
    inbox = client.listen()
    client.show_image()
    try:
        expired = client.ask(inbox, "hung", deadline_s=0.2)
        assert (expired.status, "language" in expired.message) == (Status.EXPIRED, True)
        assert not client.change_state("deactivate")
        assert client.get_state() == "finalized"
        assert running.failures == ["the worker hangs; the process ends without it"]
        assert "does not stop" in caplog.text
    finally:
        may_end.set()


def test_deactivate_while_it_hangs_answers_what_waits(running, client):
    may_end = threading.Event()

    def hang(frame, command, memory):
        running.perceiver.is_running.set()
        may_end.wait(60.0)
        yield StageEvent("language")

    running.start()
    running.perceiver.run = hang
    client.activate()
    inbox = client.listen()
    client.show_image()
    commands = client.transport.advertise("/vl2/vision_command", "vl2_ros/msg/VisionCommand", Qos())
    wait_until(lambda: commands.count_subscribers() > 0, "the node subscribes to commands")
    wait_until(lambda: client.transport.count_publishers("/vl2/result") > 0, "results are there")
    for command_id in ("running", "waiting"):
        commands.publish(client.make("vl2_ros/msg/VisionCommand", id=command_id, text="find it"))
    assert running.perceiver.is_running.wait(30.0)
    node = running.node._server.node
    wait_until(lambda: node.report().queue_length == 1, "the second command waits")
    try:
        assert not client.change_state("deactivate")
        results = {one.command_id: one.status for one in inbox.wait(2)}
        assert results == {"running": Status.CANCELED, "waiting": Status.CANCELED}
    finally:
        may_end.set()


def test_shutdown_from_active(running, client):
    running.start()
    client.activate()
    assert client.change_state("shutdown")
    assert client.get_state() == "finalized"
    wait_until(lambda: client.node.count_subscribers("/image") == 0, "the camera is released")

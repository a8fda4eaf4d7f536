"""What ends does so once and last: a watch while its result goes out, a server in odd moments."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.node.stepwise_perceiver import StepwisePerceiver, ask, make_image, running_node
from tests.node.wire import PATIENCE_S, wait_until
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.node import server as server_module
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.perception import PerceptionNode
from vl2_ros.node.request import Answer, Mode, Status
from vl2_ros.node.scheduling.jobs import GRACE_S
from vl2_ros.node.service_calls import ServiceCalls
from vl2_ros.transports.message_types import StoreMessageTypes

MS = 1_000_000


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.close()


def test_nothing_of_a_watch_comes_after_its_end_however_long_a_result_takes_to_send():
    heard: list[Status] = []
    is_sending, may_send = threading.Event(), threading.Event()

    def send(answer: Answer) -> None:
        if answer.status is Status.OK:
            is_sending.set()
            assert may_send.wait(PATIENCE_S)
        heard.append(answer.status)

    node = PerceptionNode(StepwisePerceiver(), NodeParameters(max_frame_age_s=0.0), send)
    node.start()
    node.put_image("image", make_image(1))
    node.submit(ask("w", mode=Mode.WATCH))
    assert is_sending.wait(PATIENCE_S)
    assert node.cancel("w") == 1
    time.sleep(2 * GRACE_S)
    may_send.set()
    wait_until(lambda: len(heard) == 2, "both are sent")
    node.stop()
    assert heard == [Status.OK, Status.ENDED]


def test_a_second_stop_leaves_alone_what_was_started_meanwhile(monkeypatch):
    perceiver = StepwisePerceiver()
    with running_node(perceiver) as (node, log):
        join, may_go_on, joined = threading.Thread.join, threading.Event(), threading.Event()

        def join_late(thread, timeout=None):
            join(thread, timeout)
            if threading.current_thread().name == "late":
                joined.set()
                assert may_go_on.wait(PATIENCE_S)

        monkeypatch.setattr(threading.Thread, "join", join_late)
        late = threading.Thread(target=node.stop, name="late")
        late.start()
        assert joined.wait(PATIENCE_S)
        node.stop()
        node.start()
        perceiver.hold()
        node.put_image("image", make_image(1))
        node.submit(ask("a"))
        perceiver.wait_for_steps(1)
        may_go_on.set()
        join(late, PATIENCE_S)
        perceiver.go()
        assert log.wait_for_final("a").status is Status.OK


def test_a_thread_that_keeps_the_time_is_missed(monkeypatch):
    monkeypatch.setattr(PerceptionNode, "_keep_time", lambda self: None)
    with running_node(StepwisePerceiver()) as (node, _):
        wait_until(lambda: not node.report().is_worker_alive, "its end is seen")


def test_a_stop_from_a_callback_changes_nothing(rig):
    rig.start()
    camera = rig.open_camera()
    rig.show(camera, 1 * MS)
    refusals: list[ConfigError] = []

    def stop(answer: Answer) -> None:
        try:
            rig.server.stop()
        except ConfigError as error:
            refusals.append(error)

    message = rig.client.types.make("vl2_ros/msg/VisionCommand", id="a", text="find it")
    rig.server.submit(message, Mode.ASK, on_answer=stop)
    wait_until(lambda: refusals, "it is refused")
    assert rig.server.is_active
    rig.show(camera, 2 * MS)
    rig.command("b")
    assert rig.results.wait_for("b")[0].status == Status.OK
    assert rig.server.stop() is True
    assert not rig.server.is_active


def test_the_callback_of_a_failure_may_stop_the_server(rig, monkeypatch):
    monkeypatch.setattr(PerceptionNode, "_work", lambda self: None)
    stopped: list[bool] = []
    rig.start(on_failure=lambda reason: stopped.append(rig.server.stop()), diagnostics_period_s=0.1)
    wait_until(lambda: stopped, "the server is stopped")
    assert stopped == [True]


def test_a_listener_to_failures_that_fails_does_not_end_the_diagnostics(rig, monkeypatch):
    monkeypatch.setattr(PerceptionNode, "_work", lambda self: None)

    def fail(reason: str) -> None:
        raise ZeroDivisionError

    rig.start(on_failure=fail, diagnostics_period_s=0.1)
    time.sleep(0.3)
    assert rig.server._timer.is_alive()


def test_commands_behind_one_that_takes_long_to_read_are_answered_at_the_end(rig, monkeypatch):
    read = server_module.read_command

    def read_slowly(*given):
        time.sleep(0.12)
        return read(*given)

    monkeypatch.setattr(server_module, "read_command", read_slowly)
    rig.start()
    names = [f"c{index}" for index in range(15)]
    for name in names:
        rig.command(name)
    rig.server.stop()
    for name in names:
        assert rig.results.wait_for(name)[0].is_final


def test_no_command_may_have_the_id_of_a_refusal(rig):
    rig.start()
    rig.command("refused:a")
    (refusal,) = rig.results.wait_for("refused:a")
    assert refusal.status == Status.INVALID and "refused:" in refusal.message


def test_a_watch_that_is_over_before_its_service_returns_was_accepted(rig, monkeypatch):
    rig.start()
    submit = rig.server.node.submit

    def submit_late(request, *, on_event=None, on_answer=None):
        ended = threading.Event()

        def note(answer: Answer) -> None:
            on_answer(answer)
            ended.set()

        submit(request, on_answer=note)
        assert ended.wait(PATIENCE_S)

    monkeypatch.setattr(rig.server.node, "submit", submit_late)
    types = StoreMessageTypes()
    command = types.make("vl2_ros/msg/VisionCommand", id="w", text="find it", duration_s=1e-6)
    request = types.make("vl2_ros/srv/Watch_Request", command=command)
    response = ServiceCalls(types, lambda: rig.server, "9.9").watch(request)
    assert (response.accepted, response.message) == (True, "")


def test_an_id_that_no_result_could_repeat_is_not_sent(rig):
    rig.start()
    client = PerceptionClient(rig.open("other"), node_name="vl2")
    with pytest.raises(InputError, match="at most 256 characters"):
        client.send("find it", command_id="a" * 257)


def test_diagnostics_count_what_could_not_be_read(rig):
    rig.start()
    rig.command("a", "")
    rig.results.wait_for("a")
    assert rig.server.node.report().answer_counts[Status.INVALID] == 1


def test_the_end_of_a_flood_of_failures_is_reported(rig, monkeypatch, caplog):
    rig.start(diagnostics_period_s=0.1)
    repeated = rig.server.node._repeated
    monkeypatch.setattr(repeated, "_period_s", 0.2)
    rig.show(rig.open_camera(), 1 * MS)
    for name in ("a", "b", "c"):
        rig.command(name, "crash")
        rig.results.wait_for(name)
    wait_until(lambda: "more times in the last" in caplog.text, "the count is logged")


def test_an_image_on_its_way_at_the_stop_is_not_looked_at_later():
    perceiver = StepwisePerceiver()
    with running_node(perceiver) as (node, log):
        node.stop()
        node.put_image("image", make_image(1))
        node.start()
        node.submit(ask("a"))
        time.sleep(0.2)
        node.put_image("image", make_image(2))
        log.wait_for_final("a")
        assert perceiver.runs[-1] == ("a", 2)

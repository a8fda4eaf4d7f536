"""Every id gets exactly one last result, also when others use it and while the node stops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.node.wire import wait_until
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.node.request import Mode, Status

MS = 1_000_000


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.close()


def count_finals(rig: Rig) -> Counter[str]:
    return Counter(one.command_id for one in rig.results.list() if one.is_final)


def test_a_stop_of_what_has_ended_gives_no_second_last_result(rig):
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    rig.command("a")
    rig.results.wait_for("a")
    rig.stop_command("a")
    (refusal,) = rig.results.wait_for("refused:a")
    assert (refusal.status, refusal.is_final) == (Status.INVALID, True)
    assert count_finals(rig)["a"] == 1


@pytest.mark.parametrize("text", ["find another", "", "find " * 2000])
def test_a_command_with_the_id_of_another_is_refused_under_a_name_of_its_own(rig, text):
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    rig.perceiver.may_answer.clear()
    rig.command("a")
    assert rig.perceiver.is_running.wait(30.0)
    rig.command("a", text)
    (refusal,) = rig.results.wait_for("refused:a")
    assert refusal.status == Status.INVALID
    rig.perceiver.may_answer.set()
    assert rig.results.wait_for("a")[0].status == Status.OK
    assert count_finals(rig) == {"a": 1, "refused:a": 1}


def test_the_sender_of_a_refused_command_hears_of_it(rig):
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    rig.command("a", mode=int(Mode.WATCH))
    rig.results.wait_for("a")
    client = PerceptionClient(rig.open("other"), node_name=rig.node_name.strip("/"))
    client.require_node(30.0)
    client.send("find it", command_id="a")
    *_, last = client.follow("a", 30.0)
    assert (last.status, last.is_final) == (Status.INVALID, True)


def test_commands_that_arrive_during_stop_are_answered(rig):
    rig.start(queue_size=1000)
    rig.show(rig.open_camera(), 1 * MS)
    rig.perceiver.may_answer.clear()
    rig.command("runs")
    assert rig.perceiver.is_running.wait(30.0)
    names = [f"c{index}" for index in range(100)]
    for name in names:
        rig.command(name)
    rig.server.stop()
    wait_until(lambda: len(count_finals(rig)) == 101, "all are answered")
    assert set(count_finals(rig).values()) == {1}
    statuses = {one.status for one in rig.results.list()}
    assert statuses <= {Status.CANCELED, Status.BUSY}


def test_a_started_node_answers_again_after_a_stop_with_commands_on_their_way(rig):
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    for index in range(20):
        rig.command(f"c{index}")
    rig.server.stop()
    rig.server.start()
    rig.show(rig.open_camera(), 2 * MS)
    rig.command("after")
    assert rig.results.wait_for("after")[0].status == Status.OK

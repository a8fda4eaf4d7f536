"""The bond with a lifecycle manager, whose end is ROS 2's own bondpy, as Nav2's is bondcpp."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.node.wire import Inbox, wait_until
from tests.ros.running_node import PATIENCE_S
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos

pytestmark = pytest.mark.ros

STATUS = "bond/msg/Status"


class Manager:
    """Makes bonds with a node named vl2, as a lifecycle manager does after it has activated it."""

    def __init__(self, client) -> None:
        self._client = client
        self._bonds: list[Any] = []

    def bond(self, timeout_s: float = PATIENCE_S) -> Any:
        bondpy = pytest.importorskip("bondpy.bondpy", reason="ros: bondpy is not installed")
        bond = bondpy.Bond(self._client.node, "bond", "vl2")
        bond.heartbeat_period = 0.1
        bond.heartbeat_timeout = timeout_s
        bond.start()
        self._bonds.append(bond)
        return bond

    def close(self) -> None:
        for bond in self._bonds:
            bond.shutdown()


@pytest.fixture
def manager(client) -> Iterator[Manager]:
    manager = Manager(client)
    yield manager
    manager.close()


def is_formed(bond) -> bool:
    from rclpy.duration import Duration

    return bond.wait_until_formed(Duration(seconds=PATIENCE_S))


def is_broken(bond) -> bool:
    from rclpy.duration import Duration

    return bond.wait_until_broken(Duration(seconds=PATIENCE_S))


def test_active_node_forms_the_bond_and_deactivate_breaks_it(running, client, manager):
    running.start()
    for _ in range(2):
        client.activate()
        bond = manager.bond()
        assert is_formed(bond)
        wait_until(lambda: running.node._bond._protocol.is_formed, "the node also knows it")
        assert not bond.is_broken()
        assert client.change_state("deactivate")
        assert is_broken(bond)
        assert client.change_state("cleanup")


@pytest.mark.parametrize("how", ["shutdown", "end of the process"])
def test_end_of_the_node_breaks_the_bond(running, client, manager, how):
    running.start()
    client.activate()
    bond = manager.bond()
    assert is_formed(bond)
    if how == "shutdown":
        assert client.change_state("shutdown")
    else:
        assert running.node.end(PATIENCE_S) == ""
    assert is_broken(bond)


def test_node_keeps_running_without_its_manager_and_accepts_the_next_one(running, client, manager):
    running.start()
    client.activate()
    client.show_image()
    inbox = client.listen()
    first = manager.bond()
    assert is_formed(first)
    wait_until(lambda: running.node._bond._protocol.is_formed, "the node knows it")
    first.break_bond()
    assert is_broken(first)
    wait_until(lambda: not running.node._bond._protocol.is_formed, "the node has received it")
    assert client.get_state() == "active"
    assert client.ask(inbox, "a").status == Status.OK
    assert is_formed(manager.bond())


def test_kill_breaks_the_bond_and_the_next_process_forms_one(start, client, manager):
    asking = PerceptionClient(client.transport)
    killed = start("none")
    asking.require_node(PATIENCE_S)
    bond = manager.bond(timeout_s=1.0)
    assert is_formed(bond)
    # bondpy's patience begins with the second heartbeat.
    Inbox(client.transport, "/bond", STATUS, Qos(depth=100)).wait(
        3, lambda beat: beat.instance_id != bond.instance_id
    )
    killed.kill()
    assert is_broken(bond)
    start("none", "--max-frame-age-s", "0")
    wait_until(asking.has_node, "it is back")
    assert is_formed(manager.bond(timeout_s=1.0))


def test_heartbeats_say_what_they_are(running, client):
    running.start(bond_heartbeat_period=0.05)
    heard = Inbox(client.transport, "/bond", STATUS, Qos(depth=100))
    client.activate()
    for beat in heard.wait(3):
        assert (beat.id, beat.active, beat.instance_id != "") == ("vl2", True, True)
        assert beat.heartbeat_period == pytest.approx(0.05) and beat.heartbeat_timeout == 4.0
    assert len({beat.instance_id for beat in heard.list()}) == 1
    assert client.change_state("deactivate")
    heard.wait(keep=lambda beat: not beat.active)


def test_period_of_zero_is_no_bond(running, client):
    running.start(bond_heartbeat_period=0.0)
    client.activate()
    assert client.node.count_publishers("/bond") == client.node.count_subscribers("/bond") == 0


def test_node_works_where_ros_has_no_bond(running, client, monkeypatch, caplog):
    from vl2_ros.transports.ros.message_types import find_class

    find_class.cache_clear()
    for name in ("bond", "bond.msg"):
        monkeypatch.setitem(sys.modules, name, None)
    running.start()
    with caplog.at_level(logging.INFO):
        client.activate()
    (line,) = [one for one in caplog.records if "package bond is missing" in one.getMessage()]
    assert line.levelno == logging.INFO and "bond_timeout: 0.0" in line.getMessage()
    inbox = client.listen()
    client.show_image()
    assert client.ask(inbox, "a").status == Status.OK
    find_class.cache_clear()

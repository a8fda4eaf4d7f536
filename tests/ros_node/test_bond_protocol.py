"""The node's end of a bond against a manager's end; no ROS is needed."""

from __future__ import annotations

import pytest

from vl2_ros.ros_node.bond_protocol import (
    CONNECT_S,
    FAREWELL_S,
    HEARTBEAT_TIMEOUT_S,
    BondProtocol,
    Change,
)

QUIET = (Change.NONE, None)


@pytest.fixture
def bond() -> BondProtocol:
    bond = BondProtocol("vl2")
    bond.begin(0.0)
    return bond


def receive(bond, manager="m", *, active=True, at=0.0, bond_id="vl2", timeout_s=4.0):
    return bond.receive(bond_id, manager, active, timeout_s, at)


def test_heartbeats_end_when_unanswered_for_long(bond):
    assert bond.is_beating(0.0) and bond.is_beating(CONNECT_S - 0.01)
    assert not bond.is_beating(CONNECT_S)
    assert not bond.is_formed


def test_heartbeat_of_a_manager_forms_the_bond_and_is_answered_at_once(bond):
    assert receive(bond, at=1.0) == (Change.FORMED, True)
    assert bond.is_formed
    assert receive(bond, at=1.1) == QUIET
    assert bond.is_beating(1000.0)


def test_manager_that_comes_late_is_answered(bond):
    assert not bond.is_beating(CONNECT_S + 1)
    assert receive(bond, at=CONNECT_S + 1) == (Change.FORMED, True)
    assert bond.is_beating(CONNECT_S + 1)


def test_bonds_of_others_and_its_own_heartbeats_are_ignored(bond):
    assert receive(bond, bond_id="controller_server") == QUIET
    assert receive(bond, bond.instance_id) == QUIET
    assert receive(bond, "") == QUIET
    assert not bond.is_formed


def test_end_is_published_once_and_again_to_a_manager_that_still_beats(bond):
    receive(bond)
    assert bond.end(5.0)
    assert not bond.end(5.0)
    assert not bond.is_beating(5.0)
    assert receive(bond, at=5.1) == (Change.NONE, False)
    assert receive(bond, "other", at=5.1) == QUIET
    # Its acknowledgement is none to be acknowledged.
    assert receive(bond, active=False, at=5.2) == QUIET
    assert receive(bond, at=5.0 + FAREWELL_S) == QUIET


def test_manager_that_ends_the_bond_is_answered_until_it_confirms(bond):
    receive(bond)
    assert receive(bond, active=False, at=2.0) == (Change.BROKEN, False)
    assert not bond.is_formed and not bond.is_beating(2.0)
    assert receive(bond, active=False, at=2.1) == (Change.NONE, False)
    # What was on its way.
    assert receive(bond, at=2.2) == QUIET
    assert receive(bond, "stranger", active=False, at=2.2) == QUIET


def test_next_manager_may_bond_after_the_first_has_ended(bond):
    receive(bond)
    receive(bond, active=False, at=2.0)
    assert receive(bond, "next", at=3.0) == (Change.FORMED, True)
    assert bond.is_beating(100.0)


def test_second_manager_is_refused_until_the_first_is_silent_for_its_timeout(bond):
    receive(bond, timeout_s=1.5, at=0.0)
    assert receive(bond, "second", at=1.4) == (Change.CROWDED, None)
    assert receive(bond, "second", at=1.5) == (Change.FORMED, True)
    assert receive(bond, "first", at=1.6, timeout_s=0.0) == (Change.CROWDED, None)


def test_manager_that_does_not_say_its_timeout_has_the_usual_one(bond):
    receive(bond, timeout_s=float("nan"))
    assert receive(bond, "second", at=HEARTBEAT_TIMEOUT_S - 0.1) == (Change.CROWDED, None)
    assert receive(bond, "second", at=HEARTBEAT_TIMEOUT_S) == (Change.FORMED, True)


def test_each_activation_is_a_new_end_of_the_bond(bond):
    first = bond.instance_id
    receive(bond)
    bond.end(1.0)
    bond.begin(2.0)
    assert bond.instance_id not in ("", first)
    assert not bond.is_formed
    assert receive(bond, at=2.0) == (Change.FORMED, True)


def test_node_that_never_began_says_nothing():
    bond = BondProtocol("vl2")
    assert not bond.is_beating(0.0)
    assert not bond.end(0.0)
    assert receive(bond) == QUIET and receive(bond, active=False) == QUIET

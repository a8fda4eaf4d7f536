from __future__ import annotations

import itertools
import os

import pytest

from vl2_ros.clients.demo import find_free_domain

_firsts = itertools.count(os.getpid())


@pytest.fixture
def dds_domain(monkeypatch):
    """A DDS domain for one test, on this machine alone; child processes inherit it."""
    # Above 101 the ports of a domain lie among those that the system gives to anybody.
    domain_id = find_free_domain(1 + next(_firsts) % 100)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    for name in ("ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS", "CYCLONEDDS_URI"):
        monkeypatch.delenv(name, raising=False)
    return domain_id

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ros.running_node import RosClient, RunningNode
from tests.ros.workspace import find_messages
from tests.transports.conftest import dds_domain  # noqa: F401 a fixture


@pytest.fixture
def running(dds_domain) -> Iterator[RunningNode]:  # noqa: F811
    """A lifecycle node with a scripted perceiver in this process; not started before `start`."""
    find_messages()
    running = RunningNode()
    yield running
    running.close()


@pytest.fixture
def client(dds_domain) -> Iterator[RosClient]:  # noqa: F811
    """An rclpy node that asks."""
    find_messages()
    client = RosClient()
    yield client
    client.close()

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.ros.running_node import RosClient, RunningNode
from tests.ros.workspace import REPOSITORY, find_messages, ros_environment

#: Starts `vl2 serve --transport ros` with a fault and options.
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def running(dds_domain) -> Iterator[RunningNode]:
    """A lifecycle node with a scripted perceiver in this process; not started before `start`."""
    find_messages()
    running = RunningNode()
    yield running
    running.close()


@pytest.fixture
def client(dds_domain) -> Iterator[RosClient]:
    """An rclpy node that asks."""
    find_messages()
    client = RosClient()
    yield client
    client.close()


@pytest.fixture
def start(dds_domain, client) -> Iterator[Start]:
    """Nodes in processes of their own; see `tests.ros.faulty_node`."""
    processes: list[subprocess.Popen[str]] = []

    def start(fault: str, *options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.ros.faulty_node", fault, *options],
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=ros_environment(dds_domain),
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()

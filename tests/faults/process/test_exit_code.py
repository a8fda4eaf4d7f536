"""A process that cannot answer any more ends, in bounded time, with a code that restarts it."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.process.faulty_serve import TORN_DOWN
from tests.node.wire import PATIENCE_S, Inbox, make_image, wait_until
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.console.terminal import EXIT_FAILED
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos

REPOSITORY = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("cyclonedds"), reason="dds: cyclonedds is not installed"
)

Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start(dds_domain) -> Iterator[Start]:
    processes: list[subprocess.Popen] = []

    def start(fault: str, *options: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.process.faulty_serve", fault, *options],
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def client(dds_domain) -> Iterator[PerceptionClient]:
    from vl2_ros.transports.dds.transport import DdsTransport

    with closing(DdsTransport("client")) as transport:
        asking = PerceptionClient(transport)
        camera = transport.advertise("/image", "sensor_msgs/msg/Image", Qos(depth=1))

        def show() -> None:
            wait_until(lambda: camera.count_subscribers() > 0, "the camera is looked at")
            camera.publish(make_image(transport.types, 1))

        reports = Inbox(transport, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Qos())

        def wait_for_running(command_id: str) -> None:
            reports.wait(1, lambda message: command_id in _list_values(message))

        asking.show, asking.wait_for_running = show, wait_for_running
        yield asking


def _list_values(message) -> list[str]:
    return [one.value for status in message.status for one in status.values]


def test_a_hang_is_answered_and_a_polite_kill_ends_the_process(start, client):
    process = start("hang", "--max-frame-age-s", "0")
    client.require_node(PATIENCE_S)
    client.show()
    *_, expired = client.follow(client.send("hang", deadline_s=0.2), PATIENCE_S)
    assert expired.status is Status.EXPIRED and "in stage detection" in expired.message
    waiting = client.send("find it")
    wait_until(lambda: process.poll() is None, "it runs")
    process.send_signal(signal.SIGTERM)
    *_, canceled = client.follow(waiting, PATIENCE_S)
    assert canceled.status in (Status.CANCELED, Status.BUSY)
    assert process.wait(PATIENCE_S) == EXIT_FAILED
    assert "hangs" in process.stderr.read()


def test_a_second_polite_kill_does_not_cut_the_answers_short(start, client):
    process = start("hang", "--max-frame-age-s", "0", "--diagnostics-period-s", "0.1")
    client.require_node(PATIENCE_S)
    client.show()
    hung = client.send("hang", deadline_s=600.0)
    client.wait_for_running(hung)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    *_, canceled = client.follow(hung, PATIENCE_S)
    assert canceled.status is Status.CANCELED
    assert process.wait(PATIENCE_S) == EXIT_FAILED


def test_a_process_without_its_worker_ends_by_itself(start):
    process = start("dead-worker", "--diagnostics-period-s", "0.1")
    assert process.wait(PATIENCE_S) == EXIT_FAILED
    assert "worker or its timekeeper has ended" in process.stderr.read()


def test_a_process_that_is_well_ends_with_zero(start, client):
    process = start("none")
    client.require_node(PATIENCE_S)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert TORN_DOWN not in process.stderr.read()

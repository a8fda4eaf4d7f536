"""A ROS 2 process that cannot answer any more ends, in bounded time, with a code for it."""

from __future__ import annotations

import signal
import subprocess

import pytest

from tests.faults.process.faulty_serve import TORN_DOWN
from tests.node.wire import PATIENCE_S, wait_until
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.console.terminal import EXIT_FAILED
from vl2_ros.node.request import Status

pytestmark = pytest.mark.ros


def end_of(process: subprocess.Popen) -> tuple[int, str]:
    output, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, output


def hang(client, asking: PerceptionClient) -> None:
    """Let the worker hang; every command until then has its answer."""
    asking.require_node(PATIENCE_S)
    show = client.show_image()

    def is_hung() -> bool:
        # An image that comes before both sides know each other is lost.
        show()
        *_, expired = asking.follow(asking.send("hang", deadline_s=0.3), PATIENCE_S)
        assert expired.status is Status.EXPIRED
        return "in stage detection" in expired.message

    wait_until(is_hung, "it hangs")


def test_a_hang_is_answered_and_a_polite_kill_ends_the_process(start, client):
    process = start("hang", "--max-frame-age-s", "0")
    asking = PerceptionClient(client.transport)
    hang(client, asking)
    waiting = asking.send("find it")
    process.send_signal(signal.SIGTERM)
    *_, canceled = asking.follow(waiting, PATIENCE_S)
    assert canceled.status in (Status.CANCELED, Status.BUSY)
    code, output = end_of(process)
    assert (code, "hangs" in output) == (EXIT_FAILED, True), output


def test_deactivate_while_the_worker_hangs_ends_the_process(start, client):
    process = start("hang", "--max-frame-age-s", "0")
    asking = PerceptionClient(client.transport)
    hang(client, asking)
    assert not client.change_state("deactivate")
    code, output = end_of(process)
    assert (code, "the worker hangs" in output) == (EXIT_FAILED, True), output


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("dead-worker", "has ended; the process must be started again"),
        ("dead-executor", "cannot be spun any more"),
        ("shut-down", "context was shut down"),
    ],
)
def test_a_process_that_can_answer_nothing_ends_by_itself(start, fault, reason):
    process = start(fault, "--diagnostics-period-s", "0.1")
    code, output = end_of(process)
    assert (code, reason in output) == (EXIT_FAILED, True), output


def test_a_process_that_is_well_ends_with_zero(start, client):
    process = start("none")
    PerceptionClient(client.transport).require_node(PATIENCE_S)
    process.send_signal(signal.SIGTERM)
    code, output = end_of(process)
    assert (code, "Traceback" in output, TORN_DOWN in output) == (0, False, False), output
    assert "ending; what runs is brought to its end" in output

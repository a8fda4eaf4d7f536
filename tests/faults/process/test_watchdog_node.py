"""A node whose perceiver process crashes or hangs: every command gets a result."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.command_line import run_beside
from tests.faults.process.faulty_perceiver import FaultyPerceiver
from tests.node.wire import PATIENCE_S, Inbox, wait_until
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros import loading
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.errors import ConfigError
from vl2_ros.isolation.child_perceiver import ChildPerceiver
from vl2_ros.isolation.opening import is_watched, open_perceiver
from vl2_ros.isolation.supervisor import Watchdog
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.node.parameters import ProcessParameters
from vl2_ros.node.perceiver import close_perceiver
from vl2_ros.node.request import Mode, Status
from vl2_ros.transports.dds.transport import DdsTransport


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    scripted, rig.perceiver = rig.perceiver, ChildPerceiver(FaultyPerceiver)
    yield rig
    perceiver, rig.perceiver = rig.perceiver, scripted
    rig.close()
    perceiver.close()


def find_status(inbox: Inbox, command_id: str) -> Status:
    return Status(inbox.wait_for(command_id)[0].status)


def list_children(pid: int) -> list[int]:
    children = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            children.append(int(path.parent.name))
    return children


@pytest.mark.parametrize(("act", "words"), [("abort", "SIGABRT"), ("hang", "after hanging")])
def test_commands_that_wait_are_answered_after_a_fault(rig, clock, act, words):
    rig.start(queue_size=8, command_deadline_s=600.0)
    rig.show(rig.open_camera(), 1)
    rig.command("first", text=act)
    for number in range(5):
        rig.command(f"waits {number}")
    if act == "hang":
        wait_until(lambda: rig.server.node.report().running_stage == "vision", "it hangs")
        clock.advance(Watchdog().stall_s + 1)
    assert find_status(rig.results, "first") is Status.FAILED
    assert words in rig.results.wait_for("first")[0].message
    for number in range(5):
        assert find_status(rig.results, f"waits {number}") is Status.OK


def test_a_watch_goes_on_after_a_fault(rig):
    rig.start()
    camera = rig.open_camera()
    rig.command("w", mode=int(Mode.WATCH))
    rig.show(camera, 1)
    rig.results.wait_for("w")
    rig.command("fault", text="be killed")
    assert find_status(rig.results, "fault") is Status.FAILED
    rig.show(camera, 2)
    assert rig.results.wait_for("w", 2)[1].status == Status.OK


def test_a_deadline_and_a_stop_do_not_wait_for_a_hang(rig):
    rig.perceiver.close()
    rig.perceiver = ChildPerceiver(FaultyPerceiver, Watchdog(stall_s=3600.0))
    rig.start()
    rig.show(rig.open_camera(), 1)
    rig.command("short", text="hang", deadline_s=0.3)
    assert find_status(rig.results, "short") is Status.EXPIRED
    # The process still hangs: this one waits for it, until the node is stopped.
    rig.command("long", text="where", deadline_s=3600.0)
    wait_until(lambda: rig.server.node.report().running_id == "long", "the second one runs")
    began_s = time.monotonic()
    rig.server.stop()
    assert time.monotonic() - began_s < PATIENCE_S
    assert find_status(rig.results, "long") is Status.CANCELED


def test_the_watchdog_is_on_where_it_is_wanted_or_a_gpu_is_used():
    assert [is_watched(ProcessParameters(watchdog=one, device="cpu")) for one in ("on", "off")] == [
        True,
        False,
    ]
    assert is_watched(ProcessParameters(device="cuda:1"))
    assert not is_watched(ProcessParameters(device="cpu"))
    assert not is_watched(ProcessParameters(watchdog="off", device="cuda"))
    with pytest.raises(ConfigError, match="watchdog must be one of auto, on, off"):
        ProcessParameters(watchdog="maybe")


def test_options_reach_the_model_in_its_process(tmp_path):
    (tmp_path / "weights").symlink_to(EMBEDDED_WEIGHTS)
    process = ProcessParameters(
        weights=str(tmp_path / "weights"),
        device="cpu",
        without=("detection_decoder",),
        backend="onnxruntime",
        allow_fallback=False,
        watchdog="on",
    )
    perceiver = open_perceiver(process)
    try:
        assert isinstance(perceiver, ChildPerceiver)
        expected = loading.load_pipeline(
            LoadOptions(EMBEDDED_WEIGHTS, "cpu", "onnxruntime", without=("detection_decoder",))
        )
        assert perceiver.info == expected.info
    finally:
        close_perceiver(perceiver)


def test_vl2_serve_survives_the_end_of_its_perceiver_process(dds_domain):
    recording = EMBEDDED_WEIGHTS / "demo" / "tabletop.mcap"
    camera = run_beside("camera", recording, "--loop")
    names = ("--camera", "/camera/image_raw", "--max-frame-age-s", 0, "--device", "cpu")
    node = run_beside("serve", *names, "--watchdog", "on", "--command-deadline-s", 60)
    transport = DdsTransport("other")
    try:
        client = PerceptionClient(transport)
        client.require_node(PATIENCE_S)

        def ask() -> Status:
            (received,) = client.follow(client.send("find the red mug"), 2 * PATIENCE_S)
            return received.status

        assert ask() is Status.OK
        (child,) = list_children(node.pid)
        os.kill(child, signal.SIGKILL)
        assert ask() is Status.OK
        (other,) = list_children(node.pid)
        assert other != child
        node.terminate()
        _, logged = node.communicate(timeout=PATIENCE_S)
        assert node.returncode == 0
        assert "was ended by signal 9 (SIGKILL" in logged and "Traceback" not in logged
        assert list_children(node.pid) == [] and not Path(f"/proc/{other}").exists()
    finally:
        transport.close()
        for process in (camera, node):
            process.kill()
            process.communicate()

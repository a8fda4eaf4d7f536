from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.node.wire import PATIENCE_S, wait_until
from vl2_ros.clients.child_process import ChildProcess
from vl2_ros.errors import TransportError


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def recording(tmp_path):
    from tests.recordings.recordings import record_camera

    record_camera(tmp_path / "camera.mcap", 2)
    return str(tmp_path / "camera.mcap")


def test_last_words_of_a_child_that_ended_are_reported():
    child = ChildProcess("camera", ["camera", "nothing.mcap"])

    def has_ended() -> bool:
        try:
            child.check()
        except TransportError:
            return True
        return False

    wait_until(has_ended, "the child has ended")
    with pytest.raises(TransportError) as caught:
        child.check()
    assert str(caught.value).startswith(
        "the camera process ended with code 2: nothing.mcap does not exist; expected"
    )
    with pytest.raises(TransportError, match="the camera process"):
        for _ in range(100):
            child.send_line()
    child.close()


def test_child_ends_with_its_input(dds_domain, recording):
    child = ChildProcess("camera", ["camera", recording, "--step"])
    child.check()
    pid = child.pid
    assert is_running(pid)
    child.close()
    assert not is_running(pid)


def test_child_that_does_not_end_is_ended_by_force(dds_domain, recording, monkeypatch):
    monkeypatch.setattr("vl2_ros.clients.child_process._GRACE_S", 0.2)
    # Without --step it does not read its input.
    child = ChildProcess("camera", ["camera", recording, "--loop"])
    began = time.monotonic()
    child.close()
    assert not is_running(child.pid)
    assert time.monotonic() - began < PATIENCE_S


def test_child_ends_when_its_parent_is_killed(dds_domain, recording):
    code = (
        "import sys, time\n"
        "from vl2_ros.clients.child_process import ChildProcess\n"
        f"child = ChildProcess('camera', ['camera', {recording!r}, '--step'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.send_signal(signal.SIGKILL)
        wait_until(lambda: not is_running(pid), "the child has ended")

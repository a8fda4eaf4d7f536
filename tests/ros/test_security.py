"""SROS 2 with the policy file: its enclaves are served, other processes are not."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import choose_domain
from tests.ros.workspace import REPOSITORY, run_in_ros, start_in_ros

pytestmark = [pytest.mark.ros, pytest.mark.slow]

POLICY = REPOSITORY / "launch" / "security" / "vl2_policy.xml"
BAG = REPOSITORY / "vl2_ros" / "embedded" / "demo" / "tabletop.mcap"
PATIENCE_S = 120.0
#: Opens a node in an enclave that may do everything.
PROBE = "import rclpy; rclpy.init(); rclpy.create_node('probe'); rclpy.shutdown()"


class Keystore:
    """Keys for the enclaves of the policy, in a domain of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.domain_id = choose_domain()
        self._processes: list[subprocess.Popen[str]] = []

    def variables(self, enclave: str) -> dict[str, str]:
        """Return the environment of a process of an enclave; of an outsider when it is empty."""
        if not enclave:
            return {}
        return {
            "ROS_SECURITY_KEYSTORE": str(self.folder),
            "ROS_SECURITY_ENABLE": "true",
            "ROS_SECURITY_STRATEGY": "Enforce",
            "ROS_SECURITY_ENCLAVE_OVERRIDE": enclave,
        }

    def make(self, *words: str) -> None:
        """Call `ros2 security`; the domain goes into the permissions."""
        environment = os.environ | {"ROS_DOMAIN_ID": str(self.domain_id)}
        done = subprocess.run(
            ["ros2", "security", *words], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, enclave: str, *words: str) -> subprocess.CompletedProcess[str]:
        return run_in_ros(
            list(words),
            timeout_s=PATIENCE_S,
            domain_id=self.domain_id,
            **self.variables(enclave),
        )

    def start(self, enclave: str, *words: str) -> None:
        process = start_in_ros(list(words), domain_id=self.domain_id, **self.variables(enclave))
        self._processes.append(process)

    def ask(self, enclave: str, timeout_s: int) -> subprocess.CompletedProcess[str]:
        return self.run(
            enclave,
            *("ros2", "run", "vl2_ros", "vl2", "send", "find every cube", "--transport", "ros"),
            *("--json", "--deadline", "60", "--timeout", str(timeout_s)),
        )

    def close(self) -> str:
        """End every process; returns what the first one printed."""
        outputs = [""]
        for process in reversed(self._processes):
            os.killpg(process.pid, signal.SIGINT)
            outputs.append(process.communicate(timeout=30)[0])
        return outputs[-1]


@pytest.fixture(scope="module")
def keystore(tmp_path_factory) -> Iterator[Keystore]:
    if not shutil.which("ros2") or importlib.util.find_spec("sros2") is None:
        pytest.skip("ros security: sros2 is not installed")
    keystore = Keystore(tmp_path_factory.mktemp("keystore"))
    keystore.make("create_keystore", str(keystore.folder))
    keystore.make("create_enclave", str(keystore.folder), "/probe")
    probed = keystore.run("/probe", sys.executable, "-c", PROBE)
    if probed.returncode != 0:
        pytest.skip(f"ros security: this middleware has none: {probed.stderr.strip()[-200:]}")
    keystore.make("generate_artifacts", "-k", str(keystore.folder), "-p", str(POLICY))
    yield keystore
    said = keystore.close()
    assert "configured: model embedded" in said and "Traceback" not in said, said


@pytest.fixture(scope="module")
def secured(keystore) -> Keystore:
    """The node and a camera, each in its enclave."""
    keystore.start("/vl2", "ros2", "run", "vl2_ros", "perception")
    keystore.start(
        "/vl2_camera",
        *("ros2", "run", "vl2_ros", "vl2", "camera", str(BAG), "--transport", "ros"),
        *("--onto", "image", "--loop"),
    )
    return keystore


def test_node_answers_a_client_of_the_keystore(secured):
    done = secured.ask("/vl2_client", 60)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["model"]) == ("OK", "embedded")


def test_outsider_without_keys_finds_no_node(secured):
    assert secured.ask("/vl2_client", 60).returncode == 0
    done = secured.ask("", 3)
    assert done.returncode != 0
    assert "no node /vl2 came within 3 s" in done.stdout + done.stderr


def test_camera_may_not_ask(secured):
    done = secured.ask("/vl2_camera", 3)
    assert done.returncode != 0
    assert "OK" not in done.stdout


def test_process_without_an_enclave_is_refused(keystore):
    done = keystore.ask("/unknown", 3)
    assert done.returncode != 0
    assert "unknown" in done.stdout + done.stderr

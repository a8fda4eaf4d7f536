from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vl2_ros.errors import TransportError
from vl2_ros.transports.dds.security import check_security
from vl2_ros.transports.memory import MemoryBus, MemoryTransport

REPOSITORY = Path(__file__).resolve().parents[3]
ENABLED = {"ROS_SECURITY_ENABLE": "true"}
ENFORCED = ENABLED | {"ROS_SECURITY_STRATEGY": "Enforce"}


@pytest.mark.parametrize(
    "environment",
    [{}, {"ROS_SECURITY_ENABLE": "false"}, {"ROS_SECURITY_STRATEGY": "Enforce"}],
)
def test_without_a_request_for_security_there_is_no_warning(environment):
    assert check_security(environment) == ""


@pytest.mark.parametrize(
    "environment",
    [ENABLED, ENABLED | {"ROS_SECURITY_STRATEGY": "Permissive"}, {"ROS_SECURITY_ENABLE": "True"}],
)
def test_permissive_is_a_warning_that_names_the_way_out(environment):
    assert "in the clear" in check_security(environment)
    assert "--transport ros" in check_security(environment)


@pytest.mark.parametrize("strategy", ["Enforce", "ENFORCE", "enforce "])
def test_enforced_is_a_refusal_that_names_the_way_out(strategy):
    with pytest.raises(TransportError, match=r"can neither sign nor encrypt; use --transport ros"):
        check_security(ENABLED | {"ROS_SECURITY_STRATEGY": strategy})


def test_dds_refuses_before_it_opens_anything(dds_domain, monkeypatch, caplog):
    dds = pytest.importorskip("vl2_ros.transports.dds.transport")
    for name, value in ENFORCED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(dds, "_open_endpoints", lambda *parts: pytest.fail("it was opened"))
    with pytest.raises(TransportError, match="Enforce"):
        dds.DdsTransport()
    # Within one process there are no others to keep out.
    MemoryTransport(MemoryBus()).close()


def test_dds_warns_and_works_where_security_is_permissive(dds_domain, monkeypatch, caplog):
    pytest.importorskip("cyclonedds")
    from vl2_ros.transports.dds.transport import DdsTransport

    monkeypatch.setenv("ROS_SECURITY_ENABLE", "true")
    monkeypatch.delenv("ROS_SECURITY_STRATEGY", raising=False)
    with caplog.at_level(logging.WARNING):
        DdsTransport().close()
    assert sum("in the clear" in one.getMessage() for one in caplog.records) == 1


@pytest.mark.parametrize(
    "arguments", [["demo", "--out", "demo"], ["serve"], ["send", "find it"], ["echo"]]
)
def test_commands_refuse_in_one_line(arguments, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "vl2_ros.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, **ENFORCED, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 2
    assert "error: ROS_SECURITY_STRATEGY is Enforce" in done.stderr
    assert "--transport ros" in done.stderr and "Traceback" not in done.stderr

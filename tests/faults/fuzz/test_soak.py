"""The soak in short: under every kind of load at once, each command has exactly one result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_every_command_of_a_short_soak_has_one_result():
    done = subprocess.run(
        [sys.executable, "benchmarks/soak.py", "--minutes", "0.4", "--seed", "5", "--json"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        timeout=240,
    )
    assert done.stdout, done.stderr
    counted = json.loads(done.stdout)
    assert counted["troubles"] == [] and counted["node_exit_code"] == 0, done.stdout
    assert counted["lost"] == 0, counted["lost_ids"]
    assert counted["doubles"] == 0, counted["doubled_ids"]
    assert done.returncode == 0
    # It did load the node.
    assert counted["commands"] > 20 and counted["final_results"]["OK"] > 0
    for what in ("camera_deaths", "clients_vanished", "parameters_changed", "images", "stops"):
        assert counted[what] > 0, what
    assert all(watch["results"] > 0 for watch in counted["watches"].values())

"""The peak of this process's memory while something runs; for children of tests alone.

Counts what OpenCV and Pillow take as well, which tracemalloc does not see.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
REPOSITORY = Path(__file__).resolve().parents[3]


def measure_growth(call: Callable[[], object]) -> int:
    """Return by how many bytes the peak was above what was held before, the result included."""
    _RESET.write_text("5")
    before = _read("VmRSS")
    result = call()
    grown = _read("VmHWM") - before
    del result
    return grown


def run_child(script: str) -> str:
    """Run a script in a process of its own, whose freed memory goes back at once."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        # Large blocks are mapped, so that what is freed does not hide what is taken next.
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _read(name: str) -> int:
    (line,) = [one for one in _STATUS.read_text().splitlines() if one.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024

"""What is freed goes back to the system."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

# One block that is freed, from whose size on glibc would take all smaller ones from the heap; then
# some of these, each with a small one behind it that stays.
_SCRIPT = """
import json, sys
import numpy as np
from vl2_ros.console.heap import return_freed_memory

def count_resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

is_set = return_freed_memory() if sys.argv[1] == "set" else None
np.ones(20_000_000, np.uint8)
before = count_resident()
large, small = [], []
for _ in range(20):
    large.append(np.ones(3_000_000, np.uint8))
    small.append(np.ones(50_000, np.uint8))
del large
print(json.dumps({"is_set": is_set, "more": count_resident() - before}))
"""


def run(mode: str) -> dict:
    done = subprocess.run([sys.executable, "-c", _SCRIPT, mode], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="heap: the C library is not glibc")
def test_freed_images_are_not_kept():
    measured = run("set")
    assert measured["is_set"] is True
    assert measured["more"] < 10_000_000 < run("unset")["more"]


# Small blocks, freed all but the last, which keeps the heap from shrinking by itself.
_SMALL_BLOCKS = """
import ctypes, json, time
from vl2_ros.console import heap

def count_resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

heap._TRIM_PERIOD_S = 0.05
before = count_resident()
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [library.malloc(20_000) for _ in range(2_000)]
for block in blocks:
    ctypes.memset(block, 1, 20_000)
for block in blocks[:-1]:
    library.free(block)
kept = count_resident() - before
heap.return_freed_memory()
deadline = time.monotonic() + 30
while count_resident() - before > 10_000_000 and time.monotonic() < deadline:
    time.sleep(0.05)
print(json.dumps({"kept": kept, "more": count_resident() - before}))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="heap: the C library is not glibc")
def test_free_pages_between_small_blocks_are_given_back():
    done = subprocess.run([sys.executable, "-c", _SMALL_BLOCKS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["more"] < 10_000_000 < measured["kept"]


def test_another_c_library_is_no_error(monkeypatch):
    from vl2_ros.console import heap

    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    assert heap.return_freed_memory() is False

"""Damaged messages of every type raise nothing but what their readers promise."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fuzzing import messages
from benchmarks.fuzzing.message_seeds import make_seeds
from benchmarks.fuzzing.messages import fuzz_messages
from tests.faults.memory.peak import run_child
from vl2_ros.clients.received_result import read_result
from vl2_ros.errors import TransportError
from vl2_ros.transports.message_types import StoreMessageTypes

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("seed", [1, 12])
def test_damaged_messages_find_nothing(seed):
    report = fuzz_messages(4_000, seed)
    assert (report.cases, report.finds) == (4_000, [])


def test_seeds_are_of_every_type_of_ours_that_is_sent():
    there = {type_name for type_name, _ in make_seeds(StoreMessageTypes())}
    assert {"vl2_ros/msg/VisionCommand", "vl2_ros/msg/VisionResult"} <= there
    assert {"vl2_ros/srv/Watch_Request", "vl2_ros/action/Perceive_Goal"} <= there
    assert len(there) >= 20


def test_what_a_reader_does_not_promise_is_a_find(monkeypatch):
    calls: list[int] = []

    def read_badly(message, *, max_mask_pixels: int):
        calls.append(max_mask_pixels)
        # Whole messages come first, and two types hold a result.
        if len(calls) > 2:
            raise KeyError("a bug")
        return read_result(message, max_mask_pixels=max_mask_pixels)

    monkeypatch.setattr(messages, "read_result", read_badly)
    report = fuzz_messages(500, 1)
    assert len(report.finds) == len(calls) - 2 > 0
    assert all("KeyError: 'a bug'" in find for find in report.finds)


# In a process of its own: memory that this one frees meanwhile would hide what is taken.
_TAKES_MEMORY = """
import numpy as np
from benchmarks.fuzzing import messages
from vl2_ros.node.cameras.camera_image import store_image

def decode_badly(message, *, max_pixels):
    np.ones(messages.MAX_GROWTH_BYTES + 10_000_000, np.uint8)
    return store_image(message, max_pixels=max_pixels)

messages.store_image = decode_badly
messages._CASES_PER_LOOK = 100
print(messages.fuzz_messages(100, 1).finds[0])
"""


def test_memory_that_a_message_takes_is_a_find():
    assert "cases 1 to 100 took" in run_child(_TAKES_MEMORY)


def test_fuzz_prints_its_counts_as_json():
    done = subprocess.run(
        [sys.executable, "benchmarks/fuzz.py", "--cases", "500", "--seed", "3", "--json"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert (printed["cases"], printed["finds"], printed["seed"]) == (500, 0, 3)


def test_a_value_too_large_for_its_field_is_one_of_our_errors():
    types = StoreMessageTypes()
    with pytest.raises(TransportError, match="cannot be written"):
        types.serialize(types.make("vl2_ros/msg/Keypoint", name="nose", x=1e300))

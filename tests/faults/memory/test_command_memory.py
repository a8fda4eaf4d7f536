"""No command takes more than four times its images, three bytes a pixel, and 50 MB above idle."""

from __future__ import annotations

import json

from tests.faults.memory.peak import run_child


def test_a_command_with_many_masks_takes_little_more_than_its_images():
    taken = json.loads(run_child("from tests.faults.memory.command_child import main; main()"))
    assert taken["pixels"] == 9_000_000
    # Each of its 64 masks takes 3 MB when it is decoded; one at a time there is room for.
    assert taken["growth"] <= 4 * 3 * taken["pixels"] + 50_000_000

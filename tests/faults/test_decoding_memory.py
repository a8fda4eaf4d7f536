"""Decoding never takes more than 6 bytes a pixel above its result."""

from __future__ import annotations

import json

import pytest

from tests.faults.peak import run_child
from vl2_ros.node.camera_image import ENCODINGS

MOST_BYTES_A_PIXEL = 6.0
FORMATS = ("jpeg", "png", "bmp", "ppm", "gif", "tiff")


@pytest.fixture(scope="module")
def taken() -> dict[str, float]:
    """What each image took above its result, in bytes a pixel."""
    return json.loads(run_child("from tests.faults.decode_child import main; main()"))


def test_every_encoding_stays_below_the_limit(taken):
    raw = {name: value for name, value in taken.items() if name.split()[0] in ENCODINGS}
    assert len(raw) == 2 * len(ENCODINGS)
    assert {name: value for name, value in raw.items() if value > MOST_BYTES_A_PIXEL} == {}


def test_every_file_format_stays_below_the_limit(taken):
    files = {
        n: v
        for n, v in taken.items()
        if n.split()[0] in ("jpeg", "png", "bmp", "ppm", "gif", "tiff")
    }
    assert len(files) == 17
    assert {name: value for name, value in files.items() if value > MOST_BYTES_A_PIXEL} == {}


def test_masks_stay_below_the_limit(taken):
    masks = {name: value for name, value in taken.items() if name.endswith("mask")}
    assert len(masks) == 4
    assert {name: value for name, value in masks.items() if value > MOST_BYTES_A_PIXEL} == {}

"""Depth in the form compressedDepth: both codecs, both encodings, and damaged data."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from vl2_ros.errors import InputError
from vl2_ros.node.cameras.compressed_depth import decode_compressed_depth, decode_rvl

#: What compressed_depth_image_transport makes of depth_max 10 and depth_quantization 100.
SCALE = 100.0 * 101.0
OFFSET = 1.0 - SCALE / 10.0


def pack_header(scale: float = 0.0, offset: float = 0.0) -> bytes:
    return struct.pack("<iff", 0, scale, offset)


def pack_png(values: np.ndarray) -> bytes:
    return cv2.imencode(".png", values)[1].tobytes()


def pack_rvl(values: np.ndarray) -> bytes:
    """Encode one number after the other, as the paper has it."""
    nibbles: list[int] = []

    def put(number: int) -> None:
        while True:
            number, digit = number >> 3, number & 7
            nibbles.append(digit | 8 * bool(number))
            if not number:
                return

    row, place, before = [int(one) for one in values.reshape(-1)], 0, 0
    while place < len(row):
        for is_known in (False, True):
            end = place
            while end < len(row) and bool(row[end]) is is_known:
                end += 1
            put(end - place)
            for value in row[place:end] if is_known else []:
                difference, before = value - before, value
                put(2 * difference if difference >= 0 else -2 * difference - 1)
            place = end
    nibbles += [0] * (-len(nibbles) % 8)
    words = [
        int("".join(f"{one:x}" for one in nibbles[i : i + 8]), 16)
        for i in range(0, len(nibbles), 8)
    ]
    return struct.pack(f"<{len(words)}I", *words)


def pack_sized_rvl(values: np.ndarray) -> bytes:
    height, width = values.shape
    return struct.pack("<II", width, height) + pack_rvl(values)


PACKERS = {"png": pack_png, "rvl": pack_sized_rvl}


def decode(image_format: str, data: bytes, **options):
    return decode_compressed_depth(image_format, np.frombuffer(data, np.uint8), **options)


def make_depth_mm(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    steps = np.cumsum(random.integers(-40, 41, (13, 17)), axis=1) + 1500
    return (steps * (random.random((13, 17)) < 0.8)).astype(np.uint16)


@pytest.mark.parametrize("codec", PACKERS)
def test_millimetres_come_back_as_they_were(codec):
    values = make_depth_mm()
    depth = decode(f"16UC1; compressedDepth {codec}", pack_header() + PACKERS[codec](values))
    np.testing.assert_array_equal(depth.values, values)
    assert depth.unit_m == 1e-3


@pytest.mark.parametrize("codec", PACKERS)
def test_metres_come_back_from_inverse_depth(codec):
    metres = make_depth_mm() * 1e-3
    stored = np.where(metres > 0, SCALE / np.maximum(metres, 1e-9) + OFFSET, 0).astype(np.uint16)
    data = pack_header(SCALE, OFFSET) + PACKERS[codec](stored)
    depth = decode(f"32FC1; compressedDepth {codec}", data)
    assert depth.values.dtype == np.float32
    # Half a step of the inverse depth at 2 m.
    np.testing.assert_allclose(depth.values * depth.unit_m, metres, atol=5e-4)
    assert (depth.values[metres == 0] == 0).all()


@pytest.mark.parametrize(
    "image_format", ["16UC1", "16UC1; compressedDepth", "16UC1;compressedDepth "]
)
def test_senders_before_rvl_mean_png(image_format):
    values = make_depth_mm()
    depth = decode(image_format, pack_header() + pack_png(values))
    np.testing.assert_array_equal(depth.values, values)


def test_rvl_is_read_nibble_by_nibble():
    # Two zeros, two values: 5 (difference 5, code 10 = 2 + 8 * 1) and 6 (code 2), one zero, none.
    data = np.array([0x22A12100], "<u4").view(np.uint8)
    assert decode_rvl(data, 5).tolist() == [0, 0, 5, 6, 0]


@pytest.mark.parametrize("seed", range(20))
def test_rvl_of_any_values(seed):
    random = np.random.default_rng(seed)
    values = random.integers(0, 65536, 300) * (random.random(300) < random.random())
    data = np.frombuffer(pack_rvl(values), np.uint8)
    np.testing.assert_array_equal(decode_rvl(data, 300), values)


VALUES = make_depth_mm()
PNG, RVL = (pack_header() + pack(VALUES) for pack in PACKERS.values())


@pytest.mark.parametrize(
    ("image_format", "data", "expected"),
    [
        (
            "rgb8; jpeg compressed bgr8",
            PNG,
            "has format 'rgb8; jpeg compressed bgr8', expected 16UC1",
        ),
        ("16UC1; compressedDepth zstd", PNG, "expected 16UC1 or 32FC1"),
        ("16UC1; png compressed ", PNG, "expected 16UC1 or 32FC1"),
        ("8UC1; compressedDepth png", PNG, "expected 16UC1 or 32FC1"),
        ("", PNG, "expected 16UC1 or 32FC1"),
        ("16UC1; compressedDepth png", b"", "has 0 bytes, expected more than the 12"),
        ("16UC1; compressedDepth png", PNG[:12], "has 12 bytes"),
        ("16UC1; compressedDepth png", PNG[:90], "truncated or damaged"),
        ("16UC1; compressedDepth png", PNG[:12] + b"no image", "not an image"),
        (
            "16UC1; compressedDepth png",
            pack_header() + pack_png(np.zeros((4, 4, 3), np.uint8)),
            "kind RGB; expected one channel of 16 bit",
        ),
        ("16UC1; compressedDepth rvl", RVL[:15], "expected width and height"),
        ("16UC1; compressedDepth rvl", RVL[:-40], "it ends after|do not fit"),
        ("16UC1; compressedDepth rvl", RVL[:20], "it ends after 0 of 221 pixels"),
        ("16UC1; compressedDepth rvl", RVL[:20] + b"\xff" * 40, "it ends after 0"),
        ("16UC1; compressedDepth rvl", RVL[:20] + b"\xff" * 40 + bytes(8), "has 81 nibbles"),
        ("16UC1; compressedDepth rvl", RVL[:20] + b"\x77" * 40, "runs do not fit"),
        (
            "16UC1; compressedDepth rvl",
            RVL[:12] + struct.pack("<II", 0, 5) + RVL[20:],
            "declares 0x5 pixels",
        ),
        (
            "16UC1; compressedDepth rvl",
            RVL[:12] + struct.pack("<II", 2**32 - 1, 2**32 - 1) + RVL[20:],
            "resize it first",
        ),
        ("32FC1; compressedDepth png", PNG, "parameters 0 and 0 of inverse depth"),
        (
            "32FC1; compressedDepth png",
            pack_header(float("nan"), 1.0) + PNG[12:],
            "parameters nan and 1",
        ),
    ],
)
def test_what_is_no_depth_is_refused(image_format, data, expected):
    with pytest.raises(InputError, match=expected):
        decode(image_format, data)


@pytest.mark.parametrize("codec", PACKERS)
def test_what_is_over_the_limit_is_refused_before_it_is_decoded(codec):
    data = pack_header() + PACKERS[codec](VALUES)
    with pytest.raises(InputError, match="17x13 pixels"):
        decode(f"16UC1; compressedDepth {codec}", data, max_pixels=VALUES.size - 1)


def test_parameters_that_give_no_distance_leave_the_pixel_unknown():
    stored = np.array([[0, 1, 1000, 65535]], np.uint16)
    depth = decode("32FC1; compressedDepth png", pack_header(500.0, 1000.0) + pack_png(stored))
    np.testing.assert_allclose(depth.values, [[0, 0, 0, 500 / 64535]], rtol=1e-6)

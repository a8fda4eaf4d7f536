from __future__ import annotations

from array import array

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.node.wire import make_compressed_image, make_image
from vl2_ros.errors import TransportError
from vl2_ros.node.cameras.camera_image import (
    decode_compressed_image,
    decode_image,
    store_compressed_image,
    store_image,
)
from vl2_ros.node.cameras.encodings import ENCODINGS, is_depth
from vl2_ros.transports.message_types import StoreMessageTypes

RED, GREEN, BLUE = (200, 20, 10), (15, 190, 30), (5, 25, 180)


def decode(pixels: np.ndarray, encoding: str, *, padding: int = 0, bigendian: bool = False):
    height, width = pixels.shape[:2]
    dtype = pixels.dtype.newbyteorder(">" if bigendian else "<")
    rows = np.ascontiguousarray(pixels.astype(dtype)).view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return decode_image(
        height=height,
        width=width,
        encoding=encoding,
        step=rows.shape[1],
        is_bigendian=bigendian,
        data=rows.reshape(-1),
    )


@settings(deadline=None, max_examples=60)
@given(
    encoding=st.sampled_from(
        ["rgb8", "bgr8", "rgba8", "bgra8", "8UC3", "rgb16", "bgr16", "rgba16"]
    ),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    padding=st.integers(0, 5),
    bigendian=st.booleans(),
    seed=st.integers(0, 99),
)
def test_colour_encodings_give_the_same_rgb(encoding, height, width, padding, bigendian, seed):
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stored = rgb[..., ::-1] if encoding.startswith(("bgr", "8UC3")) else rgb
    if "a" in encoding:
        stored = np.concatenate([stored, np.full((height, width, 1), 9, np.uint8)], axis=2)
    if encoding.endswith("16"):
        stored = stored.astype(np.uint16) * 256 + 3
    decoded = decode(stored, encoding, padding=padding, bigendian=bigendian)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, rgb)


def test_grey_encodings_repeat_the_value():
    grey = np.array([[0, 100], [200, 255]], dtype=np.uint8)
    for encoding in ("mono8", "8UC1"):
        np.testing.assert_array_equal(decode(grey, encoding), np.stack([grey] * 3, axis=2))
    wide = grey.astype(np.uint16) * 257
    for bigendian in (False, True):
        decoded = decode(wide, "mono16", bigendian=bigendian)
        np.testing.assert_array_equal(decoded, np.stack([grey] * 3, axis=2))


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("bits", [8, 16])
def test_bayer_patterns_keep_the_colour_of_an_even_surface(pattern, bits):
    place = {"r": 0, "g": 1, "b": 2}
    for colour in (RED, GREEN, BLUE):
        mosaic = np.zeros((8, 8), np.uint8)
        for index, letter in enumerate(pattern):
            mosaic[index // 2 :: 2, index % 2 :: 2] = colour[place[letter]]
        stored = mosaic if bits == 8 else mosaic.astype(np.uint16) * 257
        decoded = decode(stored, f"bayer_{pattern}{bits}")
        np.testing.assert_allclose(decoded[2:-2, 2:-2], np.broadcast_to(colour, (4, 4, 3)), atol=1)


@pytest.mark.parametrize(("encoding", "luma"), [("uyvy", 1), ("yuv422", 1), ("yuyv", 0)])
def test_yuv_encodings_keep_grey(encoding, luma):
    pixels = np.full((2, 4, 2), 128, np.uint8)
    pixels[..., luma] = 126
    decoded = decode(pixels, encoding)
    assert np.ptp(decoded) == 0
    assert abs(int(decoded[0, 0, 0]) - 128) <= 2


def test_unknown_encoding_names_the_known_ones():
    with pytest.raises(TransportError, match=r"'jpeg2000'.*rgb8"):
        decode(np.zeros((2, 2, 3), np.uint8), "jpeg2000")


def test_step_shorter_than_a_row_names_what_was_expected():
    with pytest.raises(TransportError, match=r"step is 5, expected at least 6"):
        decode_image(
            height=1, width=2, encoding="rgb8", step=5, is_bigendian=False, data=np.zeros(5, "u1")
        )


def test_wrong_amount_of_data_names_what_was_expected():
    with pytest.raises(TransportError, match=r"has 11 bytes, expected 12"):
        decode_image(
            height=2, width=2, encoding="rgb8", step=6, is_bigendian=False, data=np.zeros(11, "u1")
        )


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_image_without_pixels_is_refused(encoding):
    with pytest.raises(TransportError, match="no pixel"):
        decode_image(
            height=0, width=4, encoding=encoding, step=0, is_bigendian=False, data=np.zeros(0, "u1")
        )


def test_compressed_image_is_rgb():
    rgb = np.zeros((16, 16, 3), np.uint8)
    rgb[:] = RED
    for suffix in (".png", ".jpg"):
        _, data = cv2.imencode(suffix, rgb[..., ::-1])
        decoded = decode_compressed_image(image_format=suffix, data=data.reshape(-1))
        np.testing.assert_allclose(decoded.astype(int), rgb, atol=3)


@pytest.mark.parametrize("data", [b"", b"not an image", b"\xff\xd8\xff\xe0"])
def test_compressed_rubbish_names_the_format(data):
    with pytest.raises(TransportError, match="format 'jpeg'"):
        decode_compressed_image(image_format="jpeg", data=np.frombuffer(data, np.uint8))


def test_depth_is_distinguished_from_images():
    assert is_depth("16UC1") and is_depth("32FC1") and is_depth("16UC1; compressedDepth png")
    assert not is_depth("rgb8") and not is_depth("bgr8; jpeg compressed bgr8")


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_depth_is_refused_as_an_image(encoding):
    with pytest.raises(TransportError, match=r"contains depth; expected a colour or grey image"):
        decode(np.zeros((2, 2, 1), np.uint16), encoding)
    with pytest.raises(TransportError, match="contains depth"):
        decode_compressed_image(
            image_format="16UC1; compressedDepth png", data=np.zeros(9, np.uint8)
        )


def test_huge_image_is_refused_before_its_bytes_are_counted():
    with pytest.raises(TransportError, match=r"20000x20000 pixels is over the limit of 100000000"):
        decode_image(
            height=20000,
            width=20000,
            encoding="rgb8",
            step=60000,
            is_bigendian=False,
            data=np.zeros(3, "u1"),
        )


def test_rgb_is_copied_once_and_not_shared():
    message = make_image(StoreMessageTypes())
    frame = store_image(message).decode()
    assert not np.shares_memory(frame.rgb, message.data)
    assert frame.rgb.flags.c_contiguous and frame.rgb.flags.owndata


def test_rgb_of_bytes_is_not_copied_unless_rows_have_padding():
    types = StoreMessageTypes()
    sent = make_image(types)
    received = types.deserialize(bytes(types.serialize(sent)), "sensor_msgs/msg/Image")
    frame = store_image(received).decode()
    assert np.shares_memory(frame.rgb, received.data) and not frame.rgb.flags.writeable
    np.testing.assert_array_equal(frame.rgb, store_image(sent).decode().rgb)
    padded = np.pad(frame.rgb.reshape(16, 72), ((0, 0), (0, 3)))
    padded.flags.writeable = False
    rgb = decode_image(
        height=16, width=24, encoding="rgb8", step=75, is_bigendian=False, data=padded.reshape(-1)
    )
    assert rgb.flags.owndata and np.array_equal(rgb, frame.rgb)


def test_stored_image_reads_no_pixel_before_it_is_decoded():
    message = make_image(StoreMessageTypes(), 1_700_000_000_000_000_123, step=1)
    image = store_image(message)
    assert (image.stamp_ns, image.frame_id) == (1_700_000_000_000_000_123, "camera_link")
    with pytest.raises(TransportError, match="step is 1"):
        image.decode()


def test_stored_compressed_image_becomes_a_frame_with_its_header():
    frame = store_compressed_image(make_compressed_image(StoreMessageTypes(), 5)).decode()
    assert (frame.stamp_ns, frame.frame_id, frame.frame_hw) == (5, "camera_link", (16, 24))
    assert frame.rgb[0, 0].tolist() == [200, 0, 0]


def test_data_may_be_any_buffer():
    message = make_image(StoreMessageTypes())
    expected = store_image(message).decode().rgb
    message.data = array("B", message.data.tobytes())
    np.testing.assert_array_equal(store_image(message).decode().rgb, expected)

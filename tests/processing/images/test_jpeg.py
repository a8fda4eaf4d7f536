"""JPEG files decoded by OpenCV equal what Pillow makes of them, or Pillow reads or refuses them."""

from __future__ import annotations

import io
import random
import re

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, features

from vl2_ros.errors import InputError
from vl2_ros.processing.images.image_file import read_image, read_stored_pixels
from vl2_ros.processing.images.jpeg import decode_jpeg

_END = b"\xff\xd9"


def make_photo(height: int = 67, width: int = 93) -> Image.Image:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (9, 12, 3), np.uint8)
    smooth = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int64)
    return Image.fromarray((smooth + rng.integers(-9, 9, smooth.shape)).clip(0, 255).astype("u1"))


def encode(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 85, **options})
    return file.getvalue()


def read_by_pillow(data: bytes) -> np.ndarray | None:
    """Return the pixels as stored; None where Pillow refuses them."""
    try:
        image = Image.open(io.BytesIO(data), formats=["JPEG"])
        image.load()
    except (OSError, SyntaxError, ValueError):
        return None
    return np.asarray(image if image.mode == "L" else image.convert("RGB"))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    ("options", "is_taken"),
    [
        ({}, True),
        ({"subsampling": 0}, True),
        ({"subsampling": 1}, True),
        ({"optimize": True, "quality": 30}, True),
        ({"restart_marker_blocks": 3}, True),
        ({"comment": b"no \xff\xda scan, no \xff\xd9 end"}, True),
        ({"progressive": True}, False),
    ],
)
def test_pixels_equal_those_of_pillow(mode, options, is_taken) -> None:
    data = encode(make_photo().convert(mode), **options)
    wanted = read_by_pillow(data)
    decoded = decode_jpeg(memoryview(data), wanted.shape[:2], is_grey=mode == "L")
    assert (decoded is not None) == is_taken
    np.testing.assert_array_equal(read_stored_pixels(data), wanted.reshape(*wanted.shape[:2], -1))
    if is_taken:
        np.testing.assert_array_equal(decoded, wanted.reshape(decoded.shape))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (17, 8), (640, 3)])
def test_every_size_is_taken(size) -> None:
    data = encode(make_photo(*size))
    decoded = decode_jpeg(memoryview(data), size, is_grey=False)
    np.testing.assert_array_equal(decoded, read_by_pillow(data))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_files_are_turned_by_their_orientation(orientation, tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(make_photo(), exif=exif)
    (tmp_path / "turned.jpg").write_bytes(data)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    for source in (data, tmp_path / "turned.jpg"):
        np.testing.assert_array_equal(read_image(source).rgb, wanted)
    np.testing.assert_array_equal(read_stored_pixels(data), read_by_pillow(data))


def test_four_colours_are_left_to_pillow() -> None:
    data = encode(make_photo().convert("CMYK"))
    np.testing.assert_array_equal(read_stored_pixels(data), read_by_pillow(data))


def test_what_follows_the_end_is_left_to_pillow() -> None:
    data = encode(make_photo())
    for tail in (b"\0" * 9, data):
        assert decode_jpeg(memoryview(data + tail), (67, 93), is_grey=False) is None
        np.testing.assert_array_equal(read_stored_pixels(data + tail), read_by_pillow(data))


def test_a_header_of_another_size_is_not_believed() -> None:
    data = encode(make_photo())
    assert decode_jpeg(memoryview(data), (68, 93), is_grey=False) is None


def damage(data: bytes, rng: random.Random) -> bytes:
    values, place = bytearray(data), rng.randrange(len(data) - 2)
    kind = rng.randrange(6)
    if kind == 0:
        values[place] = rng.randrange(256)
    elif kind == 1:
        del values[place : place + rng.randrange(1, 60)]
    elif kind == 2:
        values[place:] = _END
    elif kind == 3:
        values[place:place] = rng.randbytes(rng.randrange(1, 40))
    elif kind == 4:
        values[place : place + 2] = bytes([0xFF, rng.choice((0xD0, 0xD3, 0xD9, 0xDA, 0xC4, 0xFE))])
    else:
        del values[place:]
    return bytes(values)


def have_one_libjpeg() -> bool:
    """Whether OpenCV and Pillow bring the same major version of libjpeg-turbo."""
    found = re.search(r"JPEG:.*\(ver (\d+)\.", cv2.getBuildInformation())
    return found is not None and found[1] == str(features.version("libjpeg_turbo")).split(".")[0]


def test_damaged_files_are_read_or_refused_as_by_pillow() -> None:
    rng = random.Random(0)
    whole = [
        encode(make_photo().convert(mode), **options)
        for mode in ("RGB", "L")
        for options in ({}, {"restart_marker_blocks": 3}, {"progressive": True})
    ]
    refused = 0
    for data in (damage(one, rng) for one in whole for _ in range(60)):
        wanted = read_by_pillow(data)
        if wanted is None:
            refused += 1
            with pytest.raises(InputError):
                read_stored_pixels(data)
        else:
            found = read_stored_pixels(data)
            assert found.size == wanted.size
            # Versions guess differently at what damage has taken.
            if have_one_libjpeg():
                np.testing.assert_array_equal(found, wanted.reshape(found.shape))
    assert 60 < refused < 300

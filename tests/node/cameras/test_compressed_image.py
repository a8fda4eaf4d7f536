"""CompressedImage messages as compressed_image_transport and camera drivers write them."""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from vl2_ros.errors import TransportError
from vl2_ros.node.cameras.camera_image import decode_compressed_image, decode_image
from vl2_ros.processing.images.preprocess import read_image

ORDERS = ("rggb", "bggr", "gbrg", "grbg")
HW = (24, 36)
#: A JPEG of fine grains loses some of them.
JPEG_TOLERANCE = 12


def draw(hw: tuple[int, int] = HW) -> np.ndarray:
    """Two fields of colour, (H, W, 3) uint8 RGB."""
    rgb = np.zeros((*hw, 3), np.uint8)
    rgb[:, : hw[1] // 2], rgb[:, hw[1] // 2 :] = (210, 60, 20), (30, 90, 200)
    return rgb


def make_mosaic(order: str, dtype: type = np.uint8) -> np.ndarray:
    rgb, mosaic = draw(), np.zeros(HW, np.uint8)
    for place, letter in enumerate(order):
        y, x = divmod(place, 2)
        mosaic[y::2, x::2] = rgb[y::2, x::2, "rgb".index(letter)]
    return mosaic if dtype is np.uint8 else mosaic.astype(np.uint16) * 257


def send_raw(pixels: np.ndarray, encoding: str) -> np.ndarray:
    rows = np.ascontiguousarray(pixels).reshape(pixels.shape[0], -1).view(np.uint8)
    return decode_image(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        step=rows.shape[1],
        is_bigendian=False,
        data=rows.reshape(-1),
    )


def send(values: np.ndarray, suffix: str, image_format: str, *options: int) -> np.ndarray:
    """What OpenCV makes a file of, as a message, decoded."""
    done, data = cv2.imencode(suffix, values, options)
    assert done
    return decode_compressed_image(image_format=image_format, data=data.reshape(-1))


def send_file(image: Image.Image, kind: str, image_format: str, **options: object) -> np.ndarray:
    file = io.BytesIO()
    image.save(file, kind, **options)
    data = np.frombuffer(file.getvalue(), np.uint8)
    return decode_compressed_image(image_format=image_format, data=data)


def worst(found: np.ndarray, wanted: np.ndarray) -> int:
    assert found.shape == wanted.shape
    return int(np.abs(found.astype(int) - wanted).max())


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_a_mosaic_in_a_lossless_file_is_what_it_is_on_the_raw_topic(order, bits, kind):
    mosaic = make_mosaic(order, np.uint8 if bits == 8 else np.uint16)
    name = f"bayer_{order}{bits}"
    found = send(mosaic, f".{kind}", f"{name}; {kind} compressed ")
    np.testing.assert_array_equal(found, send_raw(mosaic, name))
    assert worst(found[4:-4, 4:14], draw()[4:-4, 4:14]) <= 1


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("target", ["", "bayer_{order}8"])
def test_a_mosaic_sent_as_jpeg_becomes_colours(order, target):
    name = f"bayer_{order}8"
    image_format = f"{name}; jpeg compressed {target.format(order=order)}"
    found = send(make_mosaic(order), ".jpg", image_format, cv2.IMWRITE_JPEG_QUALITY, 100)
    assert worst(found[8:-8, 4:12], draw()[8:-8, 4:12]) <= JPEG_TOLERANCE


def test_a_mosaic_that_its_sender_made_grey_stays_grey():
    grey = cv2.cvtColor(make_mosaic("rggb"), cv2.COLOR_BayerBG2GRAY)
    found = send(grey, ".png", "bayer_rggb8; jpeg compressed mono8")
    np.testing.assert_array_equal(found, np.dstack([grey] * 3))


@pytest.mark.parametrize("target", ["bgr8", "rgb8", ""])
def test_a_mosaic_that_its_sender_made_colours_is_not_converted_again(target):
    found = send(draw()[..., ::-1], ".png", f"bayer_rggb8; png compressed {target}")
    np.testing.assert_array_equal(found, draw())


@pytest.mark.parametrize("name", ["bayer_rggb12", "bayer_rgbg8"])
def test_a_mosaic_of_an_unknown_pattern_is_refused(name):
    with pytest.raises(TransportError, match=rf"format '{name}; png.*'{name}' is not known"):
        send(make_mosaic("rggb"), ".png", f"{name}; png compressed ")


def test_a_mosaic_too_small_for_colours_is_refused():
    with pytest.raises(TransportError, match=r"format 'bayer_rggb8.*2x2 pixels is too small"):
        send(np.full((2, 2), 9, np.uint8), ".png", "bayer_rggb8; png compressed ")


@pytest.mark.parametrize(
    "image_format",
    ["16UC1; png compressed ", "16UC1; jpeg compressed mono8", "32FC1; tiff compressed ", "16UC1"],
)
def test_depth_on_the_plain_transport_is_refused(image_format):
    depth = np.full(HW, 1500, np.uint16)
    with pytest.raises(TransportError, match="contains depth; expected a colour or grey image"):
        send(depth, ".png", image_format)


@pytest.mark.parametrize("image_format", ["mono16; png compressed ", "png", "mono16"])
def test_grey_of_16_bit_is_an_image(image_format):
    wide = np.arange(HW[0] * HW[1], dtype=np.uint16).reshape(HW) * 75
    found = send(wide, ".png", image_format)
    assert worst(found, np.rint(np.dstack([wide] * 3) * (255 / 65535)).astype(int)) == 0
    # The raw topic keeps the upper byte.
    assert worst(found, send_raw(wide, "mono16")) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 100}), ("PNG", {})])
def test_a_message_is_not_turned_and_a_file_is(orientation, kind, options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(draw()).save(file, kind, exif=exif, **options)
    data = np.frombuffer(file.getvalue(), np.uint8)
    found = decode_compressed_image(image_format="jpeg", data=data)
    assert worst(found, cv2.imdecode(data, cv2.IMREAD_UNCHANGED)[..., ::-1]) <= 2
    upright = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    assert worst(read_image(file.getvalue()).rgb, upright) <= 2


def test_alpha_is_dropped_from_messages_whichever_way_they_come():
    alpha = np.linspace(0, 255, HW[0] * HW[1]).astype(np.uint8).reshape(HW)
    rgba = np.dstack([draw(), alpha])
    bgra = cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA)
    for encoding, stored in (("rgba8", rgba), ("bgra8", bgra)):
        np.testing.assert_array_equal(send_raw(stored, encoding), draw())
        found = send(bgra, ".png", f"{encoding}; png compressed bgra8")
        np.testing.assert_array_equal(found, draw())
    wide = send(bgra.astype(np.uint16) * 257, ".png", "rgba16; png compressed bgra16")
    np.testing.assert_array_equal(wide, draw())


def test_alpha_of_grey_and_of_palettes_is_dropped_as_opencv_drops_it():
    grey = draw()[..., 0]
    faded = Image.fromarray(np.dstack([grey, grey // 2]), "LA")
    np.testing.assert_array_equal(send_file(faded, "PNG", "png"), np.dstack([grey] * 3))
    indexed = Image.fromarray(draw()).quantize(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = send_file(indexed, "PNG", "png", transparency=0)
    assert worst(found, draw()) <= 8


def test_alpha_of_a_file_lies_on_white():
    file = io.BytesIO()
    clear = np.dstack([draw(), np.zeros(HW, np.uint8)])
    Image.fromarray(clear).save(file, "PNG")
    assert read_image(file.getvalue()).rgb.min() == 255
    data = np.frombuffer(file.getvalue(), np.uint8)
    np.testing.assert_array_equal(decode_compressed_image(image_format="png", data=data), draw())


@pytest.mark.parametrize("encoding", ["rgb8", "rgba8", "rgb16", "rgba16", "bgr8", "bgra8", "bgr16"])
def test_tiff_of_every_colour_order_keeps_the_colours(encoding):
    """Values come to OpenCV's writer in the order that they have (compressed_image_transport)."""
    stored = draw() if encoding.startswith("rgb") else draw()[..., ::-1]
    if "a" in encoding:
        stored = np.dstack([stored, np.full(HW, 99, np.uint8)])
    if encoding.endswith("16"):
        stored = stored.astype(np.uint16) * 257
    found = send(stored, ".tiff", f"{encoding}; tiff compressed ")
    np.testing.assert_array_equal(found, draw())


@pytest.mark.parametrize("image_format", ["tiff", "jpeg", "", "rgb8; png compressed bgr8"])
def test_other_files_have_the_colours_that_they_say(image_format):
    found = send(draw()[..., ::-1], ".tiff", image_format)
    np.testing.assert_array_equal(found, draw())

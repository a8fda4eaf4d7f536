"""Every name of sensor_msgs/image_encodings.hpp: converted as its peers do, or refused by name."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vl2_ros.errors import TransportError
from vl2_ros.node.cameras.camera_image import decode_image
from vl2_ros.node.cameras.encodings import DEPTH_ENCODINGS, ENCODINGS

#: As the header of ROS 2 Jazzy lists them; Rolling has nv12 as well.
GENERIC = [
    f"{kind}C{channels}"
    for kind in ("8U", "8S", "16U", "16S", "32S", "32F", "64F")
    for channels in (1, 2, 3, 4)
]
COLOURS = ["rgb8", "rgba8", "rgb16", "rgba16", "bgr8", "bgra8", "bgr16", "bgra16"]
GREYS = ["mono8", "mono16"]
MOSAICS = [f"bayer_{order}{bits}" for bits in (8, 16) for order in ("rggb", "bggr", "gbrg", "grbg")]
PACKED = ["uyvy", "yuv422", "yuyv", "yuv422_yuy2"]
PLANAR = ["nv12", "nv21", "nv24"]
NAMES = [*COLOURS, *GREYS, *GENERIC, *MOSAICS, *PACKED, *PLANAR]
#: What cv_bridge takes a generic name for when it has to show it.
SHOWN_AS = {"8UC1": "mono8", "8UC3": "bgr8", "8UC4": "bgra8", "16UC3": "bgr16", "16UC4": "bgra16"}
REFUSED = [name for name in GENERIC if name not in SHOWN_AS and name not in DEPTH_ENCODINGS]
#: cv_bridge scales 16 bit by 255 / 65535 and rounds; here the upper byte is kept.
STEPS_OF_16_BIT = 1
HW = (6, 10)


def dtype_of(name: str) -> np.dtype:
    return np.dtype(np.uint16 if "16" in name else np.uint8)


def channels_of(name: str) -> int:
    name = SHOWN_AS.get(name, name)
    if "rgba" in name or "bgra" in name:
        return 4
    return 3 if name.startswith(("rgb", "bgr")) else 2 if name in PACKED else 1


def draw(name: str, hw: tuple[int, int]) -> np.ndarray:
    """Values of every pixel by chance, (H, W, channels)."""
    dtype = dtype_of(name)
    shape = (*hw, channels_of(name))
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape)
    return values.astype(dtype)


def send(pixels: np.ndarray, name: str, *, padding: int, big: bool) -> np.ndarray:
    """The message of an image with interleaved values, decoded."""
    height, width = pixels.shape[:2]
    stored = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))
    rows = np.ascontiguousarray(stored).view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=201)
    return decode_image(
        height=height,
        width=width,
        encoding=name,
        step=rows.shape[1],
        is_bigendian=big,
        data=rows.reshape(-1),
    )


def convert_as_peers(pixels: np.ndarray, name: str) -> np.ndarray:
    """What cv_bridge gives for rgb8: OpenCV's code at the depth of the source, then the scale."""
    name = SHOWN_AS.get(name, name)
    kind = name.rstrip("0123456789") if name not in PACKED else name
    codes = {
        "rgba": cv2.COLOR_RGBA2RGB,
        "bgr": cv2.COLOR_BGR2RGB,
        "bgra": cv2.COLOR_BGRA2RGB,
        "mono": cv2.COLOR_GRAY2RGB,
        "bayer_rggb": cv2.COLOR_BayerBG2RGB,
        "bayer_bggr": cv2.COLOR_BayerRG2RGB,
        "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
        "bayer_grbg": cv2.COLOR_BayerGB2RGB,
        "uyvy": cv2.COLOR_YUV2RGB_UYVY,
        "yuv422": cv2.COLOR_YUV2RGB_UYVY,
        "yuyv": cv2.COLOR_YUV2RGB_YUY2,
        "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
    }
    rgb = pixels if kind == "rgb" else cv2.cvtColor(pixels, codes[kind])
    scale = 255 / np.iinfo(pixels.dtype).max
    return np.rint(rgb * scale)


def yuv_to_rgb(y: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """BT.601 in its narrow range, by the formula."""
    luma = 1.164 * (np.maximum(y, 16.0) - 16)
    u, v = u - 128.0, v - 128.0
    rgb = np.stack([luma + 1.596 * v, luma - 0.813 * v - 0.391 * u, luma + 2.018 * u], 2)
    return np.clip(rgb, 0, 255)


def difference(found: np.ndarray, wanted: np.ndarray) -> float:
    assert found.dtype == np.uint8
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted.astype(np.float64)).max())


def send_planes(name: str, y, u, v, *, padding: int, step: int | None = None) -> np.ndarray:
    """A luma plane, then pairs of chroma; padding at the end of each row of `step` bytes."""
    height, width = y.shape
    pairs = np.stack([v, u] if name == "nv21" else [u, v], 2).reshape(u.shape[0], -1)
    pairs_padding = padding * pairs.shape[1] // width
    data = [
        np.pad(plane, ((0, 0), (0, extra)), constant_values=201).reshape(-1)
        for plane, extra in ((y, padding), (pairs, pairs_padding))
    ]
    return decode_image(
        height=height,
        width=width,
        encoding=name,
        step=width + padding if step is None else step,
        is_bigendian=False,
        data=np.concatenate(data).astype(np.uint8),
    )


def draw_planes(name: str, hw: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Y, U and V as stored, and U and V of each pixel."""
    rng = np.random.default_rng(1)
    part = 1 if name == "nv24" else 2
    y = rng.integers(0, 256, hw, dtype=np.uint8)
    u, v = rng.integers(0, 256, (2, hw[0] // part, hw[1] // part), dtype=np.uint8)
    wide = [np.repeat(np.repeat(one, part, 0), part, 1) for one in (u, v)]
    return y, u, v, *wide


def measure(name: str) -> tuple[str, float, float]:
    """Return the counterpart, the largest difference from it, and the bound."""
    if name in PLANAR:
        y, u, v, wide_u, wide_v = draw_planes(name, HW)
        wanted = yuv_to_rgb(y, wide_u, wide_v)
        found = [send_planes(name, y, u, v, padding=padding) for padding in (0, 6)]
        return "BT.601", max(difference(one, wanted) for one in found), 1.0
    pixels = draw(name, HW)
    wanted = convert_as_peers(pixels, name)
    bound = STEPS_OF_16_BIT if dtype_of(name) == np.uint16 else 0
    found = [
        send(pixels, name, padding=padding, big=big) for padding in (0, 5) for big in (False, True)
    ]
    shown = "cv_bridge" if name not in SHOWN_AS else f"cv_bridge as {SHOWN_AS[name]}"
    return shown, max(difference(one, wanted) for one in found), bound


def test_no_name_of_the_header_is_missing():
    converted, depth = set(ENCODINGS), set(DEPTH_ENCODINGS)
    assert len(NAMES) == len(set(NAMES)) == 53
    assert converted | depth | set(REFUSED) == set(NAMES)
    assert not converted & (depth | set(REFUSED))


def test_every_encoding_gives_what_its_counterpart_gives():
    rows, wrong = [], []
    for name in NAMES:
        if name not in ENCODINGS:
            rows.append(f"{name:14} refused" + (", depth" if name in DEPTH_ENCODINGS else ""))
            continue
        counterpart, largest, bound = measure(name)
        rows.append(f"{name:14} {counterpart:22} largest difference {largest:.2f} of {bound}")
        if largest > bound:
            wrong.append(rows[-1])
    sys.stdout.write("\n" + "\n".join(rows) + "\n")
    assert wrong == []


@pytest.mark.parametrize("name", PACKED)
def test_packed_colours_are_those_of_the_formula(name):
    pixels = draw(name, HW)
    y = pixels[..., 1 if name in ("uyvy", "yuv422") else 0]
    pairs = pixels[..., 0 if name in ("uyvy", "yuv422") else 1]
    u, v = (np.repeat(pairs[:, first::2], 2, axis=1) for first in (0, 1))
    assert difference(send(pixels, name, padding=3, big=False), yuv_to_rgb(y, u, v)) <= 1


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_colours_is_refused_with_the_list(name):
    with pytest.raises(
        TransportError, match=rf"'{name}' is not known; expected one of rgb8, .*nv24"
    ):
        decode_image(
            height=2, width=2, encoding=name, step=64, is_bigendian=False, data=np.zeros(128, "u1")
        )


@pytest.mark.parametrize("name", sorted(ENCODINGS))
@pytest.mark.parametrize("hw", [(1, 1), (2, 3), (3, 2), (5, 7), (4, 6)])
def test_odd_sizes_are_right_or_refused_by_name(name, hw):
    form = ENCODINGS[name]
    step = hw[1] * form.channels * form.value_bytes
    data = np.full(form.count_bytes(hw[0], step), 128, np.uint8)
    fields = {"height": hw[0], "width": hw[1], "encoding": name, "step": step, "data": data}
    is_cut = name in (*PACKED, "nv12", "nv21") and hw[1] % 2
    is_cut |= name in ("nv12", "nv21") and hw[0] % 2
    if is_cut or (name in MOSAICS and min(hw) < 3):
        expected = "at least 3x3" if name in MOSAICS else "expected an even width"
        with pytest.raises(TransportError, match=rf"{hw[1]}x{hw[0]} pixels .*{name}.*{expected}"):
            decode_image(is_bigendian=False, **fields)
        return
    rgb = decode_image(is_bigendian=False, **fields)
    assert rgb.shape == (*hw, 3)
    # 128 is a grey in every encoding: nothing is read from beside the image.
    assert np.ptp(rgb) == 0 and abs(int(rgb[0, 0, 0]) - 128) <= 3


@pytest.mark.parametrize("hw", [(5, 7), (3, 3), (4, 9)])
@pytest.mark.parametrize("name", [*MOSAICS, "mono16", "rgb16", "bgra8", "16UC3"])
def test_odd_sizes_give_what_the_peers_give(name, hw):
    pixels = draw(name, hw)
    found = send(pixels, name, padding=3, big=True)
    bound = STEPS_OF_16_BIT if dtype_of(name) == np.uint16 else 0
    assert difference(found, convert_as_peers(pixels, name)) <= bound


@pytest.mark.parametrize("hw", [(5, 7), (1, 3), (3, 1)])
def test_a_chroma_of_every_pixel_bears_odd_sizes(hw):
    y, u, v, *_ = draw_planes("nv24", hw)
    found = send_planes("nv24", y, u, v, padding=0)
    assert difference(found, yuv_to_rgb(y, u, v)) <= 1


@pytest.mark.parametrize("name", PLANAR)
def test_planes_without_padding_are_read_whatever_step_the_driver_gives(name):
    y, u, v, *_ = draw_planes(name, HW)
    wanted = send_planes(name, y, u, v, padding=0)
    for step in (HW[1] * 3 // 2, HW[1] * 2, HW[1] * 3):
        np.testing.assert_array_equal(send_planes(name, y, u, v, padding=0, step=step), wanted)


@pytest.mark.parametrize(("name", "size"), [("nv12", 90), ("nv21", 90), ("nv24", 180)])
def test_a_plane_cut_short_names_what_was_expected(name, size):
    for data in (np.zeros(60, "u1"), np.zeros(size - 1, "u1"), np.zeros(size + 1, "u1")):
        with pytest.raises(TransportError, match=rf"expected {size} for 6 rows of step 10 and the"):
            decode_image(height=6, width=10, encoding=name, step=10, is_bigendian=False, data=data)
    with pytest.raises(TransportError, match="step is 9, expected at least 10 bytes"):
        decode_image(
            height=6, width=10, encoding=name, step=9, is_bigendian=False, data=np.zeros(54, "u1")
        )


@settings(deadline=None, max_examples=150)
@given(
    name=st.sampled_from(NAMES),
    hw=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    step=st.integers(0, 100),
    size=st.integers(0, 400) | st.none(),
)
def test_fields_that_contradict_each_other_are_reported_and_nothing_else_is_raised(
    name, hw, step, size
):
    form = ENCODINGS.get(name)
    whole = form.count_bytes(hw[0], step) if form is not None else hw[0] * step
    data = np.full(whole if size is None else size, 77, np.uint8)
    try:
        rgb = decode_image(
            height=hw[0], width=hw[1], encoding=name, step=step, is_bigendian=True, data=data
        )
    except TransportError:
        return
    assert rgb.shape == (*hw, 3) and rgb.dtype == np.uint8 and rgb.flags.c_contiguous

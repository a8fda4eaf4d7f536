"""Calibrations as drivers send them: every lens model with every number of coefficients, P, R."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from tests.node.wire import make_camera_info
from vl2_ros.errors import InputError
from vl2_ros.node.cameras.camera_info import is_rectified, read_camera_info
from vl2_ros.processing.results.camera_model import CameraModel
from vl2_ros.transports.message_types import StoreMessageTypes

TYPES = StoreMessageTypes()
#: Of make_camera_info: focal length 20, the axis through the middle of 24x16 pixels.
CORNER = np.array([[0.0, 0.0]])
PINHOLE_RAY = np.array([[-12 / 20, -8 / 20]])

PINHOLES, FISHEYES = ("plumb_bob", "rational_polynomial"), ("equidistant", "fisheye")
#: The last one is an unknown model.
MODELS = (*PINHOLES, *FISHEYES, "", "double_sphere")
COEFFICIENTS = np.array([-0.1, 0.02, 1e-3, -1e-3, 5e-3, *[1e-3] * 7, 0.01, -0.01])


def describe(model: str, coefficients: np.ndarray) -> str:
    """Say what becomes of the upper left corner; fails where its ray is not what OpenCV sees."""
    try:
        camera = read_camera_info(make_camera_info(TYPES, distortion_model=model, d=coefficients))
    except InputError as error:
        assert "camera_info cannot be used" in str(error)
        # What came and what is to be done.
        assert f"got {len(coefficients)}" in str(error) or f"got {model!r}" in str(error)
        return "message"
    ray = camera.cast_rays(CORNER)
    if not coefficients.any():
        np.testing.assert_allclose(ray, PINHOLE_RAY)
        return "pinhole"
    see = cv2.fisheye.projectPoints if camera.is_fisheye else cv2.projectPoints
    point, none = np.append(ray, 1.0).reshape(1, 1, 3), np.zeros(3)
    (pixel,) = see(point, none, none, camera.matrix, coefficients)[0].reshape(-1, 2)
    np.testing.assert_allclose(pixel, [-0.5, -0.5], atol=1e-3)
    assert np.abs(ray - PINHOLE_RAY).max() > 1e-3
    return "fisheye" if camera.is_fisheye else "lens"


def expect(model: str, count: int, is_zero: bool) -> str:
    if is_zero and model != "double_sphere":
        return "pinhole"
    if model in PINHOLES and count in (4, 5, 8, 12, 14):
        return "lens"
    return "fisheye" if model in FISHEYES and count == 4 else "message"


def test_table_of_lens_models_and_coefficient_counts():
    """Every cell is right or a message; run with -s to read the table."""
    table, wrong = [("model", "D", *map(str, range(15)))], []
    for model in MODELS:
        for name, coefficients in (("zero", np.zeros(14)), ("set", COEFFICIENTS)):
            cells = [describe(model, coefficients[:count]) for count in range(15)]
            expected = [expect(model, count, name == "zero" or not count) for count in range(15)]
            table.append((model or "(empty)", name, *cells))
            wrong += [(model, name)] if cells != expected else []
    lines = [f"{row[0]:>20}" + "".join(f"{cell:>8}" for cell in row[1:]) for row in table]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert not wrong


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"d": np.array([0.1, np.nan, 0, 0, 0])}, "not finite"),
        ({"d": np.array([np.nan] * 3)}, "not finite"),
        ({"k": np.zeros(9)}, "focal lengths must be positive, got 0 and 0"),
        (
            {"k": np.array([20.0, 0, 11.5, 0, -20, 7.5, 0, 0, 1])},
            "must be positive, got 20 and -20",
        ),
        ({"p": np.full(12, np.inf)}, "P contains numbers that are not finite"),
        ({"r": np.full(9, np.nan)}, "R contains numbers that are not finite"),
        ({"r": np.arange(9.0)}, "orthonormal"),
    ],
)
def test_what_is_no_calibration_is_refused(info, expected):
    with pytest.raises(InputError, match=expected):
        read_camera_info(make_camera_info(TYPES, **info))


@pytest.mark.parametrize("p", [np.zeros(12), np.array([-1.0, *[0.0] * 11])])
def test_a_rectified_image_needs_p(p):
    info = make_camera_info(TYPES, p=p, d=np.array([0.1, 0, 0, 0, 0]))
    with pytest.raises(InputError, match="placed by P, whose focal lengths must be positive"):
        read_camera_info(info, rectified=True)
    assert read_camera_info(info).matrix[0, 0] == 20


def test_without_distortion_and_p_a_rectified_image_is_the_raw_one():
    camera = read_camera_info(make_camera_info(TYPES), rectified=True)
    np.testing.assert_allclose(camera.cast_rays(CORNER), PINHOLE_RAY)


@pytest.mark.parametrize(
    ("topic", "choice", "expected"),
    [
        ("/camera/image_rect", "auto", True),
        ("/camera/image_rect_color", "auto", True),
        ("/camera/infra1/image_rect_raw", "auto", True),
        ("/camera/image_raw", "auto", False),
        ("/image_rect/image", "auto", False),
        ("/image", "auto", False),
        ("/camera/image_raw", "always", True),
        ("/camera/image_rect", "never", False),
    ],
)
def test_names_of_rectified_topics(topic, choice, expected):
    assert is_rectified(topic, choice) is expected


def make_stereo(*, second: bool) -> dict[str, np.ndarray]:
    """Make a camera of a stereo pair with a lens: 640x480, 12 cm to the right when second."""
    rotation = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
    return {
        "width": 640,
        "height": 480,
        "k": np.array([500.0, 0, 322, 0, 505, 238, 0, 0, 1]),
        "d": np.array([-0.3, 0.1, 1e-3, -5e-4, -0.01]),
        "r": rotation.reshape(-1),
        "p": np.array([480.0, 0, 330, -480 * 0.12 if second else 0, 0, 480, 240, 0, 0, 0, 1, 0]),
    }


def place(camera: CameraModel, pixel_xy: np.ndarray, depth_m: float) -> np.ndarray:
    ray = camera.cast_rays(pixel_xy.reshape(1, 2) + 0.5)[0]
    return camera.rotation @ (np.append(ray, 1.0) * depth_m) + camera.origin_m


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("binning", [1, 2])
def test_a_thing_has_one_place_in_the_raw_and_in_the_rectified_image(second, binning):
    stereo = make_stereo(second=second)
    point = np.array([0.4, -0.3, 2.0])
    roi = TYPES.make("sensor_msgs/msg/RegionOfInterest", x_offset=40, y_offset=20)
    info = make_camera_info(TYPES, **stereo, roi=roi, binning_x=binning, binning_y=binning)
    offset = np.array([40, 20])
    # What the message says of P, and of K, D and R.
    seen = stereo["p"].reshape(3, 4) @ np.append(point, 1.0)
    rectified = read_camera_info(info, rectified=True)
    pixel = (seen[:2] / seen[2] - offset) / binning
    np.testing.assert_allclose(place(rectified, pixel, point[2]), point, atol=1e-9)
    center = np.array([0.12, 0.0, 0.0]) if second else np.zeros(3)
    own = stereo["r"].reshape(3, 3).T @ (point - center)
    matrix, none = stereo["k"].reshape(3, 3), np.zeros(3)
    bent = cv2.projectPoints(own.reshape(1, 1, 3), none, none, matrix, stereo["d"])[0].reshape(2)
    raw = read_camera_info(info)
    np.testing.assert_allclose(place(raw, (bent - offset) / binning, own[2]), point, atol=1e-9)


def test_p_is_the_rule_of_image_geometry_but_for_the_baseline():
    # project3dToPixel of image_geometry: u = (fx X + Tx) / Z + cx.
    fields = make_stereo(second=True)
    camera = read_camera_info(make_camera_info(TYPES, **fields), rectified=True)
    point = place(camera, np.array([400.0, 100.0]), 3.0)
    fx, _, cx, tx, _, fy, cy = fields["p"][:7]
    np.testing.assert_allclose((fx * point[0] + tx) / 3.0 + cx, 400.0)
    np.testing.assert_allclose(fy * point[1] / 3.0 + cy, 100.0)

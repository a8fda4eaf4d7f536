"""Lenses are undone to a thousandth of a pixel as far as they can be, and not a step further."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.processing.results.camera_model import CameraModel

#: A 93 degree camera: the axis near the middle of 1280x720 pixels.
MATRIX = np.array([[600.0, 0.0, 645.5], [0.0, 610.0, 352.5], [0.0, 0.0, 1.0]])
FRAME_HW = (720, 1280)

#: Coefficients in OpenCV's order, published or of that kind.
LENSES = {
    "plumb_bob of 4, barrel": [-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05],
    "plumb_bob of 5, barrel": [-0.3691481, 0.1968681, 0.001353473, 0.0005677587, -0.06770705],
    "plumb_bob of 5, pincushion": [2.0, 1.0, 0.0, 0.0, 0.3],
    "decentred alone": [0.0, 0.0, 0.02, -0.02, 0.0],
    "rational of 8": [0.5, -2.6, 0.0004, -0.0002, 1.5, 0.38, -2.4, 1.45],
    "rational of 8 with a pole": [0.0, 0.0, 0.0, 0.0, 0.0, -0.6, 0.0, 0.0],
    "thin prism of 12": [-0.3, 0.1, 1e-3, -1e-3, -0.01, 0.01, 0.02, 0.003, 4e-3, -2e-3, 3e-3, 1e-3],
    "tilted sensor of 14": [-0.2, 0.05, 1e-3, -1e-3, -0.01, *[0.0] * 7, 0.15, -0.1],
    "folds at 39 degrees": [-0.5, 0.0, 0.001, 0.001, 0.0],
}
FISHEYES = {
    "T265": [-0.0067, 0.0419, -0.0393, 0.0067],
    "wide": [0.3, 0.01, -0.02, 0.005],
    "folds at 74 degrees": [-0.2, 0.0, 0.0, 0.0],
}


def project(camera: CameraModel, rays: np.ndarray) -> np.ndarray:
    """Return the pixels, (0, 0) the corner of the first one, where OpenCV sees rays."""
    points = np.column_stack([rays, np.ones(len(rays))]).reshape(-1, 1, 3)
    see = cv2.fisheye.projectPoints if camera.is_fisheye else cv2.projectPoints
    return (
        see(points, np.zeros(3), np.zeros(3), camera.matrix, camera.distortion)[0].reshape(-1, 2)
        + 0.5
    )


def make_camera(name: str) -> CameraModel:
    if name in FISHEYES:
        return CameraModel(MATRIX, np.array(FISHEYES[name]), FRAME_HW, is_fisheye=True)
    return CameraModel(MATRIX, np.array(LENSES[name]), FRAME_HW)


def make_grid() -> np.ndarray:
    height, width = FRAME_HW
    columns, rows = np.meshgrid(np.linspace(0, width, 33), np.linspace(0, height, 19))
    return np.stack([columns, rows], axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("name", [*LENSES, *FISHEYES])
def test_every_ray_comes_back_to_its_pixel(name):
    camera, grid = make_camera(name), make_grid()
    rays = camera.cast_rays(grid)
    is_seen = np.isfinite(rays).all(axis=1)
    assert is_seen.sum() > 100
    back = project(camera, rays[is_seen])
    np.testing.assert_allclose(back, grid[is_seen], rtol=0, atol=1e-3)
    # A pixel without a ray lies outside of those that have one.
    np.testing.assert_array_equal(np.isnan(rays), np.isnan(rays[:, :1]).repeat(2, axis=1))


@pytest.mark.parametrize("name", [*LENSES, *FISHEYES])
def test_every_ray_in_range_is_found_again_and_no_other(name):
    camera = make_camera(name)
    reach = np.tan(camera.max_angle_rad)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    for share in (0.0, 0.3, 0.7, 0.97):
        rays = circle * min(reach * share, 3.0)
        np.testing.assert_allclose(camera.cast_rays(project(camera, rays)), rays, atol=1e-6)
    found = camera.cast_rays(make_grid())
    lengths = np.linalg.norm(found[np.isfinite(found).all(axis=1)], axis=1)
    assert (lengths < reach).all()


def test_pixels_beyond_the_fold_have_no_ray():
    camera = make_camera("folds at 39 degrees")
    # r (1 - 0.5 r^2) is largest at r = 0.816, where it is 0.544.
    assert np.degrees(camera.max_angle_rad) == pytest.approx(np.degrees(np.arctan(0.8165)), abs=0.1)
    axis = MATRIX[:2, 2] + 0.5
    inside, beyond = axis + (600 * 0.53, 0), axis + (600 * 0.56, 0)
    rays = camera.cast_rays(np.array([inside, beyond]))
    assert np.isfinite(rays).tolist() == [[True, True], [False, False]]


def test_a_fisheye_sees_no_plane_in_front_of_it_beyond_90_degrees():
    camera = CameraModel(MATRIX, np.array([1e-9, 0, 0, 0]), FRAME_HW, is_fisheye=True)
    axis = MATRIX[:2, 2] + 0.5
    angles = np.radians([30, 88, 89.9, 90, 91, 120])
    pixels = axis + np.column_stack([600 * angles, np.zeros(6)])
    rays = camera.cast_rays(pixels)
    np.testing.assert_allclose(rays[:2], [[np.tan(one), 0] for one in angles[:2]], rtol=1e-6)
    assert np.isnan(rays[2:]).all()


@pytest.mark.parametrize("is_fisheye", [False, True])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 8, 13])
def test_no_coefficient_but_zero_is_no_distortion(is_fisheye, count):
    camera = CameraModel(MATRIX, np.zeros(count), FRAME_HW, is_fisheye)
    pixels = np.array([[0.0, 0.0], [1280.0, 720.0]])
    expected = (pixels - 0.5 - MATRIX[:2, 2]) / (600, 610)
    np.testing.assert_allclose(camera.cast_rays(pixels), expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"matrix": MATRIX * np.nan}, "not finite"),
        ({"matrix": np.zeros((3, 3))}, "focal lengths must be positive"),
        ({"distortion": np.array([np.inf])}, "not finite"),
        ({"distortion": np.ones(3)}, "4, 5, 8, 12 or 14 coefficients, got 3"),
        ({"distortion": np.ones(5), "is_fisheye": True}, "has 4 coefficients, got 5"),
        ({"distortion": np.array([0, 0, 0, 0, 1e-320])}, "cannot be undone"),
        ({"rotation": np.ones((3, 3))}, "orthonormal"),
        ({"origin_m": np.full(3, np.nan)}, "origin_m"),
    ],
)
def test_bad_calibration_is_refused(changes, expected):
    fields = {"matrix": MATRIX, "distortion": np.zeros(0), "frame_hw": FRAME_HW} | changes
    with pytest.raises(InputError, match=expected):
        CameraModel(**fields)


def test_matrix_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"must be \(3, 3\)"):
        CameraModel(np.eye(2), np.zeros(0), FRAME_HW)


def test_numbers_beyond_all_reason_give_no_ray_rather_than_a_wrong_one():
    camera = CameraModel(MATRIX, np.array([1e200, -1e180, 0, 0, 1e150]), FRAME_HW)
    rays = camera.cast_rays(make_grid())
    assert not np.isinf(rays).any() and np.isnan(rays).any()

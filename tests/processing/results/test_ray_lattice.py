from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.processing.results import camera_model
from vl2_ros.processing.results.camera_model import CameraModel
from vl2_ros.processing.results.ray_lattice import cast_many_rays

MATRIX = np.array([[300.0, 0, 159.5], [0, 305.0, 121.0], [0, 0, 1]])
FRAME_HW = (243, 317)
LENSES = {
    "none": {"distortion": np.zeros(5)},
    "plumb bob": {"distortion": np.array([-0.32, 0.12, 0.001, -0.002, -0.02])},
    "rational": {"distortion": np.array([0.3, -0.4, 0.0, 0.0, 0.1, 0.6, -0.3, 0.1])},
    "fisheye": {"distortion": np.array([0.02, -0.01, 0.003, 0.0]), "is_fisheye": True},
    # Its rim cannot be undone.
    "wide fisheye": {
        "distortion": np.array([0.01, 0.0, 0.0, 0.0]),
        "is_fisheye": True,
        "matrix": MATRIX * 0.35 + np.diag([0, 0, 0.65]) + [[0, 0, 104], [0, 0, 79], [0, 0, 0]],
    },
}


def make_camera(name: str) -> CameraModel:
    return CameraModel(**({"matrix": MATRIX, "frame_hw": FRAME_HW} | LENSES[name]))


@pytest.mark.parametrize("name", LENSES)
def test_rays_are_those_of_the_camera(name):
    camera = make_camera(name)
    height, width = FRAME_HW
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2)[::7]
    points = np.concatenate([grid + 0.5, [[0, 0], [width, height]]])
    exact, rays = camera.cast_rays(points), cast_many_rays(camera, points)
    np.testing.assert_array_equal(np.isnan(rays), np.isnan(exact))
    known = np.isfinite(exact).all(axis=1)
    assert known.mean() > 0.5
    assert known.all() or name == "wide fisheye"
    np.testing.assert_allclose(rays[known], exact[known], atol=4e-4)


def test_a_lattice_is_cast_once_for_a_camera(monkeypatch):
    counts: list[int] = []
    cast = camera_model.CameraModel.cast_rays

    def count(self, points_xy):
        counts.append(len(points_xy))
        return cast(self, points_xy)

    monkeypatch.setattr(camera_model.CameraModel, "cast_rays", count)
    distortion = np.array([-0.31, 0.1, 0.0, 0.0, 0.0])
    points = np.random.default_rng(0).uniform(0, 240, (1000, 2))
    for _ in range(3):
        cast_many_rays(CameraModel(MATRIX, distortion, FRAME_HW), points)
    assert len(counts) == 2 + 3
    assert sum(counts[2:]) < 300


def test_no_points_give_no_rays():
    assert cast_many_rays(make_camera("plumb bob"), np.zeros((0, 2))).shape == (0, 2)

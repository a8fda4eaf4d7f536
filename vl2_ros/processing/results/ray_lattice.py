"""Rays of many pixels at once: those of a lattice are cast, the others lie between them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vl2_ros.processing.results.camera_model import CameraModel

#: Pixels between two points of the lattice.
_SPACING = 8
#: Metres at one metre that a ray between others may be off; elsewhere it is cast itself.
_MOST_ERROR = 2e-4


def cast_many_rays(camera: CameraModel, points_xy: np.ndarray) -> np.ndarray:
    """Return what `CameraModel.cast_rays` does, faster, and right to 0.2 mm at one metre.

    Undoing a lens takes microseconds a point, so that of each camera a lattice is kept.

    Args:
        camera: of the image.
        points_xy: (N, 2) camera pixels, inside of the image.

    Returns:
        (N, 2) float64 metres at z = 1; NaN where the lens cannot be undone.
    """
    points_xy = np.asarray(points_xy, np.float64).reshape(-1, 2)
    if not camera.has_distortion:
        return camera.cast_rays(points_xy)
    nodes, is_even = _cast_lattice(
        camera.matrix.tobytes(), camera.distortion.tobytes(), camera.frame_hw, camera.is_fisheye
    )
    cells = np.minimum(points_xy // _SPACING, np.array(is_even.shape[::-1]) - 1).astype(int)
    column, row = cells.T
    x, y = (points_xy / _SPACING - cells).T[:, :, None]
    upper = nodes[row, column] * (1 - x) + nodes[row, column + 1] * x
    lower = nodes[row + 1, column] * (1 - x) + nodes[row + 1, column + 1] * x
    rays = upper * (1 - y) + lower * y
    is_between = is_even[row, column]
    rays[~is_between] = camera.cast_rays(points_xy[~is_between])
    return np.asarray(rays)


@lru_cache(maxsize=8)
def _cast_lattice(
    matrix: bytes, distortion: bytes, frame_hw: tuple[int, int], is_fisheye: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return rays (R + 1, C + 1, 2) of the corners of cells, and in which (R, C) they are even."""
    camera = CameraModel(
        np.frombuffer(matrix).reshape(3, 3), np.frombuffer(distortion), frame_hw, is_fisheye
    )
    rows, columns = (-(-side // _SPACING) for side in frame_hw)
    corners = np.stack(np.meshgrid(np.arange(columns + 1), np.arange(rows + 1)), axis=-1)
    nodes = camera.cast_rays(corners.reshape(-1, 2) * float(_SPACING)).reshape(corners.shape)
    middles = (corners[:-1, :-1].reshape(-1, 2) + 0.5) * _SPACING
    exact = camera.cast_rays(middles).reshape(rows, columns, 2)
    means = (nodes[:-1, :-1] + nodes[1:, :-1] + nodes[:-1, 1:] + nodes[1:, 1:]) / 4
    # NaN, of a corner that the lens hides, is not even.
    return nodes, np.abs(means - exact).max(axis=-1) <= _MOST_ERROR

"""Project the named points of a piece into an image, and decide which of them are seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vl2_ros.sim.pieces import Landmark, Side

#: A keypoint is seen when the piece's surface at its pixel is at most so far from where it lies.
DEPTH_TOLERANCE_M = 0.012
#: Axis of the image and sign of the farthest point of a side.
_FARTHEST: Mapping[Side, tuple[int, float]] = {
    Side.LEFT: (0, -1.0),
    Side.RIGHT: (0, 1.0),
    Side.UPPER: (1, -1.0),
    Side.LOWER: (1, 1.0),
}


@dataclass(frozen=True, slots=True)
class CameraIntrinsics:
    """Pinhole camera in pixels; pixel (i, j) covers [j, j+1) x [i, i+1)."""

    fx: float
    fy: float
    cx: float
    cy: float


def project_keypoints(
    keypoints: Mapping[str, Landmark],
    surface_m: np.ndarray,
    intrinsics: CameraIntrinsics,
    world_from_camera: np.ndarray,
) -> dict[str, tuple[float, float, bool]]:
    """Project named points of a piece in the world.

    Args:
        keypoints: name to point, in the world.
        surface_m: (H, W) distance along the optical axis where the piece is seen, NaN elsewhere.
        intrinsics: the pinhole camera.
        world_from_camera: (4, 4) pose of the optical frame.

    Returns:
        Name to (x, y, visible) in pixels; visible where the piece's own surface is seen at the
        pixel, or beside it, at the distance that the point has.
    """
    rotation, position = world_from_camera[:3, :3], world_from_camera[:3, 3]
    projected = {}
    for name, landmark in keypoints.items():
        x, y, z = ((landmark.points - position) @ rotation).T
        pixels = np.stack(
            [intrinsics.fx * x / z + intrinsics.cx, intrinsics.fy * y / z + intrinsics.cy], axis=1
        )
        chosen = _choose(pixels, landmark.side)
        column, row = (float(value) for value in pixels[chosen])
        reach = DEPTH_TOLERANCE_M + landmark.depth_m
        visible = _is_seen(surface_m, column, row, float(z[chosen]), reach)
        projected[name] = (column, row, visible)
    return projected


def _choose(pixels: np.ndarray, side: Side | None) -> int:
    if side is None:
        return 0
    axis, sign = _FARTHEST[side]
    return int(np.argmax(sign * pixels[:, axis]))


def _is_seen(surface_m: np.ndarray, column: float, row: float, z: float, reach: float) -> bool:
    height, width = surface_m.shape
    if not (z > 0 and 0 <= column < width and 0 <= row < height):
        return False
    top, left = max(int(row) - 1, 0), max(int(column) - 1, 0)
    # A point on an outline may fall beside the last pixel of its piece.
    around = surface_m[top : int(row) + 2, left : int(column) + 2]
    return bool(np.any(np.abs(around - z) < reach))

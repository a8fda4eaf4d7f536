"""Labels of a rendered scene: boxes of visible pixels, how much is seen, keypoints of people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vl2_ros.sim.household.scene import HouseholdScene, PlacedModel
from vl2_ros.sim.household.skeletons import KEYPOINTS, skeleton_of
from vl2_ros.sim.keypoints import CameraIntrinsics

#: Fewer visible pixels than this, at 320x240, leave an object without a label.
MIN_VISIBLE_PIXELS = 50
#: Less of its surface than this, of what faces the camera, leaves it without a label.
MIN_VISIBLE_SHARE = 0.12
#: A joint lies inside the body: so far behind the surface that is seen at its pixel.
_FLESH_M = 0.14
_SURFACE_TOLERANCE_M = 0.03


@dataclass(frozen=True, slots=True)
class HouseholdObject:
    """One labelled object as far as it is seen.

    Attributes:
        kind: a word of HOUSEHOLD_KINDS.
        color: a word of COLORS where most of it has one colour with a name, else empty.
        box_xyxy: extent of its visible pixels, end-exclusive; an occluded part does not count.
        visible_pixels: number of its pixels in the instance map.
        visible_share: how much of the surface that faces the camera is seen, in 0..1.
        keypoints: name to (x, y, visible) in pixels, of people; a point may lie outside the image.
    """

    kind: str
    color: str
    box_xyxy: tuple[float, float, float, float]
    visible_pixels: int
    visible_share: float
    keypoints: dict[str, tuple[float, float, bool]]


def label_scene(
    scene: HouseholdScene,
    identity: np.ndarray,
    depth_m: np.ndarray,
    intrinsics: CameraIntrinsics,
) -> tuple[tuple[HouseholdObject, ...], np.ndarray]:
    """Label what is seen of a scene.

    Args:
        scene: what was rendered.
        identity: (H, W) uint8, index of the placed model + 1 or 0.
        depth_m: (H, W) distance along the optical axis.
        intrinsics: the pinhole camera.

    Returns:
        The objects, and (H, W) uint8 with 0 = none and i + 1 = object i.
    """
    needed = MIN_VISIBLE_PIXELS * identity.size / (320 * 240)
    counts = np.bincount(identity.ravel(), minlength=256)
    renumber = np.zeros(256, dtype=np.uint8)
    objects: list[HouseholdObject] = []
    for index, item in enumerate(scene.placed):
        if not item.is_labelled or counts[index + 1] < needed:
            continue
        share = _visible_share(item, depth_m, intrinsics, scene.world_from_camera)
        if share < MIN_VISIBLE_SHARE:
            continue
        mask = identity == index + 1
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        points = _project_skeleton(item, mask, depth_m, intrinsics, scene.world_from_camera)
        objects.append(
            HouseholdObject(item.model.kind, item.color, box, int(counts[index + 1]), share, points)
        )
        renumber[index + 1] = len(objects)
    return tuple(objects), renumber[identity]


def project(
    points: np.ndarray, intrinsics: CameraIntrinsics, world_from_camera: np.ndarray
) -> np.ndarray:
    """Map (N, 3) world points to (N, 3) column, row and distance; behind the camera that is < 0."""
    local = (points - world_from_camera[:3, 3]) @ world_from_camera[:3, :3]
    z = local[:, 2]
    safe = np.where(np.abs(z) < 1e-6, 1e-6, z)
    columns = intrinsics.fx * local[:, 0] / safe + intrinsics.cx
    rows = intrinsics.fy * local[:, 1] / safe + intrinsics.cy
    return np.stack([columns, rows, z], axis=1)


def _visible_share(
    item: PlacedModel,
    depth_m: np.ndarray,
    intrinsics: CameraIntrinsics,
    world_from_camera: np.ndarray,
) -> float:
    """Estimate from samples of the surface; what is out of the image is not seen."""
    points = item.to_world(item.model.furniture.samples)
    normals = item.model.furniture.normals @ item.rotation().T
    facing = ((world_from_camera[:3, 3] - points) * normals).sum(axis=1) > 0.0
    if not facing.any():
        return 1.0
    columns, rows, z = project(points[facing], intrinsics, world_from_camera).T
    height, width = depth_m.shape
    inside = (z > 0) & (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    seen = depth_m[rows[inside].astype(int), columns[inside].astype(int)]
    near = np.abs(seen - z[inside]) < _SURFACE_TOLERANCE_M + 0.02 * z[inside]
    return float(near.sum() / facing.sum())


def _project_skeleton(
    item: PlacedModel,
    mask: np.ndarray,
    depth_m: np.ndarray,
    intrinsics: CameraIntrinsics,
    world_from_camera: np.ndarray,
) -> dict[str, tuple[float, float, bool]]:
    skeleton = skeleton_of(item.model.identifier)
    if skeleton is None:
        return {}
    projected = project(item.to_world(skeleton), intrinsics, world_from_camera)
    points = {}
    for name, (column, row, z) in zip(KEYPOINTS, projected, strict=True):
        top, left = max(int(row) - 1, 0), max(int(column) - 1, 0)
        around = np.s_[top : max(int(row) + 2, 0), left : max(int(column) + 2, 0)]
        # The surface is the person's own, and no other limb of it lies in front.
        near = mask[around] & (depth_m[around] > z - _FLESH_M)
        inside = 0 <= column < mask.shape[1] and 0 <= row < mask.shape[0]
        points[name] = (float(column), float(row), bool(z > 0 and inside and near.any()))
    return points

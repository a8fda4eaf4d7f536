"""Place boxes and masks of an image in space by its registered depth and its calibration.

Space is the optical frame of the camera (REP-103: x right, y down, z forward), in metres; that of
the first camera for the second one of a stereo pair. A view that was moved has another frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from vl2_ros.errors import ShapeError
from vl2_ros.processing.results.camera_model import CameraModel
from vl2_ros.processing.results.rigid_transform import RigidTransform
from vl2_ros.structures import Detections, MaskCrop

#: Without a mask, the depth of a box is that of its middle, this share of its sides wide and high.
_MIDDLE_SHARE = 0.5
#: Share of pixels at each end that the extent along the axis ignores: edges mix two surfaces.
_TAIL_SHARE = 0.05
#: Pixels to each side of a keypoint whose depth counts.
_AROUND = 2
#: Center, size, and that it is not placed.
_NOWHERE = (0.0,) * 7


@dataclass(frozen=True, slots=True, eq=False)
class DepthImage:
    """Distances along the optical axis, registered to a camera image.

    Attributes:
        values: (H, W) uint16 or float32; 0 and what is not finite is unknown.
        unit_m: metres of the value 1.
    """

    values: np.ndarray
    unit_m: float

    def __post_init__(self) -> None:
        """Check the shape."""
        if self.values.ndim != 2 or not self.values.size:
            raise ShapeError(f"depth values must be (H, W), got {self.values.shape}")


@dataclass(frozen=True, slots=True, eq=False)
class SpatialView:
    """Calibration and depth, to place the instances of one image in space.

    Attributes:
        camera: of the image.
        depth: registered to the image; it may be smaller or larger.
        frame_id: of space; empty: the optical frame of the image.
        transform: how points of the optical frame become points of space; None: as they are.
    """

    camera: CameraModel
    depth: DepthImage
    frame_id: str = ""
    transform: RigidTransform | None = None

    def move(self, frame_id: str, transform: RigidTransform) -> SpatialView:
        """Return the view in another frame.

        Args:
            frame_id: of the frame.
            transform: how points of the optical frame become points of it.
        """
        return replace(self, frame_id=frame_id, transform=transform)

    def locate(self, detections: Detections) -> Boxes3D:
        """Place instances by the depth of their visible surface; their backs are estimated.

        Args:
            detections: N instances on the camera image; masks are used where there are any.
        """
        table = self._measure(detections)
        centers_m = self.place(table[:, :3])
        # The box around the turned box.
        sizes_m = table[:, 3:6] @ np.abs(self.camera.rotation).T
        is_placed = table[:, 6] > 0
        rotation = np.eye(3) if self.transform is None else self.transform.rotation
        return Boxes3D(centers_m * is_placed[:, None], sizes_m, is_placed, rotation)

    def locate_keypoints(self, detections: Detections) -> np.ndarray:
        """Place keypoints by the depth of the surface around their pixels.

        Args:
            detections: N instances on the camera image, with K keypoints each, or with none.

        Returns:
            (N, K, 3) float64 metres in space; 0 where the depth is unknown or not that of the
            instance, or where the lens cannot be undone.
        """
        if detections.keypoints is None:
            return np.zeros((len(detections), 0, 3))
        table = self._measure(detections)
        points_xy = detections.keypoints.points_xy.astype(np.float64)
        depths_m = self._read_around(points_xy.reshape(-1, 2)).reshape(
            *points_xy.shape[:2], (2 * _AROUND + 1) ** 2
        )
        # What lies further off than the instance is large is seen past it, not on it.
        reach_m = np.where(table[:, 6] > 0, table[:, 3:6].max(axis=1, initial=0), np.nan)
        is_on_it = np.abs(depths_m - table[:, None, 2:3]) <= reach_m[:, None, None]
        depths_m = np.where(is_on_it, depths_m, np.nan)
        rays = self.camera.cast_rays(points_xy.reshape(-1, 2)).reshape(points_xy.shape)
        depth_m = _find_medians(depths_m)[..., None]
        points_m = np.concatenate([rays * depth_m, depth_m], axis=-1)
        return np.asarray(
            np.nan_to_num(self.place(points_m.reshape(-1, 3)).reshape(points_m.shape))
        )

    def place(self, points_m: np.ndarray) -> np.ndarray:
        """Turn (N, 3) float64 points, metres along the camera's own axes, into points of space."""
        optical_m = points_m @ self.camera.rotation.T + self.camera.origin_m
        return optical_m if self.transform is None else self.transform.apply(optical_m)

    def explain_unseen(self, found: Iterable[Detections]) -> str:
        """Return why the lens keeps instances from being placed; empty when all are placed.

        Args:
            found: instances on the camera image, in any number of parts.
        """
        is_seen = np.concatenate(
            [np.ones(0, np.bool_), *(self._cast_boxes(one)[1] for one in found)]
        )
        if is_seen.all():
            return ""
        limit = math.degrees(self.camera.max_angle_rad)
        return (
            f"{np.sum(~is_seen)} of {len(is_seen)} instances reach further than {limit:.0f} "
            "degrees from the axis, where the lens model of camera_info cannot be undone; "
            "calibrate the camera up to its border, or ask about the rectified image"
        )

    def _measure(self, detections: Detections) -> np.ndarray:
        """Return (N, 7): center and size along the camera's own axes, and whether it is placed."""
        rays, is_seen = self._cast_boxes(detections)
        rows = [
            self._locate_one(detections, index, rays[index]) if is_seen[index] else _NOWHERE
            for index in range(len(detections))
        ]
        return np.array(rows, np.float64).reshape(-1, 7)

    def _read_around(self, points_xy: np.ndarray) -> np.ndarray:
        """Return (P, W) depths in metres around points of the image; NaN where it is unknown."""
        height, width = self.depth.values.shape
        scale = np.array([width, height]) / self.camera.frame_hw[::-1]
        pixels = np.floor(np.nan_to_num(points_xy * scale, nan=-1e6).clip(-1e6, 1e6)).astype(int)
        offsets = np.arange(-_AROUND, _AROUND + 1)
        columns = pixels[:, 0, None, None] + offsets[None, None, :]
        rows = pixels[:, 1, None, None] + offsets[None, :, None]
        is_inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        values = self.depth.values[rows.clip(0, height - 1), columns.clip(0, width - 1)]
        is_known = is_inside & np.isfinite(values) & (values > 0)
        depths_m = np.where(is_known, values.astype(np.float64) * self.depth.unit_m, np.nan)
        return np.asarray(depths_m.reshape(len(points_xy), offsets.size**2))

    def _cast_boxes(self, detections: Detections) -> tuple[np.ndarray, np.ndarray]:
        """Return rays (N, 5, 2) of each box, and whether all of them are known.

        The middle of the left, upper, right and lower side, and of the box: along the middle lines
        a box has a positive size behind every lens, its corners may lie in another order.
        """
        x1, y1, x2, y2 = detections.boxes_xyxy.astype(np.float64).reshape(-1, 4).T
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        points = np.stack([x1, y, x, y1, x2, y, x, y2, x, y], axis=1)
        rays = self.camera.cast_rays(points.reshape(-1, 2)).reshape(-1, 5, 2)
        is_seen = np.isfinite(rays).all(axis=(1, 2))
        is_seen &= (rays[:, 2, 0] >= rays[:, 0, 0]) & (rays[:, 3, 1] >= rays[:, 1, 1])
        return rays, is_seen

    def _locate_one(
        self, detections: Detections, index: int, rays: np.ndarray
    ) -> tuple[float, ...]:
        mask = None if detections.masks is None else detections.masks.crops[index]
        depths_m = self._collect_depths(detections.boxes_xyxy[index].astype(np.float64), mask)
        if not len(depths_m):
            return _NOWHERE
        distance_m = float(np.median(depths_m))
        left, upper, right, lower, middle = rays * distance_m
        width_m, height_m = right[0] - left[0], lower[1] - upper[1]
        # What lies further off than the thing is wide is seen past it, not on it.
        on_it = depths_m[np.abs(depths_m - distance_m) <= max(width_m, height_m) / 2]
        near_m = far_m = distance_m
        if len(on_it):
            near_m, far_m = np.quantile(on_it, (_TAIL_SHARE, 1 - _TAIL_SHARE))
        # The back is hidden: the middle of a thing lies behind that of its visible surface, but
        # before the far end of that. So the box reaches as far behind it as in front of it.
        center_m = (distance_m + far_m) / 2
        depth_m = 2 * (center_m - near_m)
        return (*middle / distance_m * center_m, center_m, width_m, height_m, depth_m, 1.0)

    def _collect_depths(self, box_xyxy: np.ndarray, mask: MaskCrop | None) -> np.ndarray:
        """Return the known depths in metres, (P,) float64, of a mask or of the middle of a box."""
        height, width = self.camera.frame_hw
        depth_h, depth_w = self.depth.values.shape
        scale = np.array([depth_w / width, depth_h / height] * 2)
        if mask is None:
            center = np.tile((box_xyxy[:2] + box_xyxy[2:]) / 2, 2)
            box_xyxy = center + (box_xyxy - center) * _MIDDLE_SHARE
        limits = np.array([depth_w, depth_h] * 2)
        low, high = np.floor(box_xyxy * scale), np.ceil(box_xyxy * scale)
        x1, y1 = np.clip(low, 0, limits)[:2].astype(int)
        x2, y2 = np.clip(high, 0, limits)[2:].astype(int)
        values = self.depth.values[y1:y2, x1:x2]
        if mask is not None:
            columns = ((np.arange(x1, x2) + 0.5) / scale[0]).astype(int)
            rows = ((np.arange(y1, y2) + 0.5) / scale[1]).astype(int)
            values = values[mask.look_up(rows, columns)]
        known = values[np.isfinite(values) & (values > 0)].astype(np.float64)
        return np.asarray(known * self.depth.unit_m)


def _find_medians(values: np.ndarray) -> np.ndarray:
    """Return the medians of the last axis of (..., W), of what is not NaN; NaN where nothing is."""
    # numpy's own warns where nothing is known.
    ordered = np.sort(values, axis=-1)
    middle = (np.sum(~np.isnan(values), axis=-1, keepdims=True) - 1).clip(0) // 2
    return np.take_along_axis(ordered, middle, axis=-1)[..., 0]


@dataclass(frozen=True, slots=True, eq=False)
class Boxes3D:
    """N boxes around instances, axes along those of the optical frame.

    Attributes:
        centers_m: (N, 3) float64 in space, the middle of the instance as far as its visible surface
            shows it.
        sizes_m: (N, 3) float64 extent along x, y and z of the optical frame; z is 0 for a plane
            that is seen from the front.
        is_placed: (N,) bool; False where no depth is known or the lens cannot be undone; the other
            values are 0 then.
        rotation: (3, 3) float64, the axes of the optical frame in space, as columns.
    """

    centers_m: np.ndarray
    sizes_m: np.ndarray
    is_placed: np.ndarray
    rotation: np.ndarray

"""Boxes and masks of a picture, its registered depth and its calibration to boxes in space.

Space is the optical frame of the camera (REP-103: x right, y down, z forward), in metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.structures import Detections

#: Without a mask, the depth of a box is that of its middle, so many of its sides wide and high.
_MIDDLE_SHARE = 0.5
#: The extent along the axis leaves out so much of the pixels on each end: edges mix two surfaces.
_TAIL_SHARE = 0.05
#: How many distortion coefficients a lens may have, of a pinhole and of a fisheye.
_COEFFICIENTS = {False: (0, 4, 5, 8, 12, 14), True: (4,)}
#: sensor_msgs/CameraInfo.distortion_model -> whether the lens is a fisheye.
LENSES = {"": False, "plumb_bob": False, "rational_polynomial": False, "equidistant": True}


@dataclass(frozen=True, slots=True, eq=False)
class CameraModel:
    """A pinhole camera with its lens, in the convention of OpenCV and sensor_msgs/CameraInfo.

    Attributes:
        matrix: (3, 3) float64 intrinsics in pixels; (0, 0) is the centre of the first pixel.
        distortion: (D,) float64 coefficients in OpenCV's order; none for a rectified picture.
        frame_hw: height and width of the picture that it belongs to.
        is_fisheye: the coefficients are those of the equidistant model.
    """

    matrix: np.ndarray
    distortion: np.ndarray
    frame_hw: tuple[int, int]
    is_fisheye: bool = False

    def __post_init__(self) -> None:
        """Check that it is a camera."""
        if self.matrix.shape != (3, 3):
            raise ShapeError(f"the camera matrix must be (3, 3), got {self.matrix.shape}")
        if not (np.isfinite(self.matrix).all() and np.isfinite(self.distortion).all()):
            raise InputError(
                f"the calibration holds numbers that are not finite: matrix "
                f"{self.matrix.ravel().tolist()}, distortion {self.distortion.tolist()}; "
                "calibrate the camera"
            )
        counts = _COEFFICIENTS[self.is_fisheye]
        if self.distortion.ndim != 1 or len(self.distortion) not in counts:
            raise InputError(
                f"the distortion has {self.distortion.size} coefficients, expected "
                f"{' or '.join(str(one) for one in counts)}; calibrate the camera"
            )
        if not (self.matrix[0, 0] > 0 and self.matrix[1, 1] > 0):
            raise InputError(
                f"the focal lengths must be positive, got {self.matrix[0, 0]:g} and "
                f"{self.matrix[1, 1]:g} pixels; calibrate the camera"
            )

    def cast_rays(self, points_xy: np.ndarray) -> np.ndarray:
        """Return where the rays through points of the picture meet the plane one metre away.

        Args:
            points_xy: (N, 2) camera pixels, (0, 0) the upper left corner of the first pixel.

        Returns:
            (N, 2) float64 metres: x right, y down at z = 1.
        """
        # Here, because the node without messages needs numpy alone.
        import cv2

        if not len(points_xy):
            return np.zeros((0, 2))
        # From corner to centre of the first pixel.
        centred = np.asarray(points_xy, np.float64).reshape(-1, 1, 2) - 0.5
        undistort = cv2.fisheye.undistortPoints if self.is_fisheye else cv2.undistortPoints
        return np.asarray(undistort(centred, self.matrix, self.distortion)).reshape(-1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class DepthImage:
    """Distances along the optical axis, registered to a camera picture.

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
    """What is needed to place the instances of one picture in space.

    Attributes:
        camera: of the picture.
        depth: registered to the picture; it may be smaller or larger.
    """

    camera: CameraModel
    depth: DepthImage

    def locate(self, detections: Detections) -> Boxes3D:
        """Place instances by the depth of their visible surface.

        Args:
            detections: N instances on the camera picture; masks are used where there are any.
        """
        rows = [self._locate_one(detections, index) for index in range(len(detections))]
        table = np.array(rows, np.float64).reshape(-1, 7)
        return Boxes3D(table[:, :3], table[:, 3:6], table[:, 6] > 0)

    def _locate_one(self, detections: Detections, index: int) -> tuple[float, ...]:
        box = detections.boxes_xyxy[index].astype(np.float64)
        mask = None if detections.masks is None else detections.masks[index]
        depths_m = self._collect_depths(box, mask)
        if not len(depths_m):
            return (0.0,) * 7
        distance_m = float(np.median(depths_m))
        corners = self.camera.cast_rays(box.reshape(2, 2)) * distance_m
        width_m, height_m = corners[1] - corners[0]
        middle = self.camera.cast_rays(box.reshape(2, 2).mean(axis=0, keepdims=True))[0]
        # What lies further off than the thing is wide is seen past it, not on it.
        on_it = depths_m[np.abs(depths_m - distance_m) <= max(width_m, height_m) / 2]
        near_m, far_m = np.quantile(on_it, (_TAIL_SHARE, 1 - _TAIL_SHARE)) if len(on_it) else (0, 0)
        return (*(middle * distance_m), distance_m, width_m, height_m, far_m - near_m, 1.0)

    def _collect_depths(self, box_xyxy: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
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
            values = values[mask[np.ix_(rows, columns)]]
        known = values[np.isfinite(values) & (values > 0)].astype(np.float64)
        return np.asarray(known * self.depth.unit_m)


@dataclass(frozen=True, slots=True, eq=False)
class Boxes3D:
    """N boxes around the visible surfaces of instances, axes along those of the optical frame.

    Attributes:
        centers_m: (N, 3) float64, the middle of the visible surface.
        sizes_m: (N, 3) float64 extent along x, y and z; z is only as deep as what is seen.
        is_placed: (N,) bool; False where no depth is known, the other values are 0 then.
    """

    centers_m: np.ndarray
    sizes_m: np.ndarray
    is_placed: np.ndarray

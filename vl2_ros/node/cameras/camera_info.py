"""Read sensor_msgs/CameraInfo by the rules of image_geometry and image_proc.

A raw image is placed by K and D, and turned by R. A rectified one, of which image_proc publishes
no calibration of its own, is placed by P alone. Both come out in the frame that P projects from:
the rectified one, for the second camera of a stereo pair that of the first. A centre in the
binned image is that of the full one less the region's offset, divided by the binning, without
half a pixel: so image_geometry has it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.processing.results.camera_model import CameraModel

#: distortion_model -> whether the lens is a fisheye. Some drivers call equidistant fisheye.
LENSES = {"plumb_bob": False, "rational_polynomial": False, "equidistant": True, "fisheye": True}


def is_rectified(image_topic: str, rectification: str) -> bool:
    """Return whether the images of a topic are rectified.

    Args:
        image_topic: absolute name; image_proc calls its rectified images image_rect...
        rectification: always, never, or auto: by the name.
    """
    by_name = image_topic.rpartition("/")[2].startswith("image_rect")
    return {"always": True, "never": False}.get(rectification, by_name)


def read_camera_info(message: Any, *, rectified: bool = False) -> CameraModel:
    """Read a calibration; binning and a region of interest are taken into account.

    Args:
        message: the sensor_msgs/CameraInfo.
        rectified: its image is a rectified one.

    Raises:
        InputError: if it is no calibration: numbers that are not finite, no focal length, a lens
            model that is not known or has another number of coefficients.
    """
    try:
        matrix, distortion, is_fisheye = _read_lens(message, rectified)
        rotation, origin_m = _read_rectification(message, rectified)
        _crop_and_bin(message, matrix)
        return CameraModel(matrix, distortion, _read_size(message), is_fisheye, rotation, origin_m)
    except InputError as error:
        raise InputError(f"camera_info cannot be used: {error}") from error


def _read_lens(message: Any, rectified: bool) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return matrix (3, 3), distortion (D,), and whether it is that of a fisheye."""
    matrix, projection = _read(message, "k", (3, 3)), _read(message, "p", (3, 4))
    distortion = np.asarray(message.d, np.float64).reshape(-1)
    if rectified and (projection.any() or distortion.any()):
        if not (projection[0, 0] > 0 and projection[1, 1] > 0):
            raise InputError(
                f"a rectified image is placed by P, whose focal lengths must be positive, got "
                f"{projection[0, 0]:g} and {projection[1, 1]:g} pixels; publish P, or set "
                "image_rectified to never if the image is not rectified"
            )
        return projection[:, :3].copy(), np.zeros(0), False
    # image_proc passes an image without distortion on as it is: raw and rectified are one then.
    lens = message.distortion_model
    if lens in LENSES:
        return matrix, distortion, LENSES[lens]
    if lens or distortion.any():
        known = ", ".join(repr(name) for name in LENSES)
        raise InputError(
            f"distortion_model must be one of {known}, or empty for an image without distortion, "
            f"got {lens!r} with {len(distortion)} coefficients; name the lens model"
        )
    return matrix, distortion, False


def _read_rectification(message: Any, rectified: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the rotation (3, 3) and the camera's centre (3,) in the frame of P."""
    projection, rotation = _read(message, "p", (3, 4)), _read(message, "r", (3, 3))
    # Missing from drivers of single cameras.
    if rectified or not rotation.any():
        rotation = np.eye(3)
    origin_m = np.zeros(3)
    if projection[0, 0] and projection[1, 1]:
        # P times (X, Y, Z, 1): Tx and Ty are added to focal length times X and Y.
        origin_m[:2] = -projection[:2, 3] / (projection[0, 0], projection[1, 1])
    return rotation, origin_m


def _crop_and_bin(message: Any, matrix: np.ndarray) -> None:
    """Change a matrix from the full image to the one that is sent."""
    binning = _read_binning(message)
    matrix[:2, 2] = (matrix[:2, 2] - (message.roi.x_offset, message.roi.y_offset)) / binning
    matrix[[0, 1], [0, 1]] /= binning


def _read_size(message: Any) -> tuple[int, int]:
    """Return height and width of the image that is sent."""
    binning_x, binning_y = _read_binning(message).astype(int)
    height = (message.roi.height or message.height) // binning_y
    width = (message.roi.width or message.width) // binning_x
    return int(height), int(width)


def _read_binning(message: Any) -> np.ndarray:
    return np.array([max(1, message.binning_x), max(1, message.binning_y)], np.float64)


def _read(message: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.array(getattr(message, name), np.float64)
    if values.size != math.prod(shape):
        raise InputError(f"{name.upper()} must have {math.prod(shape)} numbers, got {values.size}")
    if not np.isfinite(values).all():
        raise InputError(
            f"{name.upper()} contains numbers that are not finite: {values.tolist()}; calibrate "
            "the camera"
        )
    return values.reshape(shape)

"""A calibrated camera: rays of pixels, with the lens undone as far as the model allows.

A lens model can be undone up to the angle at which it folds back: from there on two rays meet in
one pixel. Solvers that do not know this angle also return numbers beyond it; here they are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.polynomial import Polynomial

from vl2_ros.errors import InputError, ShapeError

#: Numbers of coefficients that OpenCV's model of a pinhole lens has, and its fisheye.
PINHOLE_COUNTS = (4, 5, 8, 12, 14)
FISHEYE_COUNTS = (4,)

#: Nearer to 90 degrees a pixel's error is metres: the tangent grows without end.
_MAX_ANGLE_RAD = math.radians(89)
#: A ray counts only when it comes back to its pixel.
_TOLERANCE_PX = 1e-3
_NEWTON_STEPS = 15
_SMALL_STEP = 1e-12
_BISECTION_STEPS = 60


@dataclass(frozen=True, slots=True, eq=False)
class CameraModel:
    """A pinhole camera with its lens, in the convention of OpenCV and sensor_msgs/CameraInfo.

    Attributes:
        matrix: (3, 3) float64 intrinsics in pixels; (0, 0) is the centre of the first pixel.
        distortion: (D,) float64 coefficients in OpenCV's order; none or all zero: no distortion,
            which is a pinhole without lens also for a fisheye, as in image_geometry.
        frame_hw: height and width of the image that it belongs to.
        is_fisheye: the coefficients are those of the equidistant model.
        rotation: (3, 3) float64 turns the camera's axes to those of the result's frame.
        origin_m: (3,) float64 metres, the camera's centre in that frame; not zero for the second
            camera of a stereo pair, whose results are in the frame of the first.
        max_angle_rad: up to this angle from the axis the lens can be undone.
    """

    matrix: np.ndarray
    distortion: np.ndarray
    frame_hw: tuple[int, int]
    is_fisheye: bool = False
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    origin_m: np.ndarray = field(default_factory=lambda: np.zeros(3))
    max_angle_rad: float = field(init=False)

    def __post_init__(self) -> None:
        """Check that it is a camera, and find how far its lens can be undone."""
        if self.matrix.shape != (3, 3):
            raise ShapeError(f"the camera matrix must be (3, 3), got {self.matrix.shape}")
        for name in ("matrix", "distortion", "rotation", "origin_m"):
            values = getattr(self, name)
            if not np.isfinite(values).all():
                raise InputError(
                    f"the calibration contains numbers that are not finite: {name} "
                    f"{values.ravel()[:14].tolist()}; calibrate the camera"
                )
        self._check_count()
        if not (self.matrix[0, 0] > 0 and self.matrix[1, 1] > 0):
            raise InputError(
                f"the focal lengths must be positive, got {self.matrix[0, 0]:g} and "
                f"{self.matrix[1, 1]:g} pixels; calibrate the camera"
            )
        # Not exactly: calibrations are stored in rounded numbers.
        if not np.allclose(self.rotation @ self.rotation.T, np.eye(3), atol=1e-3):
            raise InputError(
                f"the rotation must be orthonormal, got {self.rotation.ravel().tolist()}; "
                "calibrate the camera"
            )
        object.__setattr__(self, "max_angle_rad", self._find_max_angle())

    @property
    def has_distortion(self) -> bool:
        """Return whether any coefficient is not zero."""
        return bool(self.distortion.any())

    def cast_rays(self, points_xy: np.ndarray) -> np.ndarray:
        """Return where the rays through points of the image meet the plane one metre away.

        Args:
            points_xy: (N, 2) camera pixels, (0, 0) the upper left corner of the first pixel.

        Returns:
            (N, 2) float64 metres: x right, y down at z = 1; NaN where the lens cannot be undone.
        """
        # From corner to centre of the first pixel.
        pixels = np.asarray(points_xy, np.float64).reshape(-1, 2) - 0.5
        focal_px = self.matrix[[0, 1], [0, 1]]
        bent = (pixels - self.matrix[:2, 2]) / focal_px
        if not self.has_distortion or not len(pixels):
            return np.asarray(bent)
        with np.errstate(all="ignore"):
            rays, error_px = (
                self._undo_fisheye(bent, focal_px) if self.is_fisheye else self._undo(bent, pixels)
            )
            rays[~(error_px <= _TOLERANCE_PX)] = np.nan
        return rays

    def _check_count(self) -> None:
        counts = FISHEYE_COUNTS if self.is_fisheye else PINHOLE_COUNTS
        if self.has_distortion and len(self.distortion) not in counts:
            raise InputError(
                f"this lens model has {_join(counts)} coefficients, got {len(self.distortion)}; "
                "publish the coefficients of the model, or none for an image without distortion"
            )

    def _find_max_angle(self) -> float:
        if not self.has_distortion:
            return math.pi / 2
        try:
            with np.errstate(all="ignore"):
                if self.is_fisheye:
                    slope = Polynomial([1, *self.distortion * (3, 5, 7, 9)])
                    return min(_MAX_ANGLE_RAD, math.sqrt(_find_first_root(slope)))
                above, below = self._make_radial()
                # Of r * above / below, by the square of r, times the square of below.
                square = Polynomial([0, 2])
                slope = above * below + square * (above.deriv() * below - above * below.deriv())
                first = min(_find_first_root(slope), _find_first_root(below))
                return min(_MAX_ANGLE_RAD, math.atan(math.sqrt(first)))
        except np.linalg.LinAlgError as error:
            raise InputError(
                f"the lens model cannot be undone with the coefficients {self.distortion.tolist()}"
                "; calibrate the camera"
            ) from error

    def _make_radial(self) -> tuple[Polynomial, Polynomial]:
        """Return what the radius is multiplied with and divided by, of its square."""
        k1, k2, _, _, k3, k4, k5, k6 = np.pad(self.distortion, (0, 8))[:8]
        return Polynomial([1, k1, k2, k3]), Polynomial([1, k4, k5, k6])

    def _undo_fisheye(
        self, bent: np.ndarray, focal_px: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        curve = Polynomial([1, *self.distortion])
        bent_radius = np.linalg.norm(bent, axis=1)
        angle = _invert(lambda one: one * curve(one**2), bent_radius, self.max_angle_rad)
        error_px = np.abs(angle * curve(angle**2) - bent_radius) * focal_px.max()
        stretch = np.where(bent_radius > 0, np.tan(angle) / bent_radius, 1.0)
        return bent * stretch[:, None], error_px

    def _undo(self, bent: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Undo the tilt of the sensor, the radial part along its curve, then all at once."""
        if self.distortion[12:].any():
            tilt = np.where(np.arange(len(self.distortion)) < 12, 0.0, self.distortion)
            bent = self._refine(bent, pixels, tilt, math.inf)
        above, below = self._make_radial()
        reach = math.tan(self.max_angle_rad)
        bent_radius = np.linalg.norm(bent, axis=1)
        radius = _invert(lambda one: one * above(one**2) / below(one**2), bent_radius, reach)
        start = bent * np.where(bent_radius > 0, radius / bent_radius, 1.0)[:, None]
        rays = self._refine(start, pixels, self.distortion, reach)
        seen, slopes = self._project(rays, self.distortion)
        # Beyond the fold the image is mirrored: what comes back there came another way.
        is_folded = ~(np.linalg.det(slopes) > 0) | ~(np.linalg.norm(rays, axis=1) < reach)
        error_px = np.abs(pixels - seen).max(axis=1)
        return rays, np.where(is_folded, np.inf, error_px)

    def _refine(
        self, rays: np.ndarray, pixels: np.ndarray, distortion: np.ndarray, reach: float
    ) -> np.ndarray:
        """Move rays by Newton's method until they are seen in their pixels, none beyond reach."""
        for _ in range(_NEWTON_STEPS):
            seen, slopes = self._project(rays, distortion)
            step = np.einsum("nij,nj->ni", _invert_matrices(slopes), pixels - seen)
            step = np.where(np.isfinite(step), step, 0.0)
            moved = rays + step
            moved *= np.fmin(1.0, reach / np.linalg.norm(moved, axis=1))[:, None]
            is_still = np.nan_to_num(np.abs(moved - rays)).max() < _SMALL_STEP
            rays = moved
            if is_still:
                break
        return rays

    def _project(self, rays: np.ndarray, distortion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (N, 2) pixels where rays are seen, and (N, 2, 2) how these move with the rays."""
        # Here, because the node without messages needs numpy alone.
        import cv2

        points = np.concatenate([rays, np.ones((len(rays), 1))], axis=1).reshape(-1, 1, 3)
        none = np.zeros(3)
        pixels, slopes = cv2.projectPoints(points, none, none, self.matrix, distortion)
        # Columns 3 and 4: moving the point along x and y, one metre away.
        return pixels.reshape(-1, 2), slopes.reshape(len(rays), 2, -1)[:, :, 3:5]


def _find_first_root(polynomial: Polynomial) -> float:
    """Return the smallest positive real root; infinite without one."""
    roots = polynomial.trim().roots()
    is_real = np.abs(roots.imag) <= 1e-7 * np.abs(roots)
    return float(min(roots.real[is_real & (roots.real > 0)], default=math.inf))


def _invert(
    curve: Callable[[np.ndarray], np.ndarray], values: np.ndarray, limit: float
) -> np.ndarray:
    """Find where a curve that rises from 0 to `limit` has the values; `limit` for larger ones."""
    low, high = np.zeros_like(values), np.full_like(values, limit)
    for _ in range(_BISECTION_STEPS):
        middle = (low + high) / 2
        is_below = curve(middle) < values
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return np.asarray((low + high) / 2)


def _invert_matrices(matrices: np.ndarray) -> np.ndarray:
    """Invert (N, 2, 2) matrices; not finite where there is no inverse."""
    (a, b), (c, d) = matrices.transpose(1, 2, 0)
    return np.asarray((np.array([[d, -b], [-c, a]]) / (a * d - b * c)).transpose(2, 0, 1))


def _join(counts: tuple[int, ...]) -> str:
    *others, last = map(str, counts)
    return f"{', '.join(others)} or {last}" if others else last

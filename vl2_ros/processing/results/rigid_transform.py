"""A rotation and a translation that turn points of one frame into points of another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True, eq=False)
class RigidTransform:
    """How points of a source frame become points of a target frame.

    It is also the pose of the source frame in the target frame.

    Attributes:
        rotation: (3, 3) float64, orthonormal; its columns are the source's axes in the target.
        translation_m: (3,) float64 metres, the source's origin in the target.
    """

    rotation: np.ndarray
    translation_m: np.ndarray

    @classmethod
    def identity(cls) -> RigidTransform:
        """Make the transform between a frame and itself."""
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def from_quaternion(cls, rotation_xyzw: ArrayLike, translation_m: ArrayLike) -> RigidTransform:
        """Make a transform from a quaternion, which need not have length 1, and a translation.

        Args:
            rotation_xyzw: (4,) x, y, z and w, not all zero.
            translation_m: (3,) metres.
        """
        quaternion = np.asarray(rotation_xyzw, np.float64)
        x, y, z, w = quaternion / np.linalg.norm(quaternion)
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        return cls(rotation, np.asarray(translation_m, np.float64))

    @property
    def quaternion_xyzw(self) -> np.ndarray:
        """Return the rotation as a (4,) quaternion of length 1, w not negative."""
        return find_quaternion(self.rotation)

    def apply(self, points_m: np.ndarray) -> np.ndarray:
        """Turn (..., 3) points of the source into points of the target, in metres."""
        return np.asarray(points_m @ self.rotation.T + self.translation_m)

    def after(self, first: RigidTransform) -> RigidTransform:
        """Return the transform that applies `first` and then this one."""
        return RigidTransform(self.rotation @ first.rotation, self.apply(first.translation_m))

    def invert(self) -> RigidTransform:
        """Return the transform from the target to the source."""
        return RigidTransform(self.rotation.T, -self.rotation.T @ self.translation_m)


def find_quaternion(rotation: np.ndarray) -> np.ndarray:
    """Return the (4,) quaternion x, y, z, w of a (3, 3) rotation; length 1, w not negative."""
    m = rotation
    # Four times the squares of x, y, z and w; the largest one is divided by.
    squares = np.array(
        [
            1 + m[0, 0] - m[1, 1] - m[2, 2],
            1 - m[0, 0] + m[1, 1] - m[2, 2],
            1 - m[0, 0] - m[1, 1] + m[2, 2],
            1 + m[0, 0] + m[1, 1] + m[2, 2],
        ]
    )
    xy, xz, yz = m[1, 0] + m[0, 1], m[0, 2] + m[2, 0], m[2, 1] + m[1, 2]
    xw, yw, zw = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    # Four times the products of each pair, the squares on the diagonal.
    products = np.array(
        [
            [squares[0], xy, xz, xw],
            [xy, squares[1], yz, yw],
            [xz, yz, squares[2], zw],
            [xw, yw, zw, squares[3]],
        ]
    )
    quaternion = products[int(np.argmax(squares))]
    quaternion = quaternion / np.linalg.norm(quaternion)
    return np.asarray(-quaternion if quaternion[3] < 0 else quaternion)

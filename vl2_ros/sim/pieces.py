"""Primitive parts that make up one object, and how such an object is turned and measured.

Knows no kind and no scene; lengths are metres, z is up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from vl2_ros.sim.meshes import lathe_bank, lathe_index


class Primitive(Enum):
    """Geometry of a part; sizes are MuJoCo's half sizes."""

    SPHERE = "sphere"
    CAPSULE = "capsule"
    ELLIPSOID = "ellipsoid"
    CYLINDER = "cylinder"
    BOX = "box"
    MESH = "mesh"


@dataclass(slots=True, eq=False)
class Part:
    """One geom.

    Attributes:
        primitive: its geometry.
        size: (3,) half sizes in metres; unused for a mesh.
        position: (3,) centre in the frame of the piece.
        rotation: (3, 3) part to piece.
        rgb: (3,) colour in 0..1.
        mesh: index into `lathe_bank()`, -1 for none.
    """

    primitive: Primitive
    size: np.ndarray
    position: np.ndarray
    rotation: np.ndarray
    rgb: np.ndarray
    mesh: int = -1

    def reach(self, direction: np.ndarray) -> float:
        """Return how far the part extends along a unit direction, from the piece's origin."""
        local = self.rotation.T @ direction
        size = self.size
        if self.primitive is Primitive.MESH:
            extent = float(np.max(lathe_bank()[self.mesh].vertices @ local))
        elif self.primitive is Primitive.BOX:
            extent = float(np.abs(local) @ size)
        elif self.primitive is Primitive.CYLINDER:
            extent = float(abs(local[2]) * size[1] + np.hypot(local[0], local[1]) * size[0])
        elif self.primitive is Primitive.CAPSULE:
            extent = float(abs(local[2]) * size[1] + size[0])
        elif self.primitive is Primitive.ELLIPSOID:
            extent = float(np.linalg.norm(local * size))
        else:
            extent = float(size[0])
        return float(self.position @ direction) + extent


@dataclass(slots=True, eq=False)
class Piece:
    """Several parts that move as one, with named points on them.

    Attributes:
        parts: the geoms.
        keypoints: name to (3,) point in the frame of the piece.
    """

    parts: list[Part] = field(default_factory=list)
    keypoints: dict[str, np.ndarray] = field(default_factory=dict)

    def add(
        self,
        primitive: Primitive,
        size: tuple[float, ...],
        position: tuple[float, float, float],
        rgb: np.ndarray,
        rotation: np.ndarray | None = None,
    ) -> None:
        """Add one primitive; missing sizes are zero, the rotation defaults to none."""
        full = np.zeros(3)
        full[: len(size)] = size
        turn = np.eye(3) if rotation is None else rotation
        self.parts.append(Part(primitive, full, np.array(position, float), turn, rgb))

    def add_mesh(self, family: str, variant: int, rgb: np.ndarray) -> None:
        """Add a lathe mesh at the origin."""
        index = lathe_index(family, variant)
        self.parts.append(
            Part(Primitive.MESH, np.zeros(3), np.zeros(3), np.eye(3), rgb, mesh=index)
        )

    def add_limb(self, start: np.ndarray, end: np.ndarray, radius: float, rgb: np.ndarray) -> None:
        """Add a capsule between two points."""
        axis = end - start
        length = float(np.linalg.norm(axis))
        size = np.array([radius, 0.5 * length, 0.0])
        turn = rotation_to(axis / max(length, 1e-9))
        self.parts.append(Part(Primitive.CAPSULE, size, 0.5 * (start + end), turn, rgb))

    def mark(self, name: str, point: tuple[float, float, float] | np.ndarray) -> None:
        """Name a point."""
        self.keypoints[name] = np.array(point, float)

    def transform(self, rotation: np.ndarray, offset: np.ndarray) -> None:
        """Turn about the origin, then shift."""
        for part in self.parts:
            part.position = rotation @ part.position + offset
            part.rotation = rotation @ part.rotation
        self.keypoints = {name: rotation @ point + offset for name, point in self.keypoints.items()}

    def reach(self, direction: np.ndarray) -> float:
        """Return how far the piece extends along a unit direction, from its origin."""
        return max(part.reach(direction) for part in self.parts)

    def settle(self) -> float:
        """Put the piece on z = 0 with its footprint centred; return the footprint radius."""
        angles = np.arange(8) * (np.pi / 4.0)
        around = np.stack([np.cos(angles), np.sin(angles), np.zeros(8)], axis=1)
        reach = np.array([self.reach(direction) for direction in around])
        center_x, center_y = 0.5 * (reach[0] - reach[4]), 0.5 * (reach[2] - reach[6])
        bottom = -self.reach(np.array([0.0, 0.0, -1.0]))
        self.transform(np.eye(3), np.array([-center_x, -center_y, -bottom]))
        return float(np.max(reach - around[:, 0] * center_x - around[:, 1] * center_y))


def rotation_to(axis: np.ndarray) -> np.ndarray:
    """Return a (3, 3) rotation that takes z to a unit axis."""
    helper = np.array([1.0, 0.0, 0.0]) if abs(axis[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    side = np.cross(helper, axis)
    side /= np.linalg.norm(side)
    return np.stack([side, np.cross(axis, side), axis], axis=1)


def rotation_about(axis: int, angle_rad: float) -> np.ndarray:
    """Return a (3, 3) rotation about the coordinate axis 0, 1 or 2."""
    cosine, sine = np.cos(angle_rad), np.sin(angle_rad)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[first, first] = turn[second, second] = cosine
    turn[first, second], turn[second, first] = -sine, sine
    return turn

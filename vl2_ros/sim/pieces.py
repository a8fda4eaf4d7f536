"""Primitive parts that make up one object, its named points, and how it is turned and measured.

Knows no kind and no scene; lengths are metres, z is up.
"""

from __future__ import annotations

from collections.abc import Mapping
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


class Side(Enum):
    """Which of several points of a round or symmetric piece a name means: that farthest there."""

    LEFT = "left in the image"
    RIGHT = "right in the image"
    UPPER = "up in the image"
    LOWER = "down in the image"


@dataclass(slots=True, eq=False)
class Landmark:
    """A named point of a piece.

    Attributes:
        points: (n, 3) in the frame of the piece; more than one where the view decides.
        side: which of them is meant; None for a single one.
        depth_m: how far it lies below the surface that shows it.
    """

    points: np.ndarray
    side: Side | None = None
    depth_m: float = 0.0


@dataclass(slots=True, eq=False)
class Piece:
    """Several parts that move as one, with named points on them.

    Attributes:
        parts: the geoms.
        keypoints: name to point, in the frame of the piece.
    """

    parts: list[Part] = field(default_factory=list)
    keypoints: dict[str, Landmark] = field(default_factory=dict)

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

    def mark(
        self, name: str, point: tuple[float, float, float] | np.ndarray, depth_m: float = 0.0
    ) -> None:
        """Name a point, which may lie below the surface."""
        self.keypoints[name] = Landmark(np.array(point, float)[None], depth_m=depth_m)

    def mark_sides(
        self, names: Mapping[str, Side], points: np.ndarray, depth_m: float = 0.0
    ) -> None:
        """Name those of (n, 3) points that lie farthest to some sides of the image."""
        for name, side in names.items():
            self.keypoints[name] = Landmark(np.array(points, float), side, depth_m)

    def transform(self, rotation: np.ndarray, offset: np.ndarray) -> None:
        """Turn about the origin, then shift."""
        for part in self.parts:
            part.position = rotation @ part.position + offset
            part.rotation = rotation @ part.rotation
        for landmark in self.keypoints.values():
            landmark.points = landmark.points @ rotation.T + offset

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

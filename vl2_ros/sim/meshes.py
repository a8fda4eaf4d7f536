"""Make triangle meshes from lathe profiles, for the round, hollow kinds.

A fixed bank of size variants per family, because MuJoCo cannot rescale a compiled mesh.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

SLICES = 28
VARIANTS = 10
FAMILIES: tuple[str, ...] = (
    "mug_wall",
    "mug_inside",
    "bowl_wall",
    "bowl_inside",
    "plate_wall",
    "bottle_wall",
    "cone_wall",
)

Strip = list[tuple[float, float]]


@dataclass(frozen=True, slots=True, eq=False)
class Lathe:
    """One surface of revolution about z, resting on z = 0.

    Attributes:
        name: unique name, family and variant number.
        vertices: (V, 3) in metres.
        faces: (F, 3) vertex indices, counter-clockwise from outside.
    """

    name: str
    vertices: np.ndarray
    faces: np.ndarray


@dataclass(frozen=True, slots=True)
class LatheSize:
    """Main measures of a variant in metres: outer radius, height, wall thickness."""

    radius: float
    height: float
    wall: float


def _turn(name: str, strips: list[Strip]) -> Lathe:
    """Turn (radius, z) strips about z; strips share no vertex, so that edges stay sharp."""
    angles = np.arange(SLICES) * (2.0 * np.pi / SLICES)
    vertices, faces, first = [], [], 0
    for strip in strips:
        for radius, height in strip:
            radius = max(radius, 1e-4)  # a zero radius would make triangles without an area
            ring = [radius * np.cos(angles), radius * np.sin(angles), np.full(SLICES, height)]
            vertices.append(np.stack(ring, axis=1))
        for level in range(len(strip) - 1):
            low = first + level * SLICES + np.arange(SLICES)
            low_next = first + level * SLICES + (np.arange(SLICES) + 1) % SLICES
            faces.append(np.stack([low, low_next, low_next + SLICES], axis=1))
            faces.append(np.stack([low, low_next + SLICES, low + SLICES], axis=1))
        first += len(strip) * SLICES
    return Lathe(name, np.concatenate(vertices), np.concatenate(faces))


def _mug(size: LatheSize) -> tuple[list[Strip], list[Strip]]:
    inner = size.radius - size.wall
    wall = [
        [(0.0, 0.0), (size.radius * 0.92, 0.0)],
        [(size.radius * 0.92, 0.0), (size.radius, 0.006), (size.radius, size.height)],
        [(size.radius, size.height), (inner, size.height)],
    ]
    inside = [[(inner, size.height), (inner, size.wall)], [(inner, size.wall), (0.0, size.wall)]]
    return wall, inside


def _bowl(size: LatheSize) -> tuple[list[Strip], list[Strip]]:
    foot = size.radius * 0.45
    bend = np.linspace(0.0, 0.5 * np.pi, 6)
    outer = [
        (foot + (size.radius - foot) * float(np.sin(a)), size.height * float(1.0 - np.cos(a)))
        for a in bend
    ]
    inner = [(radius - size.wall, height + size.wall * 0.7) for radius, height in outer[:-1]]
    inner.append((size.radius - size.wall, size.height))
    wall = [[(0.0, 0.0), (foot, 0.0)], outer, [outer[-1], inner[-1]]]
    return wall, [[*inner[::-1], (0.0, inner[0][1])]]


def _plate(size: LatheSize) -> list[Strip]:
    well, rim = size.radius * 0.62, size.radius * 0.68
    low = size.height * 0.35
    return [
        [(0.0, 0.0), (well, 0.0)],
        [(well, 0.0), (size.radius, size.height * 0.85), (size.radius, size.height)],
        [(size.radius, size.height), (rim, size.height * 0.75)],
        [(rim, size.height * 0.75), (well, low)],
        [(well, low), (0.0, low)],
    ]


def _bottle(size: LatheSize) -> list[Strip]:
    neck = max(0.32 * size.radius, 0.008)
    shoulder = size.height * 0.6
    bend = [
        (neck + (size.radius - neck) * 0.5 * (1.0 + float(np.cos(np.pi * t))), t)
        for t in np.linspace(0.0, 1.0, 6)
    ]
    body = [(radius, shoulder + t * size.height * 0.2) for radius, t in bend]
    return [
        [(0.0, 0.0), (size.radius * 0.9, 0.0)],
        [(size.radius * 0.9, 0.0), (size.radius, 0.006), *body, (neck, size.height)],
        [(neck, size.height), (0.0, size.height)],
    ]


def _cone(size: LatheSize) -> list[Strip]:
    return [[(0.0, 0.0), (size.radius, 0.0)], [(size.radius, 0.0), (0.0, size.height)]]


#: family stem -> (radius, height, wall) ranges in metres
_SIZE_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float], float]] = {
    "mug": ((0.032, 0.042), (0.07, 0.1), 0.0045),
    "bowl": ((0.05, 0.072), (0.036, 0.05), 0.005),
    "plate": ((0.066, 0.09), (0.012, 0.017), 0.0),
    "bottle": ((0.024, 0.032), (0.16, 0.205), 0.0),
    "cone": ((0.018, 0.03), (0.04, 0.08), 0.0),
}


@cache
def lathe_size(stem: str, variant: int) -> LatheSize:
    """Return the measures of a variant of mug, bowl, plate, bottle or cone."""
    radius, height, wall = _SIZE_RANGES[stem]
    rng = np.random.default_rng([list(_SIZE_RANGES).index(stem), variant])
    return LatheSize(float(rng.uniform(*radius)), float(rng.uniform(*height)), wall)


@cache
def lathe_bank() -> tuple[Lathe, ...]:
    """Build every variant of every family, `VARIANTS` in a row per family."""
    strips: dict[str, list[list[Strip]]] = {family: [] for family in FAMILIES}
    for variant in range(VARIANTS):
        for stem in ("mug", "bowl"):
            wall, inside = (_mug if stem == "mug" else _bowl)(lathe_size(stem, variant))
            strips[f"{stem}_wall"].append(wall)
            strips[f"{stem}_inside"].append(inside)
        strips["plate_wall"].append(_plate(lathe_size("plate", variant)))
        strips["bottle_wall"].append(_bottle(lathe_size("bottle", variant)))
        strips["cone_wall"].append(_cone(lathe_size("cone", variant)))
    return tuple(
        _turn(f"{family}_{variant}", strips[family][variant])
        for family in FAMILIES
        for variant in range(VARIANTS)
    )


def lathe_index(family: str, variant: int) -> int:
    """Return the index of a mesh in `lathe_bank()`."""
    return FAMILIES.index(family) * VARIANTS + variant

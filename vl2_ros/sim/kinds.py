"""Compose a piece from a kind and a colour, for each of the 12 kinds, with its keypoints.

Every builder draws its size from the generator that it gets and leaves one main colour over most
of the surface; small accents are neutral.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from vl2_ros.sim.colors import CLUTTER_RANGES, COLOR_RANGES
from vl2_ros.sim.figure import build_figure
from vl2_ros.sim.meshes import VARIANTS, lathe_size
from vl2_ros.sim.pieces import Part, Piece, Primitive, Side, rotation_about

CREAM = np.array([0.86, 0.82, 0.7])
METAL = np.array([0.7, 0.72, 0.74])
DARK = np.array([0.13, 0.12, 0.12])
PAPER = np.array([0.93, 0.91, 0.86])
STEM = np.array([0.25, 0.17, 0.09])

SPHERE, CAPSULE, BOX = Primitive.SPHERE, Primitive.CAPSULE, Primitive.BOX
CYLINDER, ELLIPSOID = Primitive.CYLINDER, Primitive.ELLIPSOID
_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
_LEFT_AND_RIGHT = {"left": Side.LEFT, "right": Side.RIGHT}
#: Lines of sight pass an upright wall at a slant: of most cameras at less than 50 degrees.
_SLANT = 1.6
#: Points of a ring that its sides are chosen from.
_RING_POINTS = 32


def _mug(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece, variant = Piece(), int(rng.integers(VARIANTS))
    size = lathe_size("mug", variant)
    piece.add_mesh("mug_wall", variant, rgb)
    piece.add_mesh("mug_inside", variant, rgb * 0.55)
    if rng.random() < 0.5:
        level = size.height * rng.uniform(0.5, 0.85)
        coffee = STEM * rng.uniform(0.5, 1.1)
        piece.add(CYLINDER, (size.radius - size.wall, 0.001), (0.0, 0.0, level), coffee)
    grip, middle = size.height * rng.uniform(0.3, 0.36), size.height * 0.52
    angles = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 7)
    loop = [
        np.array([size.radius - 0.003 + 0.85 * grip * np.cos(a), 0.0, middle + grip * np.sin(a)])
        for a in angles
    ]
    for start, end in zip(loop[:-1], loop[1:], strict=True):
        piece.add_limb(start, end, 0.0055, rgb)
    piece.mark("handle", loop[3])
    _mark_rim(piece, size.radius, size.height, _LEFT_AND_RIGHT)
    piece.mark("base", (0.0, 0.0, 0.0), _SLANT * size.radius)
    return piece


def _bowl(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece, variant = Piece(), int(rng.integers(VARIANTS))
    size = lathe_size("bowl", variant)
    piece.add_mesh("bowl_wall", variant, rgb)
    piece.add_mesh("bowl_inside", variant, rgb * 0.72)
    _mark_rim(piece, size.radius, size.height)
    piece.mark("middle", (0.0, 0.0, 0.7 * size.wall))
    return piece


def _plate(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece, variant = Piece(), int(rng.integers(VARIANTS))
    size = lathe_size("plate", variant)
    piece.add_mesh("plate_wall", variant, rgb)
    _mark_rim(piece, size.radius, size.height)
    piece.mark("middle", (0.0, 0.0, 0.35 * size.height))
    return piece


def _bottle(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece, variant = Piece(), int(rng.integers(VARIANTS))
    size = lathe_size("bottle", variant)
    neck = max(0.32 * size.radius, 0.008)
    piece.add_mesh("bottle_wall", variant, rgb)
    cap = DARK if rng.random() < 0.5 else PAPER
    piece.add(CYLINDER, (neck * 1.35, 0.009), (0.0, 0.0, size.height), cap)
    if rng.random() < 0.5:
        band = (size.radius * 1.015, size.height * rng.uniform(0.05, 0.08))
        piece.add(CYLINDER, band, (0.0, 0.0, size.height * 0.32), CREAM)
    piece.mark("cap", (0.0, 0.0, size.height + 0.009))
    piece.mark("neck", (0.0, 0.0, size.height * 0.85), neck)
    piece.mark("base", (0.0, 0.0, 0.0), _SLANT * size.radius)
    return _maybe_lying(piece, rng, 0.3)


def _can(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece = Piece()
    radius, half = rng.uniform(0.029, 0.036), rng.uniform(0.042, 0.056)
    piece.add(CYLINDER, (radius, half), (0.0, 0.0, half), rgb)
    for height in (0.003, 2.0 * half - 0.003):
        piece.add(CYLINDER, (radius * 1.03, 0.0035), (0.0, 0.0, height), METAL)
    piece.add(CYLINDER, (radius * 0.85, 0.0012), (0.0, 0.0, 2.0 * half), METAL * 0.75)
    piece.add(ELLIPSOID, (0.011, 0.005, 0.002), (0.006, 0.0, 2.0 * half + 0.002), METAL * 0.45)
    band = half * rng.uniform(0.16, 0.26)
    piece.add(CYLINDER, (radius * 1.01, band), (0.0, 0.0, half * rng.uniform(0.8, 1.2)), CREAM)
    piece.mark("top", (0.0, 0.0, 2.0 * half + 0.001))
    piece.mark("base", (0.0, 0.0, 0.0), _SLANT * radius)
    return _maybe_lying(piece, rng, 0.2)


def _box(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece = Piece()
    half = np.array([rng.uniform(0.03, 0.037), rng.uniform(0.02, 0.026), rng.uniform(0.05, 0.064)])
    tape = STEM * 2.2 if rgb.mean() > 0.6 else CREAM
    middle = (0.0, 0.0, float(half[2]))
    piece.add(BOX, tuple(half), middle, rgb)
    piece.add(BOX, (0.009, half[1] + 0.0008, half[2] + 0.0008), middle, tape)
    _maybe_lying(piece, rng, 0.35, axis=0)
    _mark_upper_face(piece, piece.parts[0])
    return piece


def _ball(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece, radius = Piece(), rng.uniform(0.024, 0.04)
    piece.add(SPHERE, (radius,), (0.0, 0.0, radius), rgb)
    piece.mark("middle", (0.0, 0.0, radius), radius)
    return piece


def _book(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece = Piece()
    long, wide, thick = rng.uniform(0.07, 0.088), rng.uniform(0.05, 0.062), rng.uniform(0.01, 0.016)
    cover = 0.0022
    piece.add(BOX, (long - 0.004, wide - 0.003, thick - cover), (0.0, 0.0, thick), PAPER)
    for height in (cover, 2.0 * thick - cover):
        piece.add(BOX, (long, wide, cover), (0.0, 0.0, height), rgb)
    piece.add(BOX, (long, cover, thick), (0.0, -wide, thick), rgb)
    stripe = DARK if rgb.mean() > 0.6 else CREAM
    shift = long * rng.uniform(0.35, 0.6)
    piece.add(BOX, (0.007, wide * 0.75, cover), (shift, 0.0, 2.0 * thick - cover + 0.0006), stripe)
    _mark_upper_face(piece, piece.parts[2])
    piece.mark("spine", (0.0, -wide, thick))
    return piece


def _banana(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece = Piece()
    bend, span, thick = rng.uniform(0.055, 0.07), rng.uniform(1.7, 2.2), rng.uniform(0.013, 0.016)
    angles = np.linspace(-0.5 * span, 0.5 * span, 8)
    arc = [np.array([bend * np.cos(a), bend * np.sin(a), 0.0]) for a in angles]
    radii = thick * np.array([0.62, 0.9, 1.0, 1.0, 1.0, 0.9, 0.62])
    for start, end, radius in zip(arc[:-1], arc[1:], radii, strict=True):
        piece.add_limb(start, end, float(radius), rgb)
    for name, tip, before in (("stem", arc[0], arc[1]), ("tip", arc[-1], arc[-2])):
        outward = (tip - before) / np.linalg.norm(tip - before)
        length = 0.02 if name == "stem" else 0.01
        piece.add_limb(tip, tip + length * outward, 0.0055, STEM)
        piece.mark(name, tip + length * outward)
    piece.mark("middle", 0.5 * (arc[3] + arc[4]), thick)
    return piece


def _cube(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece, half = Piece(), rng.uniform(0.021, 0.032)
    piece.add(BOX, (half, half, half), (0.0, 0.0, half), rgb)
    _mark_upper_face(piece, piece.parts[0])
    return piece


def _cylinder(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece = Piece()
    radius, half = rng.uniform(0.014, 0.02), rng.uniform(0.05, 0.075)
    piece.add(CYLINDER, (radius, half), (0.0, 0.0, half), rgb)
    ends = np.array([(0.0, 0.0, 0.0), (0.0, 0.0, 2.0 * half)])
    piece.mark_sides({"upper end": Side.UPPER, "lower end": Side.LOWER}, ends, _SLANT * radius)
    return _maybe_lying(piece, rng, 0.5)


def _figure(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    return _maybe_lying(build_figure(rng, rgb, DARK), rng, 0.5, axis=1)


def _mark_rim(
    piece: Piece, radius: float, height: float, sides: Mapping[str, Side] | None = None
) -> None:
    """Name the sides of a rim; the far one is the upper one in the image."""
    sides = sides or {**_LEFT_AND_RIGHT, "near": Side.LOWER, "far": Side.UPPER}
    angles = np.arange(_RING_POINTS) * (2.0 * np.pi / _RING_POINTS)
    ring = [radius * np.cos(angles), radius * np.sin(angles), np.full(_RING_POINTS, height)]
    piece.mark_sides({f"{name} rim": side for name, side in sides.items()}, np.stack(ring, axis=1))


def _mark_upper_face(piece: Piece, box: Part) -> None:
    """Name the middle and the outer corners of the face of a box that is up as it lies now."""
    corners = (_CORNERS * box.size) @ box.rotation.T + box.position
    upper = corners[np.argsort(corners[:, 2])[4:]]
    piece.mark("top", upper.mean(axis=0))
    piece.mark_sides({f"{name} corner": side for name, side in _LEFT_AND_RIGHT.items()}, upper)


def _maybe_lying(
    piece: Piece, rng: np.random.Generator, probability: float, axis: int = 0
) -> Piece:
    """Lay the piece down about x or y; a lying humanoid lies on its back (axis 1)."""
    if rng.random() < probability:
        piece.transform(rotation_about(axis, -0.5 * np.pi), np.zeros(3))
    return piece


Builder = Callable[[np.random.Generator, np.ndarray], Piece]
_BUILDERS: dict[str, Builder] = {
    "mug": _mug,
    "bowl": _bowl,
    "bottle": _bottle,
    "can": _can,
    "box": _box,
    "ball": _ball,
    "plate": _plate,
    "book": _book,
    "banana": _banana,
    "cube": _cube,
    "cylinder": _cylinder,
    "figure": _figure,
}
KINDS: tuple[str, ...] = tuple(_BUILDERS)


def build_piece(kind: str, color: str, rng: np.random.Generator) -> Piece:
    """Compose a random piece of a kind in KINDS with a jittered colour of COLORS."""
    return _BUILDERS[kind](rng, COLOR_RANGES[color].sample(rng))


@cache
def list_keypoints(kind: str) -> tuple[str, ...]:
    """Return the names of the keypoints of a kind in KINDS."""
    return tuple(build_piece(kind, "red", np.random.default_rng(0)).keypoints)


def build_clutter(rng: np.random.Generator) -> Piece:
    """Compose an unlabelled piece: a cone, an egg or a thin rod in grey or brown."""
    rgb = CLUTTER_RANGES[int(rng.integers(len(CLUTTER_RANGES)))].sample(rng)
    piece, shape = Piece(), int(rng.integers(3))
    if shape == 0:
        piece.add_mesh("cone_wall", int(rng.integers(VARIANTS)), rgb)
    elif shape == 1:
        size = (rng.uniform(0.014, 0.022), rng.uniform(0.022, 0.036), rng.uniform(0.01, 0.02))
        piece.add(ELLIPSOID, size, (0.0, 0.0, 0.0), rgb)
    else:
        rod = (rng.uniform(0.003, 0.006), rng.uniform(0.04, 0.07))
        piece.add(CAPSULE, rod, (0.0, 0.0, 0.0), rgb, rotation_about(0, 0.5 * np.pi))
    return piece

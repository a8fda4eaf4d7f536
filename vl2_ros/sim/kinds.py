"""Compose a piece from a kind and a colour, for each of the 12 kinds, with its keypoints.

Every builder draws its size from the generator that it gets and leaves one main colour over most
of the surface; small accents are neutral.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vl2_ros.sim.colors import CLUTTER_RANGES, COLOR_RANGES
from vl2_ros.sim.meshes import VARIANTS, lathe_size
from vl2_ros.sim.pieces import Piece, Primitive, rotation_about

CREAM = np.array([0.86, 0.82, 0.7])
METAL = np.array([0.7, 0.72, 0.74])
DARK = np.array([0.13, 0.12, 0.12])
PAPER = np.array([0.93, 0.91, 0.86])
SKIN = np.array([0.8, 0.62, 0.5])
STEM = np.array([0.25, 0.17, 0.09])

SPHERE, CAPSULE, BOX = Primitive.SPHERE, Primitive.CAPSULE, Primitive.BOX
CYLINDER, ELLIPSOID = Primitive.CYLINDER, Primitive.ELLIPSOID


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
    piece.mark("rim_front", (-size.radius, 0.0, size.height))
    piece.mark("rim_back", (size.radius, 0.0, size.height))
    piece.mark("base", (-size.radius, 0.0, 0.006))
    return piece


def _bowl(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece, variant = Piece(), int(rng.integers(VARIANTS))
    size = lathe_size("bowl", variant)
    piece.add_mesh("bowl_wall", variant, rgb)
    piece.add_mesh("bowl_inside", variant, rgb * 0.72)
    for name, x, y in (("rim_0", 1, 0), ("rim_1", 0, 1), ("rim_2", -1, 0), ("rim_3", 0, -1)):
        piece.mark(name, (x * size.radius, y * size.radius, size.height))
    piece.mark("center", (0.0, 0.0, 0.7 * size.wall))
    return piece


def _plate(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece, variant = Piece(), int(rng.integers(VARIANTS))
    size = lathe_size("plate", variant)
    piece.add_mesh("plate_wall", variant, rgb)
    for name, x, y in (("rim_0", 1, 0), ("rim_1", 0, 1), ("rim_2", -1, 0), ("rim_3", 0, -1)):
        piece.mark(name, (x * size.radius, y * size.radius, size.height))
    piece.mark("center", (0.0, 0.0, 0.35 * size.height))
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
    piece.mark("neck", (0.0, 0.0, size.height * 0.85))
    piece.mark("base", (0.0, 0.0, 0.0))
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
    piece.mark("side", (radius, 0.0, half))
    piece.mark("base", (0.0, 0.0, 0.0))
    return _maybe_lying(piece, rng, 0.2)


def _box(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece = Piece()
    half = np.array([rng.uniform(0.03, 0.037), rng.uniform(0.02, 0.026), rng.uniform(0.05, 0.064)])
    tape = STEM * 2.2 if rgb.mean() > 0.6 else CREAM
    middle = (0.0, 0.0, float(half[2]))
    piece.add(BOX, tuple(half), middle, rgb)
    piece.add(BOX, (0.009, half[1] + 0.0008, half[2] + 0.0008), middle, tape)
    for name, x, y in (("top_0", 1, 1), ("top_1", -1, 1), ("top_2", -1, -1), ("top_3", 1, -1)):
        piece.mark(name, (x * half[0], y * half[1], 2.0 * half[2]))
    piece.mark("top", (0.0, 0.0, 2.0 * half[2]))
    return _maybe_lying(piece, rng, 0.35, axis=0)


def _ball(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece, radius = Piece(), rng.uniform(0.024, 0.04)
    piece.add(SPHERE, (radius,), (0.0, 0.0, radius), rgb)
    piece.mark("top", (0.0, 0.0, 2.0 * radius))
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
    for name, x, y in (("corner_0", 1, 1), ("corner_1", -1, 1), ("corner_2", -1, -1)):
        piece.mark(name, (x * long, y * wide, 2.0 * thick))
    piece.mark("corner_3", (long, -wide, 2.0 * thick))
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
    piece.mark("middle", arc[3] + np.array([0.0, 0.0, thick]))
    return piece


def _cube(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece, half = Piece(), rng.uniform(0.021, 0.032)
    piece.add(BOX, (half, half, half), (0.0, 0.0, half), rgb)
    for name, x, y in (("top_0", 1, 1), ("top_1", -1, 1), ("top_2", -1, -1), ("top_3", 1, -1)):
        piece.mark(name, (x * half, y * half, 2.0 * half))
    return piece


def _cylinder(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece = Piece()
    radius, half = rng.uniform(0.014, 0.02), rng.uniform(0.05, 0.075)
    piece.add(CYLINDER, (radius, half), (0.0, 0.0, half), rgb)
    piece.mark("top", (0.0, 0.0, 2.0 * half))
    piece.mark("base", (0.0, 0.0, 0.0))
    return _maybe_lying(piece, rng, 0.5)


def _figure(rng: np.random.Generator, rgb: np.ndarray) -> Piece:
    piece, tall = Piece(), rng.uniform(0.15, 0.19)
    points = {"head": np.array([0.0, 0.0, 0.9]), "neck": np.array([0.0, 0.0, 0.79])}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        raised, bent = rng.uniform(-1.1, 1.1), rng.uniform(-0.7, 0.7)
        shoulder = np.array([0.0, 0.13 * sign, 0.75])
        elbow = shoulder + 0.17 * np.array([0.0, sign * np.cos(raised), np.sin(raised)])
        turn = raised + bent
        hand = elbow + 0.17 * np.array([0.0, sign * np.cos(turn), np.sin(turn)])
        hip, step = np.array([0.0, 0.075 * sign, 0.44]), rng.uniform(0.0, 0.09)
        knee = hip + np.array([0.0, sign * 0.5 * step, -0.2])
        foot = knee + np.array([0.0, sign * 0.5 * step, -0.2])
        named = (shoulder, elbow, hand, hip, knee, foot)
        joints = ("shoulder", "elbow", "hand", "hip", "knee", "foot")
        points |= {f"{side}_{joint}": point for joint, point in zip(joints, named, strict=True)}
    points = {name: tall * point for name, point in points.items()}
    for side in ("left", "right"):
        for start, end in (("shoulder", "elbow"), ("elbow", "hand")):
            piece.add_limb(points[f"{side}_{start}"], points[f"{side}_{end}"], 0.037 * tall, rgb)
        for start, end in (("hip", "knee"), ("knee", "foot")):
            piece.add_limb(points[f"{side}_{start}"], points[f"{side}_{end}"], 0.05 * tall, rgb)
        piece.add(SPHERE, (0.045 * tall,), tuple(points[f"{side}_hand"]), SKIN)
        foot = points[f"{side}_foot"] + tall * np.array([0.03, 0.0, -0.015])
        piece.add(BOX, (0.085 * tall, 0.05 * tall, 0.035 * tall), tuple(foot), DARK)
    piece.add(BOX, (0.055 * tall, 0.12 * tall, 0.17 * tall), (0.0, 0.0, 0.6 * tall), rgb)
    piece.add(SPHERE, (0.1 * tall,), tuple(points["head"]), SKIN)
    for name, point in points.items():
        piece.mark(name, point)
    return _maybe_lying(piece, rng, 0.5, axis=1)


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

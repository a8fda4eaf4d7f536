"""Compose the figure: a small person with limbs, a face that shows its front, and named joints.

The names are COCO's for people, with head and neck. All lengths are shares of its height, and the
face stays within the reach of head and feet, so that it lies where a plain head would.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from vl2_ros.sim.pieces import Piece, Primitive

SKIN = np.array([0.8, 0.62, 0.5])

_JOINTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_SIDES = {"left": 1.0, "right": -1.0}
_HEAD = np.array([0.0, 0.0, 0.9])
#: A sphere of skin in front of the hair, which is the head's.
_FACE, _FACE_RADIUS = _HEAD + np.array([0.022, 0.0, -0.008]), 0.085
_HAIR = np.array([0.2, 0.13, 0.09])
#: How deep joints lie in limbs and head; what else there is lies on the surface.
_DEPTHS = {**dict.fromkeys((*_JOINTS, "neck"), 0.06), "head": 0.1}


def build_figure(rng: np.random.Generator, rgb: np.ndarray, shoes: np.ndarray) -> Piece:
    """Compose a figure that stands on its feet and looks along x.

    Args:
        rng: source of its height and of how arms and legs are bent.
        rgb: (3,) colour of body and limbs in 0..1.
        shoes: (3,) colour of its feet.
    """
    piece, tall = Piece(), rng.uniform(0.15, 0.19)
    points = _place_face() | _place_limbs(rng)
    points |= {"head": _HEAD, "neck": np.array([0.0, 0.0, 0.79])}
    points = {name: tall * point for name, point in points.items()}
    for side in _SIDES:
        limbs = {joint: points[f"{side} {joint}"] for joint in _JOINTS}
        for start, end in pairwise(_JOINTS[:3]):
            piece.add_limb(limbs[start], limbs[end], 0.037 * tall, rgb)
        for start, end in pairwise(_JOINTS[3:]):
            piece.add_limb(limbs[start], limbs[end], 0.05 * tall, rgb)
        _add_ball(piece, limbs["wrist"], 0.045 * tall, SKIN)
        foot = limbs["ankle"] + tall * np.array([0.03, 0.0, -0.015])
        size = (0.085 * tall, 0.05 * tall, 0.035 * tall)
        piece.add(Primitive.BOX, size, tuple(foot), shoes)
    body = (0.055 * tall, 0.12 * tall, 0.17 * tall)
    piece.add(Primitive.BOX, body, (0.0, 0.0, 0.6 * tall), rgb)
    _add_head(piece, points, tall)
    for name, point in points.items():
        piece.mark(name, point, _DEPTHS.get(name.rpartition(" ")[2], 0.0) * tall)
    return piece


def _place_face() -> dict[str, np.ndarray]:
    """Return nose, eyes and ears in COCO's order."""
    points = {"nose": np.array([0.1, 0.0, 0.89])}
    for side, sign in _SIDES.items():
        ahead = np.array([0.864, 0.459 * sign, 0.208])
        points[f"{side} eye"] = _FACE + _FACE_RADIUS * ahead
    for side, sign in _SIDES.items():
        points[f"{side} ear"] = _HEAD + np.array([0.01, 0.1 * sign, -0.005])
    return points


def _place_limbs(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the joints of arms and legs, bent at random, in COCO's order."""
    limbs = {}
    for side, sign in _SIDES.items():
        raised, bent = rng.uniform(-1.1, 1.1), rng.uniform(-0.7, 0.7)
        shoulder = np.array([0.0, 0.13 * sign, 0.75])
        elbow = shoulder + 0.17 * np.array([0.0, sign * np.cos(raised), np.sin(raised)])
        turn = raised + bent
        wrist = elbow + 0.17 * np.array([0.0, sign * np.cos(turn), np.sin(turn)])
        hip, step = np.array([0.0, 0.075 * sign, 0.44]), rng.uniform(0.0, 0.09)
        knee = hip + np.array([0.0, sign * 0.5 * step, -0.2])
        ankle = knee + np.array([0.0, sign * 0.5 * step, -0.2])
        limbs[side] = dict(zip(_JOINTS, (shoulder, elbow, wrist, hip, knee, ankle), strict=True))
    return {f"{side} {joint}": limbs[side][joint] for joint in _JOINTS for side in _SIDES}


def _add_head(piece: Piece, points: dict[str, np.ndarray], tall: float) -> None:
    _add_ball(piece, points["head"], 0.1 * tall, _HAIR)
    _add_ball(piece, tall * _FACE, _FACE_RADIUS * tall, SKIN)
    _add_ball(piece, points["nose"], 0.015 * tall, SKIN * 0.8)
    for side in _SIDES:
        _add_ball(piece, points[f"{side} eye"], 0.014 * tall, _HAIR * 0.5)
        _add_ball(piece, points[f"{side} ear"], 0.02 * tall, SKIN)


def _add_ball(piece: Piece, center: np.ndarray, radius: float, rgb: np.ndarray) -> None:
    piece.add(Primitive.SPHERE, (radius,), tuple(center), rgb)

"""Sample a scene from a seed: pieces and their positions, table, lights and camera.

Pure numpy; every random choice comes from one generator per seed, so that a scene depends on its
seed alone. The world has z up and the middle of the table top at its origin; metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.sim.colors import COLORS, sample_surface
from vl2_ros.sim.kinds import KINDS, build_clutter, build_piece
from vl2_ros.sim.pieces import Piece, rotation_about

TEXTURE_SIDE = 128
MAX_OBJECTS = 9
MAX_CLUTTER = 4
PLACE_TRIES = 60
GAP_M = 0.004


@dataclass(frozen=True, slots=True, eq=False)
class PlacedPiece:
    """A piece in world coordinates; `kind` and `color` are empty for clutter."""

    piece: Piece
    kind: str
    color: str

    @property
    def is_labelled(self) -> bool:
        """Return whether the piece is an object rather than clutter."""
        return bool(self.kind)


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """One lamp.

    Attributes:
        position: (3,) metres.
        direction: (3,) unit vector of the rays.
        diffuse: (3,) RGB in 0..1.
    """

    position: np.ndarray
    direction: np.ndarray
    diffuse: np.ndarray


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """A camera on a sphere about the point that it looks at; angles in radians."""

    target: tuple[float, float, float]
    distance_m: float
    azimuth_rad: float
    elevation_rad: float
    fovy_rad: float

    def world_from_camera(self) -> np.ndarray:
        """Return the (4, 4) pose of the optical frame (x right, y down, z forward)."""
        outward = np.array(
            [
                np.cos(self.elevation_rad) * np.cos(self.azimuth_rad),
                np.cos(self.elevation_rad) * np.sin(self.azimuth_rad),
                np.sin(self.elevation_rad),
            ]
        )
        right = np.array([-np.sin(self.azimuth_rad), np.cos(self.azimuth_rad), 0.0])
        pose = np.eye(4)
        pose[:3, 0] = right
        pose[:3, 1] = np.cross(-outward, right)
        pose[:3, 2] = -outward
        pose[:3, 3] = np.array(self.target) + self.distance_m * outward
        return pose


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Everything that an image depends on.

    Attributes:
        pieces: labelled objects first, then clutter.
        table_half: (3,) half sizes of the table top slab in metres.
        table_texture: (S, S, 3) uint8.
        floor_texture: (S, S, 3) uint8.
        floor_z: height of the floor in metres, below the table.
        ambient: (3,) light without a direction, RGB in 0..1.
        camera_light: (3,) light from the camera without shadows, RGB in 0..1.
        lights: two lamps, both cast shadows.
        viewpoint: where the camera is.
    """

    pieces: tuple[PlacedPiece, ...]
    table_half: np.ndarray
    table_texture: np.ndarray
    floor_texture: np.ndarray
    floor_z: float
    ambient: np.ndarray
    camera_light: np.ndarray
    lights: tuple[Light, Light]
    viewpoint: Viewpoint


def sample_scene(seed: int) -> Scene:
    """Draw the scene of a seed.

    Raises:
        InputError: if the seed is negative.
    """
    if seed < 0:
        raise InputError(f"a scene seed must be 0 or more, got {seed}")
    rng = np.random.default_rng(seed)
    table_half = np.array([rng.uniform(0.28, 0.42), rng.uniform(0.24, 0.36), 0.015])
    viewpoint = _sample_viewpoint(rng)
    pieces = _place_pieces(rng, table_half, spread=_visible_spread(viewpoint))
    key = rng.uniform(0.35, 0.62)
    fill = rng.uniform(0.1, 0.22)
    return Scene(
        pieces=pieces,
        table_half=table_half,
        table_texture=_sample_texture(rng),
        floor_texture=_sample_texture(rng),
        floor_z=-float(rng.uniform(0.35, 0.8)),
        ambient=_tint(rng) * rng.uniform(0.26, 0.42),
        camera_light=np.full(3, rng.uniform(0.1, 0.25)),
        lights=(_sample_light(rng, key), _sample_light(rng, fill)),
        viewpoint=viewpoint,
    )


def _sample_viewpoint(rng: np.random.Generator) -> Viewpoint:
    return Viewpoint(
        target=(rng.uniform(-0.04, 0.04), rng.uniform(-0.04, 0.04), rng.uniform(0.0, 0.04)),
        distance_m=rng.uniform(0.5, 0.85),
        azimuth_rad=rng.uniform(0.0, 2.0 * np.pi),
        elevation_rad=np.deg2rad(rng.uniform(28.0, 70.0)),
        fovy_rad=np.deg2rad(rng.uniform(31.0, 47.0)),
    )


def _visible_spread(viewpoint: Viewpoint) -> float:
    """Return how far from the middle a piece may lie to be in most images of a 4:3 camera."""
    half_width = viewpoint.distance_m * np.tan(0.5 * viewpoint.fovy_rad) * 4.0 / 3.0
    return float(np.clip(0.8 * half_width, 0.14, 0.26))


def _place_pieces(
    rng: np.random.Generator, table_half: np.ndarray, spread: float
) -> tuple[PlacedPiece, ...]:
    """Drop pieces where their footprint circle is free; a piece without room is skipped."""
    object_count = int(rng.integers(2, MAX_OBJECTS + 1))
    clutter_count = int(rng.integers(0, MAX_CLUTTER + 1))
    circles: list[tuple[float, float, float]] = []
    placed: list[PlacedPiece] = []
    for index in range(object_count + clutter_count):
        kind = color = ""
        if index < object_count:
            kind, color = str(rng.choice(KINDS)), str(rng.choice(COLORS))
            piece = build_piece(kind, color, rng)
        else:
            piece = build_clutter(rng)
        radius = piece.settle()
        spot = _find_spot(rng, radius, circles, table_half, spread)
        if spot is None:
            continue
        circles.append((*spot, radius))
        turn = rotation_about(2, rng.uniform(0.0, 2.0 * np.pi))
        piece.transform(turn, np.array([*spot, 0.0]))
        placed.append(PlacedPiece(piece, kind, color))
    return tuple(placed)


def _find_spot(
    rng: np.random.Generator,
    radius: float,
    circles: list[tuple[float, float, float]],
    table_half: np.ndarray,
    spread: float,
) -> tuple[float, float] | None:
    room = np.minimum(table_half[:2] - radius, spread)
    for _ in range(PLACE_TRIES):
        x, y = (float(value) for value in rng.uniform(-room, room))
        if all(np.hypot(x - cx, y - cy) > radius + r + GAP_M for cx, cy, r in circles):
            return x, y
    return None


def _sample_light(rng: np.random.Generator, strength: float) -> Light:
    azimuth, elevation = rng.uniform(0.0, 2.0 * np.pi), np.deg2rad(rng.uniform(40.0, 80.0))
    outward = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    return Light(position=1.5 * outward, direction=-outward, diffuse=_tint(rng) * strength)


def _tint(rng: np.random.Generator) -> np.ndarray:
    """Return a nearly white light colour; a stronger tint would move orange to red."""
    return 1.0 - rng.uniform(0.0, 0.07, 3)


def _sample_texture(rng: np.random.Generator) -> np.ndarray:
    """Draw a plain, checked, graded, striped or mottled surface as (S, S, 3) uint8."""
    first, second = sample_surface(rng), sample_surface(rng)
    style = int(rng.integers(5))
    grid = (np.arange(TEXTURE_SIDE) + 0.5) / TEXTURE_SIDE
    if style == 0:
        weight = np.zeros((TEXTURE_SIDE, TEXTURE_SIDE))
    elif style == 1:
        cells = np.floor(grid * rng.integers(3, 12)).astype(int)
        weight = ((cells[:, None] + cells[None, :]) % 2).astype(float)
    elif style == 2:
        angle = rng.uniform(0.0, 2.0 * np.pi)
        ramp = np.cos(angle) * grid[:, None] + np.sin(angle) * grid[None, :]
        weight = (ramp - ramp.min()) / (ramp.max() - ramp.min())
    elif style == 3:
        waves = np.sin(grid * rng.uniform(20.0, 90.0) + 2.0 * np.sin(grid * rng.uniform(3.0, 12.0)))
        weight = np.repeat(0.5 + 0.5 * waves[None, :], TEXTURE_SIDE, axis=0)
    else:
        weight = _mottle(rng)
    contrast = rng.uniform(0.15, 0.8)
    mixed = first + contrast * weight[..., None] * (second - first)
    mixed = mixed + rng.normal(0.0, rng.uniform(0.0, 0.04), (TEXTURE_SIDE, TEXTURE_SIDE, 1))
    return (np.clip(mixed, 0.0, 1.0) * 255.0).astype(np.uint8)


def _mottle(rng: np.random.Generator) -> np.ndarray:
    """Add noise of three grain sizes, scaled to 0..1."""
    total = np.zeros((TEXTURE_SIDE, TEXTURE_SIDE))
    for cell in (4, 8, 32):
        coarse = rng.random((TEXTURE_SIDE // cell, TEXTURE_SIDE // cell))
        total += np.kron(coarse, np.ones((cell, cell))) * cell
    return (total - total.min()) / (total.max() - total.min())

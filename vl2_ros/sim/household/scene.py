"""Sample a scene of a pool from a seed: spots, colours, surfaces, light and camera.

A furnished room is seen by SCENE_VIEWS consecutive seeds, each with a light and a camera of its
own. Pure numpy; every choice comes from one generator per room or per seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vl2_ros.sim.colors import COLOR_RANGES, COLORS
from vl2_ros.sim.household.kinds import HOUSEHOLD_KINDS, KINDS, Room
from vl2_ros.sim.household.layout import FLOOR, Layout, Spot, rectangle, turn
from vl2_ros.sim.household.pool import Pool, PooledModel, color_choice
from vl2_ros.sim.household.surfaces import (
    paint_backdrop,
    paint_floor,
    paint_ground,
    paint_wall,
    shade_floor,
)

#: Consecutive seeds that see one furnished room.
SCENE_VIEWS = 2
YARD_HALF_M = 16.0
_CAMERA_TRIES = 40
#: Cameras of which the one that sees the most objects is taken.
_FULLEST_OF = 4
_NAMED_SHARE = 0.7
#: Shares of rooms and yards whose lamp or sun casts hard shadows.
_SHADOW_SHARE, _SUN_SHARE = 0.6, 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A textured rectangle, seen from the side of its normal.

    Attributes:
        position: (3,) of its middle.
        rotation: (3, 3); columns are its right, its up and its normal.
        half: (2,) half sizes along right and up.
        texture: (H, W, 3) uint8.
        repeat: how often the texture is repeated along both.
        glow: light of its own, in 0..1.
    """

    position: np.ndarray
    rotation: np.ndarray
    half: np.ndarray
    texture: np.ndarray
    repeat: float = 1.0
    glow: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class PlacedModel:
    """A model in the world.

    Attributes:
        spot: where.
        model: what.
        rgbs: (P, 3) colour of each part in 0..1, which multiplies a texture.
        color: a word of COLORS where most of it has that colour, else empty.
    """

    spot: Spot
    model: PooledModel
    rgbs: np.ndarray
    color: str

    @property
    def is_labelled(self) -> bool:
        """Return whether its kind has a name that is asked for."""
        return self.model.kind in HOUSEHOLD_KINDS

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Map (N, 3) points of the unscaled model into the world."""
        turned = points * self.model.scale @ self.rotation().T
        return turned + self.spot.position

    def rotation(self) -> np.ndarray:
        """Return the (3, 3) rotation of the model."""
        matrix = np.eye(3)
        matrix[:2, :2] = turn(self.spot.yaw)
        return matrix


@dataclass(frozen=True, slots=True, eq=False)
class FurnishedRoom:
    """What all views of a room share.

    Attributes:
        placed: models.
        surfaces: floor, four walls and a ceiling, or ground and backdrops.
        half: (2,) half sizes in metres.
        height: metres.
        is_yard: whether it lies under the sky.
    """

    placed: tuple[PlacedModel, ...]
    surfaces: tuple[Surface, ...]
    half: np.ndarray
    height: float
    is_yard: bool


@dataclass(frozen=True, slots=True, eq=False)
class HouseholdScene:
    """Everything that an image depends on.

    Attributes:
        placed: models.
        surfaces: floor, four walls and a ceiling, or ground and backdrops.
        casts_shadows: whether the lamp does.
        is_room: whether the lamp hangs in a room rather than being the sun.
        lamp_position: (3,) of the lamp.
        lamp_direction: (3,) unit vector of the middle of its rays.
        lamp: (3,) its RGB.
        fill_direction: (3,) unit vector of rays without shadows.
        fill: (3,) their RGB.
        ambient: (3,) RGB of light without a direction.
        world_from_camera: (4, 4) pose of the optical frame (x right, y down, z forward).
        fovy_rad: vertical field of view.
    """

    placed: tuple[PlacedModel, ...]
    surfaces: tuple[Surface, ...]
    casts_shadows: bool
    is_room: bool
    lamp_position: np.ndarray
    lamp_direction: np.ndarray
    lamp: np.ndarray
    fill_direction: np.ndarray
    fill: np.ndarray
    ambient: np.ndarray
    world_from_camera: np.ndarray
    fovy_rad: float


def sample_household(seed: int, pool: Pool) -> HouseholdScene:
    """Draw the scene of a seed from the pool of its block."""
    return sample_view(seed, sample_room(seed // SCENE_VIEWS, pool))


def sample_room(number: int, pool: Pool) -> FurnishedRoom:
    """Furnish a room with models of a pool, by the number that its views share."""
    rng = np.random.default_rng([3, number])
    is_yard = pool.room is Room.YARD
    half = np.full(2, YARD_HALF_M) if is_yard else rng.uniform(1.3, 3.0, 2)
    height = 30.0 if is_yard else float(rng.uniform(2.3, 3.0))
    layout = Layout(pool, half, rng)
    layout.fill()
    placed = tuple(_dress(rng, spot, pool.models[spot.model]) for spot in layout.spots)
    corners = [layout.corners(spot) for spot in layout.spots if spot.base == FLOOR]
    surfaces = _build_surfaces(rng, half, height, corners, is_yard)
    return FurnishedRoom(placed, surfaces, half, height, is_yard)


def sample_view(seed: int, room: FurnishedRoom) -> HouseholdScene:
    """Draw light and camera of a seed."""
    rng = np.random.default_rng([4, seed])
    tint = 1.0 + np.array([1.0, 0.2, -1.0]) * rng.normal(0.0, 0.06)
    brightness = rng.uniform(0.85, 1.15)
    sun = _sample_direction(rng, 48.0, 80.0)
    lamp = np.array([*rng.uniform(-0.7, 0.7, 2) * room.half, room.height - 0.1])
    fovy = float(np.deg2rad(rng.uniform(34.0, 62.0)))
    return HouseholdScene(
        placed=room.placed,
        surfaces=room.surfaces,
        casts_shadows=bool(rng.random() < (_SUN_SHARE if room.is_yard else _SHADOW_SHARE)),
        is_room=not room.is_yard,
        lamp_position=-8.0 * sun if room.is_yard else lamp,
        lamp_direction=sun if room.is_yard else np.array([0.0, 0.0, -1.0]),
        lamp=tint * brightness * rng.uniform(0.35, 0.65),
        fill_direction=_sample_direction(rng, 5.0, 60.0),
        fill=np.full(3, brightness * rng.uniform(0.12, 0.3)),
        ambient=(2.0 - tint) * brightness * rng.uniform(0.38, 0.58),
        world_from_camera=_sample_camera(rng, room.placed, room.half, fovy, room.is_yard),
        fovy_rad=fovy,
    )


def _sample_direction(rng: np.random.Generator, low_deg: float, high_deg: float) -> np.ndarray:
    azimuth = rng.uniform(0.0, 2.0 * np.pi)
    elevation = np.deg2rad(rng.uniform(low_deg, high_deg))
    flat = np.cos(elevation)
    return -np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])


def _dress(rng: np.random.Generator, spot: Spot, model: PooledModel) -> PlacedModel:
    """Choose the colours of a model's parts, one of which may get a colour with a name."""
    rgbs = np.array([part.surface.rgb for part in model.furniture.parts])
    part, color = color_choice(model), ""
    if part is not None:
        share = model.furniture.areas[part]
        if rng.random() < KINDS[model.kind].recolor:
            name = COLORS[int(rng.integers(len(COLORS)))]
            rgbs[part] = COLOR_RANGES[name].sample(rng)
            color = name if share >= _NAMED_SHARE else ""
    return PlacedModel(spot, model, rgbs, color)


def _build_surfaces(
    rng: np.random.Generator,
    half: np.ndarray,
    height: float,
    corners: list[np.ndarray],
    is_yard: bool,
) -> tuple[Surface, ...]:
    if is_yard:
        ground = Surface(np.zeros(3), np.eye(3), half, paint_ground(rng), rng.uniform(4.0, 12.0))
        walls = [paint_backdrop(rng) for _ in range(4)]
    else:
        texture = shade_floor(paint_floor(rng), corners, half, rng.uniform(0.2, 0.55))
        ground = Surface(np.zeros(3), np.eye(3), half, texture)
        first = paint_wall(rng)
        walls = [first if rng.random() < 0.3 else paint_wall(rng) for _ in range(4)]
    surfaces = [ground]
    for index, texture in enumerate(walls):
        outward = turn(0.5 * np.pi * index) @ np.array([0.0, 1.0])
        deep, wide = (half[1], half[0]) if index % 2 == 0 else (half[0], half[1])
        up = np.array([0.0, 0.0, 1.0])
        normal = -np.array([*outward, 0.0])
        rotation = np.stack([np.cross(up, normal), up, normal], axis=1)
        position = np.array([*(outward * deep), 0.5 * height])
        surfaces.append(Surface(position, rotation, np.array([wide, 0.5 * height]), texture))
        if is_yard:
            surfaces[-1] = replace(surfaces[-1], glow=0.65)
    if not is_yard:
        white = np.full_like(texture, 235)
        down = np.diag([1.0, -1.0, -1.0])
        surfaces.append(Surface(np.array([0.0, 0.0, height]), down, half, white))
    return tuple(surfaces)


def _sample_camera(
    rng: np.random.Generator,
    placed: tuple[PlacedModel, ...],
    half: np.ndarray,
    fovy: float,
    is_yard: bool,
) -> np.ndarray:
    """Look at one of the objects, from the height of a robot, a table or a person.

    Half of the views are the fullest of some: photos seldom show one thing alone.
    """
    room = np.full(2, 10.0) if is_yard else half - 0.12
    objects = tuple(item for item in placed if item.is_labelled)
    wanted = _FULLEST_OF if rng.random() < 0.5 else 1
    poses: list[np.ndarray] = []
    for _ in range(_CAMERA_TRIES if objects else 0):
        pose = _try_camera(rng, objects, placed, room, fovy)
        if pose is not None:
            poses.append(pose)
        if len(poses) == wanted:
            break
    if not poses:
        corner = np.array([*(0.95 * room * [-1, -1]), 1.0])
        return look_at(corner, np.array([0.0, 0.0, 0.4]), 0.0)
    return max(poses, key=lambda pose: _count_seen(pose, objects, fovy))


def _try_camera(
    rng: np.random.Generator,
    objects: tuple[PlacedModel, ...],
    placed: tuple[PlacedModel, ...],
    room: np.ndarray,
    fovy: float,
) -> np.ndarray | None:
    """Draw a pose; None where the camera would be outside, or sees nothing of its object."""
    weights = np.array([3.0 if item.model.kind == "person" else 1.0 for item in objects])
    item = objects[int(rng.choice(len(objects), p=weights / weights.sum()))]
    size = item.model.size
    target = item.spot.position + np.array([0.0, 0.0, size[2] * rng.uniform(0.3, 0.7)])
    share = np.exp(rng.uniform(np.log(0.1), np.log(0.6)))
    distance = max(0.35, float(size.max()) / (2.0 * share * np.tan(0.5 * fovy)))
    azimuth = rng.uniform(0.0, 2.0 * np.pi)
    eye = target + distance * np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    eye[2] = _sample_height(rng, item)
    aim = target + rng.uniform(-0.35, 0.35, 3) * [1, 1, 0.6] * distance * np.tan(0.5 * fovy)
    roll = float(rng.normal(0.0, 0.03))
    if (np.abs(eye[:2]) < room).all() and _can_see(eye, target, item, placed):
        return look_at(eye, aim, roll)
    return None


def _count_seen(pose: np.ndarray, objects: tuple[PlacedModel, ...], fovy: float) -> int:
    """Count the objects whose middle lies in the upright square of the image."""
    middles = np.array([item.spot.position for item in objects])
    middles[:, 2] += [0.5 * item.model.size[2] for item in objects]
    x, y, z = ((middles - pose[:3, 3]) @ pose[:3, :3]).T
    reach = np.tan(0.5 * fovy) * z
    return int(((z > 0) & (np.abs(x) < reach) & (np.abs(y) < reach)).sum())


def _sample_height(rng: np.random.Generator, item: PlacedModel) -> float:
    if item.spot.base >= 0:
        return float(item.spot.position[2] + rng.uniform(0.08, 0.75))
    low, high = ((0.3, 1.2), (1.2, 1.75), (0.6, 1.0))[int(rng.integers(3))]
    return float(rng.uniform(low, high))


def _can_see(
    eye: np.ndarray, target: np.ndarray, item: PlacedModel, placed: tuple[PlacedModel, ...]
) -> bool:
    """Return whether the camera is free and no box of another model lies on the way."""
    if _is_blocked(eye, placed, 0.18):
        return False
    base = placed[item.spot.base] if item.spot.base >= 0 else None
    others = tuple(one for one in placed if one is not item and one is not base)
    return not any(
        _is_blocked(eye + share * (target - eye), others, 0.0)
        for share in np.linspace(0.1, 0.85, 8)
    )


def _is_blocked(eye: np.ndarray, placed: tuple[PlacedModel, ...], margin: float) -> bool:
    """Return whether a point lies in the box of a model, widened by a margin in metres."""
    for item in placed:
        size = item.model.size
        low = item.spot.position[2]
        if eye[2] > low + size[2] + 0.3 * margin or eye[2] < low - 0.5 * margin:
            continue
        local = turn(item.spot.yaw).T @ (eye[:2] - item.spot.position[:2])
        if (np.abs(local) < 0.5 * size[:2] + margin).all():
            return True
    return False


def look_at(eye: np.ndarray, target: np.ndarray, roll: float) -> np.ndarray:
    """Return the (4, 4) pose of the optical frame of a camera that looks at a point."""
    forward = target - eye
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, np.array([0.0, 0.0, 1.0]))
    right = right / max(float(np.linalg.norm(right)), 1e-9)
    down = np.cross(forward, right)
    pose = np.eye(4)
    pose[:3, 0] = np.cos(roll) * right + np.sin(roll) * down
    pose[:3, 1] = np.cos(roll) * down - np.sin(roll) * right
    pose[:3, 2] = forward
    pose[:3, 3] = eye
    return pose


def footprint(item: PlacedModel) -> np.ndarray:
    """Return the (4, 2) corners of a model on the ground."""
    return rectangle(item.spot.position, 0.5 * item.model.size[:2], item.spot.yaw)

"""Place models of a pool in a room: along walls, on the floor, around tables, on top of furniture.

No two footprints on one level overlap. Metres; z up; the middle of the floor is the origin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from vl2_ros.sim.household.kinds import DISTRACTOR, HUNG, KINDS, Room, Where
from vl2_ros.sim.household.pool import Pool, PooledModel
from vl2_ros.sim.household.skeletons import seat_of

FLOOR, WALL = -1, -2
PLACE_TRIES = 25
#: Most models in one scene.
MAX_SPOTS = 60
#: Things up to this size stand on tables, larger ones of the same kind on the floor.
TOP_SIZE_M = 0.55
_SUPPORT_HEIGHT_M = (0.25, 1.35)
_YARD_RADIUS_M = 6.5
_TABLES = ("dining table", "desk")


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """Where a model stands.

    Attributes:
        model: index in the pool.
        position: (3,) of the middle of its base.
        yaw: radians about z; at 0 it looks towards -y.
        base: index of the spot that it stands on, FLOOR or WALL.
    """

    model: int
    position: np.ndarray
    yaw: float
    base: int = FLOOR


def rectangle(center: np.ndarray, half: np.ndarray, yaw: float) -> np.ndarray:
    """Return the (4, 2) corners of a turned rectangle, in order."""
    signs = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    return center[:2] + (signs * half) @ turn(yaw).T


def turn(yaw: float) -> np.ndarray:
    """Return the (2, 2) rotation by an angle in radians."""
    return np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])


def overlap(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether two rectangles of (4, 2) corners share area."""
    # Plain numbers: arrays of four take ten times as long, and a scene asks thousands of times.
    a, b = first.tolist(), second.tolist()
    # Circles around them first, as most lie far apart.
    gap = math.hypot(a[0][0] + a[2][0] - b[0][0] - b[2][0], a[0][1] + a[2][1] - b[0][1] - b[2][1])
    if gap >= math.dist(a[0], a[2]) + math.dist(b[0], b[2]):
        return False
    return not (_is_apart(a, b) or _is_apart(b, a))


def _is_apart(first: list[list[float]], second: list[list[float]]) -> bool:
    """Return whether a line along a side of the first rectangle lies between both."""
    corner = first[0]
    for end in (first[1], first[3]):
        x, y = end[0] - corner[0], end[1] - corner[1]
        low = corner[0] * x + corner[1] * y
        high = low + x * x + y * y
        along = [point[0] * x + point[1] * y for point in second]
        if min(along) >= high or max(along) <= low:
            return True
    return False


@dataclass(slots=True)
class Layout:
    """The spots of a scene while they are chosen.

    Attributes:
        pool: the models.
        half: (2,) half sizes of the room.
        rng: every choice comes from it.
        spots: what was placed.
    """

    pool: Pool
    half: np.ndarray
    rng: np.random.Generator
    spots: list[Spot] = field(default_factory=list)
    _taken: dict[int, list[np.ndarray]] = field(default_factory=dict)

    def corners(self, spot: Spot) -> np.ndarray:
        """Return the (4, 2) footprint of a spot."""
        size = self.pool.models[spot.model].size
        return rectangle(spot.position, 0.5 * size[:2], spot.yaw)

    def fill(self) -> None:
        """Place furniture, then people and what else stands on the floor, then small things."""
        order = [int(index) for index in self.rng.permutation(len(self.pool.models))]
        on_floor = [i for i in order if _stands_on_floor(self.pool.models[i])]
        # Large furniture first: it would find no room later.
        on_floor.sort(key=lambda i: -_rank(self.pool.models[i]))
        most = int(self.rng.integers(5, 19))
        for index in on_floor:
            if len(self.spots) >= most:
                break
            if self.rng.random() < 0.75:
                self._place_on_floor(index)
        self._place_chairs()
        self._place_on_tops([i for i in order if _fits_top(self.pool.models[i])])

    def _place_on_floor(self, index: int) -> None:
        model = self.pool.models[index]
        if seat_of(model.identifier) is not None and self._chair() is None:
            return
        for _ in range(PLACE_TRIES):
            if KINDS[model.kind].where is Where.WALL or model.identifier in HUNG:
                spot = self._at_wall(index, model)
            else:
                spot = self._anywhere(index, model)
            if spot is not None and self._add(spot):
                self._seat(spot)
                return

    def _at_wall(self, index: int, model: PooledModel) -> Spot | None:
        wall = int(self.rng.integers(4))
        yaw = 0.5 * np.pi * wall
        deep = self.half[1] if wall % 2 == 0 else self.half[0]
        wide = self.half[0] if wall % 2 == 0 else self.half[1]
        out = deep - 0.5 * model.size[1] - self.rng.uniform(0.0, 0.08)
        along = wide - 0.5 * model.size[0]
        if out < 0.0 or along < 0.0:
            return None
        local = turn(yaw) @ np.array([self.rng.uniform(-along, along), out])
        if model.identifier in HUNG:
            height = float(self.rng.uniform(0.9, 1.5))
            return Spot(index, np.array([*local, height]), yaw, WALL)
        return Spot(index, np.array([*local, 0.0]), yaw)

    def _anywhere(self, index: int, model: PooledModel) -> Spot | None:
        room = self.half - 0.1
        if self.pool.room is Room.YARD:
            room = np.full(2, _YARD_RADIUS_M)
        yaw = float(self.rng.uniform(0.0, 2.0 * np.pi))
        if KINDS[model.kind].where is Where.FLOOR and self.rng.random() < 0.4:
            yaw = 0.5 * np.pi * int(self.rng.integers(4)) + float(self.rng.normal(0.0, 0.1))
        position = np.array([*self.rng.uniform(-room, room), 0.0])
        reach = np.abs(rectangle(np.zeros(2), 0.5 * model.size[:2], yaw)).max(axis=0)
        if self.pool.room is not Room.YARD and (np.abs(position[:2]) + reach > self.half).any():
            return None
        return Spot(index, position, yaw)

    def _add(self, spot: Spot) -> bool:
        """Take a spot, unless something stands there or the scene is full."""
        if len(self.spots) >= MAX_SPOTS:
            return False
        corners = self.corners(spot)
        taken = self._taken.setdefault(spot.base, [])
        if any(overlap(corners, other) for other in taken):
            return False
        taken.append(corners)
        self.spots.append(spot)
        return True

    def _chair(self) -> int | None:
        chairs = [
            i
            for i, model in enumerate(self.pool.models)
            if model.kind == "chair" and model.size[2] < 1.2
        ]
        return chairs[int(self.rng.integers(len(chairs)))] if chairs else None

    def _seat(self, spot: Spot) -> None:
        """Put a chair under a person who sits on one."""
        seat = seat_of(self.pool.models[spot.model].identifier)
        chair = self._chair()
        if seat is None or chair is None or len(self.spots) >= MAX_SPOTS:
            return
        local = seat * self.pool.models[spot.model].scale
        position = spot.position + np.array([*(turn(spot.yaw) @ local[:2]), 0.0])
        # Both stand on the same ground: no test against the person.
        self.spots.append(Spot(chair, position, spot.yaw))
        self._taken[FLOOR].append(self.corners(self.spots[-1]))

    def _place_chairs(self) -> None:
        """Put chairs at the sides of tables, looking at them."""
        for spot in list(self.spots):
            model = self.pool.models[spot.model]
            if model.kind not in _TABLES or model.size[2] < 0.6:
                continue
            chair = self._chair()
            sides = range(1) if model.kind == "desk" else range(4)
            for side in sides:
                if chair is None or self.rng.random() < 0.3:
                    continue
                seat = self.pool.models[chair].size
                reach = model.size[1] if side % 2 == 0 else model.size[0]
                out = 0.5 * reach + seat[1] * self.rng.uniform(0.15, 0.8)
                yaw = spot.yaw + 0.5 * np.pi * side
                offset = turn(yaw) @ np.array([self.rng.normal(0.0, 0.08), -out])
                position = spot.position + np.array([*offset, 0.0])
                turned = yaw + np.pi + float(self.rng.normal(0.0, 0.25))
                candidate = Spot(chair, position, turned)
                if len(self.spots) >= MAX_SPOTS or not self._is_inside(candidate):
                    continue
                if not self._hits_other(candidate, spot):
                    self.spots.append(candidate)
                    self._taken[FLOOR].append(self.corners(candidate))

    def _is_inside(self, spot: Spot) -> bool:
        return bool((np.abs(self.corners(spot)) <= self.half).all())

    def _hits_other(self, spot: Spot, table: Spot) -> bool:
        """Return whether a chair hits anything but its table, under which its seat may be."""
        own = self.corners(table)
        corners = self.corners(spot)
        return any(
            overlap(corners, other)
            for other in self._taken[FLOOR]
            if not np.array_equal(other, own)
        )

    def _place_on_tops(self, small: list[int]) -> None:
        supports = [
            i for i, spot in enumerate(self.spots) if _can_carry(self.pool.models[spot.model])
        ]
        for base in supports:
            for _ in range(int(self.rng.integers(1, 9))):
                if small:
                    self._place_on_top(base, small[int(self.rng.integers(len(small)))])

    def _place_on_top(self, base: int, index: int) -> None:
        below, model = self.spots[base], self.pool.models[index]
        carrier = self.pool.models[below.model]
        support = carrier.furniture.support
        if support is None:
            return
        room = support.half * carrier.scale - 0.4 * model.size[:2]
        if (room <= 0.0).any():
            return
        for _ in range(5):
            local = support.center * carrier.scale + self.rng.uniform(-room, room)
            facing = float(self.rng.normal(0.0, 0.4))
            if self.rng.random() < 0.4:
                facing = float(self.rng.uniform(0.0, 2.0 * np.pi))
            height = below.position[2] + support.height * carrier.scale
            position = np.array([*(below.position[:2] + turn(below.yaw) @ local), height])
            if self._add(Spot(index, position, below.yaw + facing, base)):
                return


def _rank(model: PooledModel) -> float:
    """Return how early a model is placed: by its footprint, but people like small furniture."""
    area = float(model.size[0] * model.size[1])
    return 0.9 if model.kind == "person" else min(area, 3.0)


def _is_small(model: PooledModel) -> bool:
    return bool(model.size.max() <= TOP_SIZE_M)


def _stands_on_floor(model: PooledModel) -> bool:
    where = KINDS[model.kind].where
    if model.identifier in HUNG:
        return True
    if where is Where.BOTH:
        return not _is_small(model) or model.kind == "backpack"
    return where is not Where.TOP


def _fits_top(model: PooledModel) -> bool:
    where = KINDS[model.kind].where
    if model.identifier in HUNG:
        return False
    return where is Where.TOP or (where is Where.BOTH and _is_small(model))


def _can_carry(model: PooledModel) -> bool:
    support = model.furniture.support
    low, high = _SUPPORT_HEIGHT_M
    return (
        support is not None
        and model.kind in (*_TABLES, "coffee table", "cabinet", "bench", "washing machine", "box")
        and low <= support.height * model.scale <= high
        and model.kind != DISTRACTOR
    )

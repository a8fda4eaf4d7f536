"""Draw the pool of models that a block of scenes shares, with one room.

A pool depends on the number of its block alone; it is compiled once for all scenes of the block.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vl2_ros.errors import SimulationError
from vl2_ros.sim.household.catalogue import INSTALL_HINT, CatalogueEntry
from vl2_ros.sim.household.furniture import Furniture, load_furniture
from vl2_ros.sim.household.kinds import (
    KINDS,
    ROOM_LETTERS,
    ModelRow,
    Room,
    split_models,
)

MODELS_PER_POOL = 36
PERSON_BUDGET, BUDGET = 9000, 4000
PERSON_PARTS, PARTS = 18, 8
#: What a room has at least, one model for each time that a kind is named.
_MUST_HAVE: dict[Room, tuple[str, ...]] = {
    Room.LIVING: ("couch", "coffee table", "dining table", "chair", "chair", "cabinet", "tv"),
    Room.KITCHEN: ("dining table", "chair", "chair", "cabinet", "cabinet", "refrigerator", "oven"),
    Room.BEDROOM: ("bed", "bed", "cabinet", "cabinet", "desk", "chair"),
    Room.OFFICE: ("desk", "desk", "chair", "chair", "cabinet", "laptop"),
    Room.BATHROOM: ("toilet", "sink", "bathtub", "cabinet"),
    Room.YARD: ("bench", "car", "bicycle", "person"),
}
_ROOM_WEIGHTS = {
    Room.LIVING: 0.26,
    Room.KITCHEN: 0.21,
    Room.BEDROOM: 0.12,
    Room.OFFICE: 0.15,
    Room.BATHROOM: 0.06,
    Room.YARD: 0.2,
}
_PEOPLE = {Room.BATHROOM: 0}
_MOST_PEOPLE = 4


@dataclass(frozen=True, slots=True, eq=False)
class PooledModel:
    """A model of a pool.

    Attributes:
        kind: a word of KINDS.
        identifier: in the catalogues.
        furniture: the loaded model.
        scale: factor of its size.
    """

    kind: str
    identifier: str
    furniture: Furniture
    scale: float

    @property
    def size(self) -> np.ndarray:
        """Return (3,) metres along x, y and z."""
        return self.furniture.size * self.scale


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Models that can stand in one kind of room."""

    room: Room
    models: tuple[PooledModel, ...]


def draw_rows(block: int, *, held_out: bool = False) -> tuple[Room, tuple[ModelRow, ...]]:
    """Draw the room of a block and which models its pool has.

    Args:
        block: 0 or more.
        held_out: draw from the models that training never sees, where a kind has any.
    """
    rng = np.random.default_rng([1, block])
    rooms = list(_ROOM_WEIGHTS)
    room = rooms[int(rng.choice(len(rooms), p=list(_ROOM_WEIGHTS.values())))]
    letter = next(key for key, value in ROOM_LETTERS.items() if value is room)
    kinds = [name for name, kind in KINDS.items() if letter in kind.rooms]
    weights = np.array([KINDS[name].weight for name in kinds])
    wanted = list(_MUST_HAVE[room]) + ["person"] * _PEOPLE.get(room, _MOST_PEOPLE)
    while len(wanted) < MODELS_PER_POOL:
        wanted.append(kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))])
    rows: dict[str, ModelRow] = {}
    for name in wanted:
        free = [row for row in split_models(name, held_out=held_out) if row.identifier not in rows]
        if free:
            row = free[int(rng.integers(len(free)))]
            rows[row.identifier] = row
    return room, tuple(rows.values())


def load_pool(
    block: int,
    catalogue: dict[str, CatalogueEntry],
    cache: Path | None,
    *,
    held_out: bool = False,
) -> Pool:
    """Load the pool of a block.

    Args:
        block: 0 or more.
        catalogue: entries by identifier.
        cache: folder of models that were loaded before.
        held_out: as in draw_rows.

    Raises:
        SimulationError: if the catalogue lacks a model of the table.
    """
    room, rows = draw_rows(block, held_out=held_out)
    rng = np.random.default_rng([2, block])
    models = []
    for row in rows:
        if row.identifier not in catalogue:
            raise SimulationError(
                f"expected the model {row.identifier} in the catalogues, which have "
                f"{len(catalogue)} others; {INSTALL_HINT}"
            )
        furniture = load_furniture(
            catalogue[row.identifier],
            budget=PERSON_BUDGET if row.kind == "person" else BUDGET,
            max_parts=PERSON_PARTS if row.kind == "person" else PARTS,
            cache=cache,
        )
        spread = 0.05 if row.kind == "person" else 0.1
        scale = float(rng.uniform(1.0 - spread, 1.0 + spread))
        models.append(PooledModel(row.kind, row.identifier, furniture, scale))
    return Pool(room, tuple(models))


def color_choice(model: PooledModel) -> int | None:
    """Return the part that may get another colour: the largest one, without a texture.

    None where that covers less than half of the model or does not let a new colour be seen.
    """
    if model.kind == "person":
        return None
    part = int(np.argmax(model.furniture.areas))
    surface = model.furniture.parts[part].surface
    if surface.texture or surface.alpha < 0.8 or model.furniture.areas[part] < 0.5:
        return None
    return part

"""Render household scenes as frames: colour, depth, instance map, labels and keypoints of people.

A frame depends on (seed, width, height) and the catalogues only. Seeds of one block share a pool
of models, and SCENE_VIEWS of them a furnished room, so consecutive seeds are much faster than
scattered ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.sim.household.catalogue import read_catalogues
from vl2_ros.sim.household.labels import HouseholdObject, label_scene
from vl2_ros.sim.household.pool import Pool, load_pool
from vl2_ros.sim.household.scene import (
    SCENE_VIEWS,
    FurnishedRoom,
    HouseholdScene,
    sample_room,
    sample_view,
)
from vl2_ros.sim.household.stage import HouseholdStage
from vl2_ros.sim.keypoints import CameraIntrinsics

#: Consecutive seeds that share a pool of models.
BLOCK_FRAMES = 100
#: Seeds from here on show models that training never sees.
HELD_OUT_SEED = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class HouseholdFrame:
    """One rendered image with its exact labels.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32 distance along the optical axis.
        instance_map: (H, W) uint8, 0 = none, i + 1 = `objects[i]`.
        objects: objects of which enough is seen.
        intrinsics: the pinhole camera.
        world_from_camera: (4, 4) pose of the optical frame (x right, y down, z forward).
    """

    rgb: np.ndarray
    depth_m: np.ndarray
    instance_map: np.ndarray
    objects: tuple[HouseholdObject, ...]
    intrinsics: CameraIntrinsics
    world_from_camera: np.ndarray


class HouseholdSimulator:
    """Render seeded household scenes; a frame depends on its seed and size alone.

    Belongs to the thread that made it, as its OpenGL context does.

    Args:
        catalogues: folder with the catalogues of Debian's `sweethome3d-furniture`; where the
            package installs them by default.
        cache: folder of models that were loaded before, which may be shared by processes; without
            one every block of seeds parses its models again.
        width: image width in pixels.
        height: image height in pixels.

    Raises:
        InputError: if a side is not in 16..4096.
        SimulationError: if the models, MuJoCo or OpenGL are missing.

    Example:
        >>> with HouseholdSimulator() as simulator:  # doctest: +SKIP
        ...     frame = simulator.render(seed=7)
    """

    def __init__(
        self,
        *,
        catalogues: Path | None = None,
        cache: Path | None = None,
        width: int = 320,
        height: int = 240,
    ) -> None:
        """Read the catalogues; the first frame opens an offscreen context."""
        if not (16 <= width <= 4096 and 16 <= height <= 4096):
            raise InputError(f"width and height must lie in 16..4096, got {width}x{height}")
        self._width, self._height = width, height
        self._catalogue, self._cache = read_catalogues(catalogues), cache
        self._block = -1
        self._pool: Pool | None = None
        self._stage: HouseholdStage | None = None
        #: With its number; the views of a room follow each other.
        self._room: tuple[int, FurnishedRoom] | None = None

    def __enter__(self) -> HouseholdSimulator:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Free the OpenGL context; a later frame opens another one."""
        if self._stage is not None:
            self._stage.close()
        self._stage, self._block, self._room = None, -1, None

    def render(self, seed: int) -> HouseholdFrame:
        """Render the scene of a seed (0 or more); train below 1,000,000, hold out from there."""
        if seed < 0:
            raise InputError(f"a scene seed must be 0 or more, got {seed}")
        pool, stage = self._open_block(seed // BLOCK_FRAMES)
        number = seed // SCENE_VIEWS
        if self._room is None or self._room[0] != number:
            self._room = number, sample_room(number, pool)
        return self._render(sample_view(seed, self._room[1]), stage)

    def _open_block(self, block: int) -> tuple[Pool, HouseholdStage]:
        if self._stage is None or self._pool is None or self._block != block:
            self.close()
            held_out = block * BLOCK_FRAMES >= HELD_OUT_SEED
            self._pool = load_pool(block, self._catalogue, self._cache, held_out=held_out)
            self._stage = HouseholdStage(self._pool, self._width, self._height)
            self._block = block
        return self._pool, self._stage

    def _render(self, scene: HouseholdScene, stage: HouseholdStage) -> HouseholdFrame:
        rgb, depth_m, identity = stage.draw(scene)
        focal = 0.5 * self._height / np.tan(0.5 * scene.fovy_rad)
        intrinsics = CameraIntrinsics(focal, focal, 0.5 * self._width, 0.5 * self._height)
        objects, instance_map = label_scene(scene, identity, depth_m, intrinsics)
        return HouseholdFrame(
            rgb=rgb,
            depth_m=depth_m,
            instance_map=instance_map,
            objects=objects,
            intrinsics=intrinsics,
            world_from_camera=scene.world_from_camera,
        )

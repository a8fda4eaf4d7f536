"""Render scenes as frames: colour, depth, instance map and keypoints, by MuJoCo offscreen.

Labels come from the rendered segmentation, so a box is the extent of the visible pixels and a
hidden object has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.sim.keypoints import CameraIntrinsics, project_keypoints
from vl2_ros.sim.scene import Scene, sample_scene
from vl2_ros.sim.stage import Stage

#: Fewer visible pixels than this, at 320x240, leave an object without a label.
MIN_VISIBLE_PIXELS = 50


@dataclass(frozen=True, slots=True)
class TabletopObject:
    """One labelled object as far as it is seen.

    Attributes:
        kind: a word of KINDS.
        color: a word of COLORS.
        box_xyxy: extent of its visible pixels, end-exclusive; an occluded part does not count.
        visible_pixels: number of its pixels in the instance map.
        keypoints: name to (x, y, visible) in pixels; a point may lie outside the image. What is
            called left, right, near or far of a rim, a face or a rod is so in the image.
    """

    kind: str
    color: str
    box_xyxy: tuple[float, float, float, float]
    visible_pixels: int
    keypoints: dict[str, tuple[float, float, bool]]


@dataclass(frozen=True, slots=True, eq=False)
class TabletopFrame:
    """One rendered image with its exact labels.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32 distance along the optical axis.
        instance_map: (H, W) uint8, 0 = none, i + 1 = `objects[i]`.
        objects: objects with enough visible pixels.
        pieces: index of each object's piece in the scene, the same from every viewpoint.
        intrinsics: the pinhole camera.
        world_from_camera: (4, 4) pose of the optical frame (x right, y down, z forward).
    """

    rgb: np.ndarray
    depth_m: np.ndarray
    instance_map: np.ndarray
    objects: tuple[TabletopObject, ...]
    pieces: tuple[int, ...]
    intrinsics: CameraIntrinsics
    world_from_camera: np.ndarray


class TabletopSimulator:
    """Render seeded tabletop scenes; a frame depends on (seed, width, height) only.

    Belongs to the thread that made it, as its OpenGL context does. Software rendering (osmesa) or,
    where its library is missing, EGL, unless MUJOCO_GL is set; the two differ in some pixels.

    Args:
        width: image width in pixels.
        height: image height in pixels; 4:3 is what the scenes are laid out for.

    Raises:
        InputError: if a side is not in 16..4096.
        SimulationError: if MuJoCo or OpenGL is missing.

    Example:
        >>> with TabletopSimulator() as simulator:  # doctest: +SKIP
        ...     frame = simulator.render(seed=7)
    """

    def __init__(self, *, width: int = 320, height: int = 240) -> None:
        """Compile the stage and open an offscreen context."""
        if not (16 <= width <= 4096 and 16 <= height <= 4096):
            raise InputError(f"width and height must lie in 16..4096, got {width}x{height}")
        self._width, self._height = width, height
        self._stage = Stage(width, height)

    def __enter__(self) -> TabletopSimulator:
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
        """Free the OpenGL context; further calls do nothing."""
        self._stage.close()

    def render(self, seed: int) -> TabletopFrame:
        """Render the scene of a seed (0 or more); train below 1,000,000, hold out from there."""
        return self.render_scene(sample_scene(seed))

    def render_orbit(self, seed: int, count: int) -> Iterator[TabletopFrame]:
        """Render one scene `count` times while the camera goes once around it."""
        scene = sample_scene(seed)
        start = scene.viewpoint
        for index in range(count):
            turn = 2.0 * np.pi * index / count
            elevation = start.elevation_rad + np.deg2rad(5.0) * np.sin(2.0 * turn)
            view = replace(start, azimuth_rad=start.azimuth_rad + turn, elevation_rad=elevation)
            yield self.render_scene(replace(scene, viewpoint=view))

    def render_scene(self, scene: Scene) -> TabletopFrame:
        """Render a scene, such as that of a seed seen from elsewhere."""
        owners = self._stage.pose(scene)
        rgb, depth_m = self._stage.draw_colors()
        identity = self._stage.draw_owners(owners)
        focal = 0.5 * self._height / np.tan(0.5 * scene.viewpoint.fovy_rad)
        intrinsics = CameraIntrinsics(focal, focal, 0.5 * self._width, 0.5 * self._height)
        pose = scene.viewpoint.world_from_camera()
        labelled, instance_map = self._label(scene, identity, depth_m, intrinsics, pose)
        return TabletopFrame(
            rgb=rgb,
            depth_m=depth_m,
            instance_map=instance_map,
            objects=tuple(labelled.values()),
            pieces=tuple(labelled),
            intrinsics=intrinsics,
            world_from_camera=pose,
        )

    def _label(
        self,
        scene: Scene,
        identity: np.ndarray,
        depth_m: np.ndarray,
        intrinsics: CameraIntrinsics,
        world_from_camera: np.ndarray,
    ) -> tuple[dict[int, TabletopObject], np.ndarray]:
        """Return the labelled object of each piece that is seen, and the instance map."""
        needed = MIN_VISIBLE_PIXELS * self._width * self._height / (320 * 240)
        renumber = np.zeros(256, dtype=np.uint8)
        objects: dict[int, TabletopObject] = {}
        for index, placed in enumerate(scene.pieces):
            if not placed.is_labelled:
                continue
            mask = identity == index + 1
            count = int(np.count_nonzero(mask))
            if count < needed:
                continue
            columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
            box = (
                float(columns[0]),
                float(rows[0]),
                float(columns[-1] + 1),
                float(rows[-1] + 1),
            )
            surface_m = np.where(mask, depth_m, np.nan)
            points = project_keypoints(
                placed.piece.keypoints, surface_m, intrinsics, world_from_camera
            )
            objects[index] = TabletopObject(placed.kind, placed.color, box, count, points)
            renumber[index + 1] = len(objects)
        return objects, renumber[identity]

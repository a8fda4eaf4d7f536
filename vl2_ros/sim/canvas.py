"""Draw a compiled MuJoCo model offscreen: colours with distances, and the owners of its geoms.

Knows no scene: the owner of the canvas writes poses and colours into `model` and `data`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vl2_ros.errors import SimulationError
from vl2_ros.sim.offscreen import open_context

#: What the scene holds beside the geoms of the model.
_EXTRA_GEOMS = 32


class Canvas:
    """An offscreen image of one model; belongs to the thread that made it.

    Args:
        mujoco: the imported library.
        model: compiled, with one camera.
        width: image width in pixels.
        height: image height in pixels.
        near_m: near plane that the model was compiled with, which keeps it in 32 bits.
        far_m: its far plane.

    Raises:
        SimulationError: if there is no OpenGL.
    """

    def __init__(
        self, mujoco: Any, model: Any, *, width: int, height: int, near_m: float, far_m: float
    ) -> None:
        """Open an OpenGL context."""
        self._mujoco, self._width, self._height = mujoco, width, height
        self.model, self.data = model, mujoco.MjData(model)
        self._near_m, self._far_m = near_m, far_m
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + _EXTRA_GEOMS)
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type, self._camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._gl, self._context = open_context(mujoco, model, width, height)

    def close(self) -> None:
        """Free the OpenGL context; further calls do nothing."""
        if self._gl is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._gl = None

    def activate(self) -> None:
        """Make the context that of this thread, before a scene is written.

        Raises:
            SimulationError: after `close`.
        """
        if self._gl is None:
            raise SimulationError("the simulator is closed; make a new one")
        self._gl.make_current()

    def upload_texture(self, index: int, pixels: np.ndarray) -> None:
        """Replace the pixels of a texture of the model by (H, W, 3) uint8 of the same size."""
        first = self.model.tex_adr[index]
        self.model.tex_data[first : first + pixels.size] = pixels.ravel()
        self._mujoco.mjr_uploadTexture(self.model, self._context, index)

    def pose_camera(self, world_from_camera: np.ndarray, fovy_rad: float) -> None:
        """Set the camera; the optical frame has x right, y down and z forward."""
        self.data.cam_xpos[0] = world_from_camera[:3, 3]
        # MuJoCo's camera looks along -z with y up.
        turn = world_from_camera[:3, :3] * np.array([1.0, -1.0, -1.0])
        self.data.cam_xmat[0] = turn.ravel()
        self.model.cam_fovy[0] = np.rad2deg(fovy_rad)

    def update(self) -> None:
        """Take over what was written into model and data."""
        self._mujoco.mjv_updateScene(
            self.model,
            self.data,
            self._option,
            None,
            self._camera,
            self._mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )

    def draw_colors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (H, W, 3) uint8 colours and (H, W) float32 distances along the axis in metres."""
        rgb = np.empty((self._height, self._width, 3), dtype=np.uint8)
        raw_depth = np.empty((self._height, self._width), dtype=np.float32)
        self._mujoco.mjr_render(self._viewport, self._scene, self._context)
        self._mujoco.mjr_readPixels(rgb, raw_depth, self._viewport, self._context)
        # Reversed depth buffer: 1 at the near plane, 0 at the far one.
        ratio = self._near_m / self._far_m
        depth_m = self._near_m / (raw_depth.astype(np.float64) * (1.0 - ratio) + ratio)
        # OpenGL's first row is the bottom one.
        return rgb[::-1].copy(), depth_m[::-1].astype(np.float32)

    def draw_owners(self, owners: np.ndarray) -> np.ndarray:
        """Return (H, W) uint8, owner + 1 or 0, for an owner (-1 none) per geom of the model."""
        flags, kinds = self._scene.flags, self._mujoco.mjtRndFlag
        ids = np.empty((self._height, self._width, 3), dtype=np.uint8)
        owner_of_segment = np.zeros(self._scene.ngeom + 1, dtype=np.uint8)
        geom_type = int(self._mujoco.mjtObj.mjOBJ_GEOM)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.objtype == geom_type and geom.segid >= 0:
                owner_of_segment[geom.segid + 1] = owners[geom.objid] + 1
        before = flags.copy()
        flags[kinds.mjRND_SEGMENT] = flags[kinds.mjRND_IDCOLOR] = True
        flags[kinds.mjRND_SHADOW] = False
        self._mujoco.mjr_render(self._viewport, self._scene, self._context)
        flags[:] = before
        self._mujoco.mjr_readPixels(ids, None, self._viewport, self._context)
        segments = ids[::-1, :, 0].astype(np.uint16) | (ids[::-1, :, 1].astype(np.uint16) << 8)
        return owner_of_segment[segments]

"""Render scenes to pixels with one MuJoCo model of generic geoms that takes any scene's shape.

Compiled once; every scene rewrites shapes, poses, colours, lights and textures, so that nothing of
an earlier scene is left. No physics is stepped. Knows pixels and owners of geoms, but no labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vl2_ros.sim.canvas import Canvas
from vl2_ros.sim.meshes import lathe_bank
from vl2_ros.sim.offscreen import import_mujoco, mesh_frames
from vl2_ros.sim.pieces import Primitive
from vl2_ros.sim.scene import TEXTURE_SIDE, Scene

NEAR_M, FAR_M = 0.05, 12.0
MAX_GEOMS = 224


class Stage:
    """An offscreen renderer for scenes; belongs to the thread that made it.

    Args:
        width: image width in pixels.
        height: image height in pixels.

    Raises:
        SimulationError: if MuJoCo or OpenGL is missing.
    """

    def __init__(self, width: int, height: int) -> None:
        """Compile the model and open an OpenGL context."""
        mujoco = import_mujoco()
        model = _compile_model(mujoco, width, height)
        self._canvas = Canvas(mujoco, model, width=width, height=height, near_m=NEAR_M, far_m=FAR_M)
        self._geom_types = {
            primitive: int(getattr(mujoco.mjtGeom, f"mjGEOM_{primitive.name}"))
            for primitive in Primitive
        }
        self._mesh_frames = mesh_frames(mujoco, self._canvas.model)

    def close(self) -> None:
        """Free the OpenGL context; further calls do nothing."""
        self._canvas.close()

    def pose(self, scene: Scene) -> np.ndarray:
        """Write the scene into the stage; return the owner (piece index, -1 none) of each geom."""
        self._canvas.activate()
        model, data = self._canvas.model, self._canvas.data
        model.geom_group[:] = 5  # hidden, until a part takes the geom
        owners = np.full(model.ngeom, -1)
        self._pose_surfaces(scene)
        geom = 2
        for index, placed in enumerate(scene.pieces):
            for part in placed.piece.parts:
                model.geom_type[geom] = self._geom_types[part.primitive]
                model.geom_size[geom] = part.size
                model.geom_rgba[geom, :3] = part.rgb
                model.geom_group[geom] = 0
                position, rotation = part.position, part.rotation
                model.geom_dataid[geom] = part.mesh
                if part.primitive is Primitive.MESH:
                    shift, turn = self._mesh_frames[part.mesh]
                    position, rotation = position + rotation @ shift, rotation @ turn
                data.geom_xpos[geom] = position
                data.geom_xmat[geom] = rotation.ravel()
                owners[geom] = index
                geom += 1
        self._pose_camera_and_lights(scene)
        self._canvas.update()
        return owners

    def _pose_surfaces(self, scene: Scene) -> None:
        """Put table (geom 0) and floor (geom 1) in place and upload their textures."""
        model, data = self._canvas.model, self._canvas.data
        model.geom_group[:2] = 0
        model.geom_size[0] = scene.table_half
        model.geom_size[1] = (8.0, 8.0, 0.01)
        data.geom_xpos[0] = (0.0, 0.0, -scene.table_half[2])
        data.geom_xpos[1] = (0.0, 0.0, scene.floor_z - 0.01)
        data.geom_xmat[:2] = np.eye(3).ravel()
        for index, texture in enumerate((scene.table_texture, scene.floor_texture)):
            self._canvas.upload_texture(index, texture)

    def _pose_camera_and_lights(self, scene: Scene) -> None:
        model, data = self._canvas.model, self._canvas.data
        viewpoint = scene.viewpoint
        self._canvas.pose_camera(viewpoint.world_from_camera(), viewpoint.fovy_rad)
        for index, light in enumerate(scene.lights):
            data.light_xpos[index] = light.position
            data.light_xdir[index] = light.direction
            model.light_diffuse[index] = light.diffuse
        # Ambient light of a lamp that casts shadows is not rendered, that of the headlight is.
        model.vis.headlight.ambient[:] = scene.ambient
        model.vis.headlight.diffuse[:] = scene.camera_light

    def draw_colors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (H, W, 3) uint8 colours and (H, W) float32 distances along the axis in metres."""
        return self._canvas.draw_colors()

    def draw_owners(self, owners: np.ndarray) -> np.ndarray:
        """Return (H, W) uint8, piece index + 1 or 0, for the owners that `pose` returned."""
        return self._canvas.draw_owners(owners)


def _compile_model(mujoco: Any, width: int, height: int) -> Any:
    """Compile table, floor, generic geoms, two lights, one camera and the mesh bank."""
    spec = mujoco.MjSpec()
    spec.stat.extent, spec.stat.center = 1.0, np.zeros(3)
    spec.visual.map.znear, spec.visual.map.zfar = NEAR_M, FAR_M
    spec.visual.map.shadowclip = 0.9
    spec.visual.quality.offsamples, spec.visual.quality.shadowsize = 0, 1024
    spec.visual.headlight.specular = np.zeros(3)
    spec.visual.global_.offwidth, spec.visual.global_.offheight = width, height
    for lathe in lathe_bank():
        mesh = spec.add_mesh(name=lathe.name)
        mesh.uservert, mesh.userface = lathe.vertices.ravel(), lathe.faces.ravel()
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    for name in ("table", "floor"):
        texture = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D)
        texture.width = texture.height = TEXTURE_SIDE
        texture.builtin = mujoco.mjtBuiltin.mjBUILTIN_FLAT
        material = spec.add_material(name=name, specular=0.1, shininess=0.2)
        material.texrepeat = [1.0, 1.0] if name == "table" else [9.0, 9.0]
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    for index in range(MAX_GEOMS):
        geom = spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.1, 0.1, 0.1])
        geom.rgba = [0.5, 0.4, 0.3, 1.0]
        geom.contype = geom.conaffinity = 0
        if index < 2:
            geom.material, geom.rgba = ("table", "floor")[index], [0.5, 0.5, 0.5, 1.0]
    for _ in range(2):
        light = spec.worldbody.add_light(castshadow=True, specular=[0.15, 0.15, 0.15])
        light.type = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    spec.worldbody.add_camera(name="camera")
    return spec.compile()

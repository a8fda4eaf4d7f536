"""Render household scenes: one MuJoCo model per pool, whose geoms take any scene of the pool.

Meshes and textures are compiled once per pool; every scene rewrites which mesh a geom shows, its
pose and colour, the surfaces, lights and camera. Models far from what the camera sees are not
drawn. No physics is stepped.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vl2_ros.errors import SimulationError
from vl2_ros.sim.canvas import Canvas
from vl2_ros.sim.household.layout import MAX_SPOTS
from vl2_ros.sim.household.pool import Pool
from vl2_ros.sim.household.scene import HouseholdScene, Surface
from vl2_ros.sim.household.surfaces import SIDE
from vl2_ros.sim.household.wavefront import Part
from vl2_ros.sim.offscreen import import_mujoco, mesh_frames

NEAR_M, FAR_M = 0.05, 40.0
SURFACES = 6
_HIDDEN_GROUP = 5
#: Side of the map of shadows, which software rendering takes most of its time for.
_SHADOW_SIDE = 768
#: Models that are so near to what the camera sees are drawn for their shadows.
_SHADOW_REACH_M = 0.8
#: Half of what a wall measures.
_THICKNESS_M = 0.02
_LAMP_CUTOFF_DEG = 82.0


class HouseholdStage:
    """An offscreen renderer for the scenes of one pool; belongs to the thread that made it.

    Args:
        pool: the models.
        width: image width in pixels.
        height: image height in pixels.

    Raises:
        SimulationError: if MuJoCo or OpenGL is missing, or it refuses a model.
    """

    def __init__(self, pool: Pool, width: int, height: int) -> None:
        """Compile the pool and open an OpenGL context."""
        mujoco = import_mujoco()
        #: Index of the first mesh of each model.
        self._first_mesh: list[int] = []
        self._materials: list[list[int]] = []
        model = self._compile(mujoco, pool, width, height)
        self._mesh_type = int(mujoco.mjtGeom.mjGEOM_MESH)
        self._light_types = mujoco.mjtLightType
        self._frames = mesh_frames(mujoco, model)
        self._aspect = width / height
        self._shown: tuple[Surface, ...] = ()
        self._canvas = Canvas(mujoco, model, width=width, height=height, near_m=NEAR_M, far_m=FAR_M)

    def close(self) -> None:
        """Free the OpenGL context; further calls do nothing."""
        self._canvas.close()

    def draw(self, scene: HouseholdScene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return colours, distances and owners of the pixels of a scene.

        Returns:
            (H, W, 3) uint8 colours, (H, W) float32 distance along the axis in metres and (H, W)
            uint8, index of the placed model + 1 or 0.
        """
        self._canvas.activate()
        model = self._canvas.model
        model.geom_group[:] = _HIDDEN_GROUP
        self._pose_surfaces(scene)
        owners = self._pose_models(scene)
        self._pose_lights(scene)
        self._canvas.pose_camera(scene.world_from_camera, scene.fovy_rad)
        self._canvas.update()
        rgb, depth_m = self._canvas.draw_colors()
        return rgb, depth_m, self._canvas.draw_owners(owners)

    def _pose_surfaces(self, scene: HouseholdScene) -> None:
        model, data = self._canvas.model, self._canvas.data
        for index, surface in enumerate(scene.surfaces):
            model.geom_group[index] = 0
            model.geom_size[index] = (*surface.half, _THICKNESS_M)
            data.geom_xpos[index] = surface.position - surface.rotation[:, 2] * _THICKNESS_M
            data.geom_xmat[index] = surface.rotation.ravel()
            model.mat_texrepeat[index] = surface.repeat
            model.mat_emission[index] = surface.glow
            if scene.surfaces is not self._shown:
                self._canvas.upload_texture(index, surface.texture)
        self._shown = scene.surfaces

    def _pose_models(self, scene: HouseholdScene) -> np.ndarray:
        """Give each part of each placed model a geom; return the owner of each geom."""
        model, data = self._canvas.model, self._canvas.data
        owners = np.full(model.ngeom, -1)
        geom = SURFACES
        near = find_near(scene, self._aspect, _SHADOW_REACH_M if scene.casts_shadows else 0.0)
        for index in near:
            item = scene.placed[index]
            rotation, which = item.rotation(), item.spot.model
            for part, rgb in enumerate(item.rgbs):
                mesh = self._first_mesh[which] + part
                shift, turned = self._frames[mesh]
                model.geom_type[geom] = self._mesh_type
                model.geom_dataid[geom] = mesh
                model.geom_matid[geom] = self._materials[which][part]
                alpha = item.model.furniture.parts[part].surface.alpha
                model.geom_rgba[geom] = (*rgb, max(alpha, 0.15))
                model.geom_group[geom] = 0
                data.geom_xpos[geom] = item.spot.position + rotation @ shift
                data.geom_xmat[geom] = (rotation @ turned).ravel()
                owners[geom] = index
                geom += 1
        return owners

    def _pose_lights(self, scene: HouseholdScene) -> None:
        model, data = self._canvas.model, self._canvas.data
        types = self._light_types
        model.light_castshadow[0] = scene.casts_shadows
        # Walls would keep the sun out of a room.
        model.light_type[0] = types.mjLIGHT_SPOT if scene.is_room else types.mjLIGHT_DIRECTIONAL
        data.light_xpos[:] = scene.lamp_position, -8.0 * scene.fill_direction
        data.light_xdir[:] = scene.lamp_direction, scene.fill_direction
        model.light_diffuse[:] = scene.lamp, scene.fill
        model.vis.headlight.ambient[:] = scene.ambient
        model.vis.headlight.diffuse[:] = 0.1

    def _compile(self, mujoco: Any, pool: Pool, width: int, height: int) -> Any:
        spec = mujoco.MjSpec()
        spec.stat.extent, spec.stat.center = 1.0, np.zeros(3)
        spec.visual.map.znear, spec.visual.map.zfar = NEAR_M, FAR_M
        spec.visual.map.shadowclip = 4.5
        spec.visual.quality.offsamples, spec.visual.quality.shadowsize = 0, _SHADOW_SIDE
        spec.visual.quality.numquads = 10
        spec.visual.headlight.specular = np.zeros(3)
        spec.visual.global_.offwidth, spec.visual.global_.offheight = width, height
        for index in range(SURFACES):
            _add_material(mujoco, spec, f"surface_{index}", np.zeros((SIDE, SIDE, 3), np.uint8), 0)
        count = SURFACES
        meshes = 0
        for number, item in enumerate(pool.models):
            self._first_mesh.append(meshes)
            self._materials.append([])
            for index, part in enumerate(item.furniture.parts):
                _add_mesh(mujoco, spec, f"mesh_{number}_{index}", part, item.scale)
                texture = item.furniture.textures.get(part.surface.texture)
                name = f"material_{number}_{index}"
                _add_material(mujoco, spec, name, texture, part.surface.shine)
                self._materials[-1].append(count)
                count, meshes = count + 1, meshes + 1
        most = MAX_SPOTS * max(len(item.furniture.parts) for item in pool.models)
        for index in range(SURFACES + most):
            geom = spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.1, 0.1, 0.1])
            geom.contype = geom.conaffinity = 0
            geom.rgba = [1.0, 1.0, 1.0, 1.0]
            if index < SURFACES:
                geom.material = f"surface_{index}"
        for index in range(2):
            light = spec.worldbody.add_light(castshadow=index == 0, specular=[0.3, 0.3, 0.3])
            light.cutoff, light.exponent = _LAMP_CUTOFF_DEG, 0.0
            light.type = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
        spec.worldbody.add_camera(name="camera")
        try:
            return spec.compile()
        except ValueError as error:
            raise SimulationError(f"MuJoCo refuses a model of the pool ({error})") from error


def find_near(scene: HouseholdScene, aspect: float, reach_m: float) -> list[int]:
    """Return the placed models whose ball is seen by the camera, or nearly.

    Args:
        scene: with a camera.
        aspect: width of the image over its height.
        reach_m: how far beside the field of view a ball may lie, in metres.
    """
    if not scene.placed:
        return []
    sizes = np.array([item.model.size for item in scene.placed])
    middles = np.array([item.spot.position for item in scene.placed])
    middles[:, 2] += 0.5 * sizes[:, 2]
    pose = scene.world_from_camera
    x, y, z = ((middles - pose[:3, 3]) @ pose[:3, :3]).T
    radius = 0.5 * np.linalg.norm(sizes, axis=1) + reach_m
    up = np.tan(0.5 * scene.fovy_rad)
    near = z > -radius
    for along, slope in ((x, up * aspect), (y, up)):
        # Distance to the plane through the camera and a side of the image.
        near &= (np.abs(along) - slope * z) / np.hypot(1.0, slope) < radius
    return [int(index) for index in np.flatnonzero(near)]


def _add_material(
    mujoco: Any, spec: Any, name: str, texture: np.ndarray | None, shine: float
) -> None:
    material = spec.add_material(name=name, specular=0.6 * shine, shininess=0.4)
    if texture is None:
        return
    added = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D)
    added.height, added.width = texture.shape[:2]
    added.nchannel = 3
    added.data = texture.tobytes()
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def _add_mesh(mujoco: Any, spec: Any, name: str, part: Part, scale: float) -> None:
    mesh = spec.add_mesh(name=name)
    vertices, uvs = part.vertices * scale, part.uvs
    if len(vertices) == 3:  # MuJoCo takes no single triangle
        vertices, uvs = np.concatenate([vertices, vertices[:1]]), np.concatenate([uvs, uvs[:1]])
    mesh.uservert, mesh.userface = vertices.ravel(), part.faces.ravel()
    if part.surface.texture:
        # MuJoCo's first row is the bottom of an image that has v upwards.
        mesh.usertexcoord = np.stack([uvs[:, 0], 1.0 - uvs[:, 1]], axis=1).ravel()
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL

"""Render scenes to pixels with one MuJoCo model of generic geoms that takes any scene's shape.

Compiled once; every scene rewrites shapes, poses, colours, lights and textures, so that nothing of
an earlier scene is left. No physics is stepped. Knows pixels and owners of geoms, but no labels.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import sys
from typing import Any

import numpy as np

from vl2_ros.errors import SimulationError
from vl2_ros.sim.meshes import lathe_bank
from vl2_ros.sim.pieces import Primitive
from vl2_ros.sim.scene import TEXTURE_SIDE, Scene

NEAR_M, FAR_M = 0.05, 12.0
MAX_GEOMS = 160
INSTALL_HINT = (
    "install software rendering (apt-get install libosmesa6; pip install mujoco PyOpenGL) "
    "or set MUJOCO_GL=egl on a machine with a GPU driver"
)
#: MUJOCO_GL value to the shared library that it needs, in the order in which they are tried; a
#: window system is never asked for.
_LIBRARIES = {"osmesa": "libOSMesa.so", "egl": "libEGL.so"}
#: Of the libraries' own words.
_SHOWN_LETTERS = 200


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
        self._width, self._height = width, height
        self._mujoco = mujoco = _import_mujoco()
        self._model = _compile_model(mujoco, width, height)
        self._data = mujoco.MjData(self._model)
        self._scene = mujoco.MjvScene(self._model, maxgeom=MAX_GEOMS + 32)
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type, self._camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        self._gl, self._context = _open_context(mujoco, self._model, width, height)
        self._geom_types = {
            primitive: int(getattr(mujoco.mjtGeom, f"mjGEOM_{primitive.name}"))
            for primitive in Primitive
        }
        self._mesh_frames = _mesh_frames(mujoco, self._model)

    def close(self) -> None:
        """Free the OpenGL context; further calls do nothing."""
        if self._gl is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._gl = None

    def pose(self, scene: Scene) -> np.ndarray:
        """Write the scene into the stage; return the owner (piece index, -1 none) of each geom."""
        if self._gl is None:
            raise SimulationError("the simulator is closed; make a new TabletopSimulator")
        self._gl.make_current()
        mujoco, model, data = self._mujoco, self._model, self._data
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
        mujoco.mjv_updateScene(
            model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        return owners

    def _pose_surfaces(self, scene: Scene) -> None:
        """Put table (geom 0) and floor (geom 1) in place and upload their textures."""
        model, data = self._model, self._data
        model.geom_group[:2] = 0
        model.geom_size[0] = scene.table_half
        model.geom_size[1] = (8.0, 8.0, 0.01)
        data.geom_xpos[0] = (0.0, 0.0, -scene.table_half[2])
        data.geom_xpos[1] = (0.0, 0.0, scene.floor_z - 0.01)
        data.geom_xmat[:2] = np.eye(3).ravel()
        for index, texture in enumerate((scene.table_texture, scene.floor_texture)):
            first = model.tex_adr[index]
            model.tex_data[first : first + texture.size] = texture.ravel()
            self._mujoco.mjr_uploadTexture(model, self._context, index)

    def _pose_camera_and_lights(self, scene: Scene) -> None:
        model, data = self._model, self._data
        pose = scene.viewpoint.world_from_camera()
        data.cam_xpos[0] = pose[:3, 3]
        # MuJoCo's camera looks along -z with y up.
        data.cam_xmat[0] = (pose[:3, :3] * np.array([1.0, -1.0, -1.0])).ravel()
        model.cam_fovy[0] = np.rad2deg(scene.viewpoint.fovy_rad)
        for index, light in enumerate(scene.lights):
            data.light_xpos[index] = light.position
            data.light_xdir[index] = light.direction
            model.light_diffuse[index] = light.diffuse
        # Ambient light of a lamp that casts shadows is not rendered, that of the headlight is.
        model.vis.headlight.ambient[:] = scene.ambient
        model.vis.headlight.diffuse[:] = scene.camera_light

    def draw_colors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (H, W, 3) uint8 colours and (H, W) float32 distances along the axis in metres."""
        rgb = np.empty((self._height, self._width, 3), dtype=np.uint8)
        raw_depth = np.empty((self._height, self._width), dtype=np.float32)
        self._mujoco.mjr_render(self._viewport, self._scene, self._context)
        self._mujoco.mjr_readPixels(rgb, raw_depth, self._viewport, self._context)
        # Reversed depth buffer: 1 at the near plane, 0 at the far one.
        ratio = NEAR_M / FAR_M
        depth_m = NEAR_M / (raw_depth.astype(np.float64) * (1.0 - ratio) + ratio)
        # OpenGL's first row is the bottom one.
        return rgb[::-1].copy(), depth_m[::-1].astype(np.float32)

    def draw_owners(self, owners: np.ndarray) -> np.ndarray:
        """Return (H, W) uint8, piece index + 1 or 0, for the owners that `pose` returned."""
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


def choose_backend() -> str:
    """Return the offscreen renderer on Linux: MUJOCO_GL, or the first whose library is installed.

    The library is looked for before anything imports it: a failed import of PyOpenGL stays with the
    process and cannot be tried again with another one.

    Raises:
        SimulationError: if MUJOCO_GL names a window system, or no library is there.
    """
    # PyOpenGL takes one platform in a process, which its user may have chosen.
    for variable in ("MUJOCO_GL", "PYOPENGL_PLATFORM"):
        chosen = os.environ.get(variable, "").strip().lower()
        if chosen and chosen not in _LIBRARIES:
            raise SimulationError(
                f"{variable}={chosen} cannot render offscreen; expected "
                f"{' or '.join(_LIBRARIES)}, unset it"
            )
        if chosen:
            return chosen
    for backend, library in _LIBRARIES.items():
        if _can_load(library):
            return backend
    raise SimulationError(f"none of {', '.join(_LIBRARIES.values())} is installed; {INSTALL_HINT}")


def _can_load(library: str) -> bool:
    """Try the names that PyOpenGL tries."""
    for name in (library, *(f"{library}.{version}" for version in range(10))):
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return True
    return False


def _import_mujoco() -> Any:
    """Import MuJoCo with the backend that is chosen, which child processes get as well."""
    if sys.platform.startswith("linux"):
        os.environ["MUJOCO_GL"] = choose_backend()
    try:
        import mujoco
    # It imports PyOpenGL, which answers a missing shared library with an AttributeError.
    except Exception as error:
        raise SimulationError(
            f"MuJoCo cannot be loaded ({_quote(error)}); {INSTALL_HINT}"
        ) from error
    return mujoco


def _open_context(mujoco: Any, model: Any, width: int, height: int) -> tuple[Any, Any]:
    try:
        gl = _context_class(mujoco)(width, height)
        gl.make_current()
        context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    # PyOpenGL, EGL and MuJoCo have errors of their own each.
    except Exception as error:
        raise SimulationError(f"no OpenGL context ({_quote(error)}); {INSTALL_HINT}") from error
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
    context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
    return gl, context


def _context_class(mujoco: Any) -> Any:
    """Choose the context here: `mujoco.GLContext` is a window's when it was imported earlier."""
    if not sys.platform.startswith("linux"):
        return mujoco.GLContext
    return importlib.import_module(f"mujoco.{choose_backend()}").GLContext


def _quote(error: Exception) -> str:
    """Return an error of a library as part of one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_SHOWN_LETTERS]}"


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


def _mesh_frames(mujoco: Any, model: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (shift, rotation) per mesh: the compiler moves vertices to the inertial frame."""
    frames = []
    for index in range(model.nmesh):
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, model.mesh_quat[index])
        frames.append((model.mesh_pos[index].copy(), rotation.reshape(3, 3)))
    return frames

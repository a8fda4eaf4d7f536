"""Choose and open an offscreen OpenGL for MuJoCo: osmesa or EGL.

Knows no scene.
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

INSTALL_HINT = (
    "install software rendering (apt-get install libosmesa6; pip install mujoco PyOpenGL) "
    "or set MUJOCO_GL=egl on a machine with a GPU driver"
)
#: MUJOCO_GL value to the shared library that it needs, in the order in which they are tried; a
#: window system is never asked for.
_LIBRARIES = {"osmesa": "libOSMesa.so", "egl": "libEGL.so"}
#: Of the libraries' own words.
_SHOWN_LETTERS = 200


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


def import_mujoco() -> Any:
    """Import MuJoCo with the backend that is chosen, which child processes get as well.

    Raises:
        SimulationError: if MuJoCo or OpenGL is missing.
    """
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


def open_context(mujoco: Any, model: Any, width: int, height: int) -> tuple[Any, Any]:
    """Return the OpenGL context of this thread and MuJoCo's, with the model uploaded.

    Raises:
        SimulationError: if there is no OpenGL.
    """
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


def mesh_frames(mujoco: Any, model: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (shift, rotation) per mesh: the compiler moves vertices to the inertial frame."""
    frames = []
    for index in range(model.nmesh):
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, model.mesh_quat[index])
        frames.append((model.mesh_pos[index].copy(), rotation.reshape(3, 3)))
    return frames

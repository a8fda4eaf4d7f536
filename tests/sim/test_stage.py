"""The choice of an OpenGL renderer, and the errors where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from vl2_ros.errors import SimulationError
from vl2_ros.sim import offscreen

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="backends of Linux")


@pytest.fixture(autouse=True)
def no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MUJOCO_GL", "PYOPENGL_PLATFORM"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("installed", "wanted"),
    [
        ({"libOSMesa.so", "libEGL.so"}, "osmesa"),
        ({"libOSMesa.so"}, "osmesa"),
        ({"libEGL.so"}, "egl"),
    ],
)
def test_the_first_library_that_is_there_renders(
    monkeypatch: pytest.MonkeyPatch, installed: set[str], wanted: str
) -> None:
    monkeypatch.setattr(offscreen, "_can_load", installed.__contains__)
    assert offscreen.choose_backend() == wanted
    monkeypatch.setenv("MUJOCO_GL", " ")
    assert offscreen.choose_backend() == wanted


def test_no_library_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offscreen, "_can_load", lambda library: False)
    with pytest.raises(SimulationError, match=r"libOSMesa.so, libEGL.so is installed.*libosmesa6"):
        offscreen.choose_backend()


@pytest.mark.parametrize("variable", ["MUJOCO_GL", "PYOPENGL_PLATFORM"])
def test_the_choice_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setattr(offscreen, "_can_load", {"libOSMesa.so"}.__contains__)
    monkeypatch.setenv(variable, "EGL ")
    assert offscreen.choose_backend() == "egl"
    monkeypatch.setenv(variable, "glx")
    with pytest.raises(SimulationError, match=f"{variable}=glx cannot render offscreen"):
        offscreen.choose_backend()


def test_libraries_are_found_by_their_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load(name: str) -> None:
        asked.append(name)
        if name != "libEGL.so.1":
            raise OSError(name)

    monkeypatch.setattr(offscreen.ctypes, "CDLL", load)
    assert offscreen._can_load("libEGL.so")
    assert not offscreen._can_load("libOSMesa.so")
    assert "libOSMesa.so.8" in asked


def simulate_beside(folder: Path, mujoco: str, **environment: str) -> subprocess.CompletedProcess:
    """Run `vl2 simulate` with another package in MuJoCo's place."""
    (folder / "mujoco").mkdir()
    (folder / "mujoco" / "__init__.py").write_text(mujoco)
    path = os.pathsep.join([str(folder), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", "vl2_ros.cli", "simulate", str(folder / "table.mcap")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path} | environment,
    )


@linux_only
@pytest.mark.parametrize(
    ("backend", "raised"),
    [
        ("osmesa", "AttributeError(\"'NoneType' object has no attribute 'glGetError'\")"),
        ("egl", "ImportError('Unable to load OpenGL library\\nlibEGL.so')"),
        ("egl", "type('GLError', (Exception,), {})('no display')"),
    ],
    ids=["AttributeError", "ImportError", "GLError"],
)
def test_missing_library_inside_of_mujoco_is_one_line(
    tmp_path: Path, backend: str, raised: str
) -> None:
    done = simulate_beside(tmp_path, f"raise {raised}", MUJOCO_GL=backend)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    text = " ".join(done.stderr.split())
    assert text.startswith("error: MuJoCo cannot be loaded (") and "libosmesa6" in text
    # One sentence, folded by the width of the terminal.
    assert text.count("error:") == 1 and len(text) < 400


class DeviceError(Exception):
    """What a library may raise: an error of its own."""


class FailingContext:
    def __init__(self, width: int, height: int) -> None:
        raise DeviceError("no EGL\ndevice")


@linux_only
def test_a_context_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setitem(sys.modules, "mujoco.egl", SimpleNamespace(GLContext=FailingContext))
    with pytest.raises(SimulationError, match=r"DeviceError: no EGL device\).*libosmesa6"):
        offscreen.open_context(SimpleNamespace(), None, 64, 48)

"""The package as colcon builds it, for tests in a shell where ROS 2 is sourced."""

from __future__ import annotations

import ctypes
import importlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from filelock import FileLock

import vl2_ros

REPOSITORY = Path(__file__).resolve().parents[2]
#: Git-ignored; later builds find most of it done.
WORKSPACES = REPOSITORY / "build" / "ros"
BUILD_S = 900.0
#: Where commands run: Python looks into the current folder first, and the working copy is no build.
HERE = "/"
#: In the order in which they need each other.
_LIBRARIES = (
    "rosidl_generator_c",
    "rosidl_typesupport_introspection_c",
    "rosidl_typesupport_fastrtps_c",
    "rosidl_typesupport_c",
    "rosidl_generator_py",
)


@cache
def build_workspace(*, symlink: bool = False) -> Path:
    """Build the package with colcon and return its install prefix; a failure is an error."""
    base = WORKSPACES / ("symlink" if symlink else "copy")
    base.mkdir(parents=True, exist_ok=True)
    # Another worker of this run may build there.
    with FileLock(base / "build.lock"):
        _run_colcon(base, "build", *(["--symlink-install"] if symlink else []))
        _remove_stale(base)
    return base / "install"


def run_colcon_test() -> Path:
    """Run `colcon test` on the package as built and return the folder of its results."""
    build_workspace()
    base = WORKSPACES / "copy"
    results = base / "build" / "vl2_ros" / "test_results"
    shutil.rmtree(results, ignore_errors=True)
    _run_colcon(base, "test")
    return results


def _run_colcon(base: Path, verb: str, *options: str) -> None:
    colcon = shutil.which("colcon")
    assert colcon, "rclpy is here but colcon is not: install python3-colcon-common-extensions"
    command = [colcon, "--log-base", str(base / "log"), verb, "--merge-install", *options]
    command += ["--base-paths", str(REPOSITORY), "--packages-select", "vl2_ros"]
    command += ["--build-base", str(base / "build"), "--install-base", str(base / "install")]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=WORKSPACES.parent.parent, timeout=BUILD_S
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _remove_stale(base: Path) -> None:
    """Remove files of an earlier build that have left the sources: an install keeps them."""
    manifests = (base / "build" / "vl2_ros").glob("*install_manifest.txt")
    installed = {line for one in manifests for line in one.read_text().splitlines()}
    for path in (base / "install").glob("lib/python3*/site-packages/vl2*/**/*"):
        is_file = path.is_symlink() or path.is_file()
        if is_file and path.suffix != ".pyc" and str(path) not in installed:
            path.unlink()


@cache
def find_messages() -> None:
    """Make `vl2_ros.msg`, `.srv` and `.action` of a build importable beside the working copy."""
    # `colcon test` runs on the build that it tests.
    built = os.environ.get("VL2_ROS_INSTALL")
    prefix = Path(built) if built else build_workspace()
    library_folder = prefix / "lib"
    # ROS looks for type supports in these folders each time; the linker read them at the start.
    paths = [str(library_folder), os.environ.get("LD_LIBRARY_PATH", "")]
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(paths)
    for name in _LIBRARIES:
        library = library_folder / f"libvl2_ros__{name}.so"
        # The middleware decides which type supports are built.
        if library.exists() or "fastrtps" not in name:
            ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    (packages,) = library_folder.glob("python3*/site-packages/vl2_ros")
    vl2_ros.__path__.append(str(packages))
    importlib.invalidate_caches()


def run_in_ros(
    words: list[str],
    *,
    timeout_s: float = 120.0,
    domain_id: int,
    symlink: bool = False,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would who has sourced ROS 2 and the workspace.

    Args:
        words: of the command.
        timeout_s: most seconds that it may take.
        domain_id: DDS domain.
        symlink: which of the two builds.
        variables: of the environment, besides.
    """
    return subprocess.run(
        ["bash", "-c", 'source "$0/local_setup.bash" && exec "$@"', _prefix(symlink), *words],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=ros_environment(domain_id) | variables,
        cwd=HERE,
    )


def start_in_ros(
    words: list[str], *, domain_id: int, symlink: bool = False, **variables: str
) -> subprocess.Popen[str]:
    """Start a command that keeps running, in a process group of its own."""
    return subprocess.Popen(
        ["bash", "-c", 'source "$0/local_setup.bash" && exec "$@"', _prefix(symlink), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ros_environment(domain_id) | variables,
        cwd=HERE,
        start_new_session=True,
    )


def ros_environment(domain_id: int) -> dict[str, str]:
    """The environment of this process, on one domain of this machine."""
    environment = dict(os.environ)
    environment |= {
        "ROS_DOMAIN_ID": str(domain_id),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "PYTHONUNBUFFERED": "1",
        # torch and the like, which ROS's own Python may lack, are those of this Python.
        "PYTHONPATH": os.pathsep.join(
            [os.environ.get("PYTHONPATH", ""), *(one for one in sys.path if "site-packages" in one)]
        ),
    }
    return environment


def _prefix(symlink: bool) -> str:
    return str(build_workspace(symlink=symlink))

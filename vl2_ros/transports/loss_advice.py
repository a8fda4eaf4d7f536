"""What helps when large messages, such as camera images, are lost on their way."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

#: Bytes of a socket's buffer that the files in launch/ ask for.
WANTED_BUFFER = 4 * 1024 * 1024
_SYSTEM_LIMIT = Path("/proc/sys/net/core/rmem_max")


@dataclass(frozen=True, slots=True)
class _Middleware:
    """Where a middleware is given room for images.

    Attributes:
        name: as people know it.
        file: of this package, with settings for images.
        variables: of the environment; one of them names the file.
    """

    name: str
    file: str
    variables: tuple[str, ...]


_CYCLONE = _Middleware("Cyclone DDS", "launch/cyclonedds.xml", ("CYCLONEDDS_URI",))
_FAST = _Middleware(
    "Fast DDS",
    "launch/fastdds.xml",
    # Up to version 2 it reads the first, from version 3 on the second.
    ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"),
)
_BY_RMW = {
    "rmw_cyclonedds_cpp": _CYCLONE,
    "rmw_fastrtps_cpp": _FAST,
    "rmw_fastrtps_dynamic_cpp": _FAST,
}


def find_largest_buffer() -> int | None:
    """Return how many bytes the system allows a socket's receive buffer; None if not known."""
    with suppress(OSError, ValueError):
        return int(_SYSTEM_LIMIT.read_text())
    return None


def advise_rmw(rmw: str, environment: Mapping[str, str], largest_buffer: int | None) -> str:
    """Return advice for a middleware of ROS 2.

    Args:
        rmw: its identifier, such as `rmw_fastrtps_cpp`.
        environment: of the process; shows whether it has settings already.
        largest_buffer: what `find_largest_buffer` returns.
    """
    middleware = _BY_RMW.get(rmw)
    if middleware is None:
        return f"give {rmw} larger buffers, for this node and for the camera's driver"
    used = [name for name in middleware.variables if environment.get(name)]
    if used:
        advice = (
            f"this node has the settings of {used[0]}; start the camera's driver with "
            f"{middleware.file} of vl2_ros in {middleware.variables[0]}"
        )
    else:
        advice = (
            f"give {middleware.name} room for images: start this node, as perception.launch.py "
            f"does, and the camera's driver with {middleware.file} of vl2_ros in "
            f"{middleware.variables[0]}"
        )
    return advice + _advise_system(largest_buffer)


def advise_dds(largest_buffer: int | None) -> str:
    """Return advice for plain DDS, whose own settings have room for images.

    Args:
        largest_buffer: what `find_largest_buffer` returns.
    """
    files = " or ".join(
        f"{one.file} of vl2_ros in {one.variables[0]} ({one.name})" for one in (_FAST, _CYCLONE)
    )
    advice = f"this node has room for images; start the camera's driver with {files}"
    return advice + _advise_system(largest_buffer)


def _advise_system(largest_buffer: int | None) -> str:
    if largest_buffer is None or largest_buffer >= WANTED_BUFFER:
        return ""
    return (
        f"; the system allows buffers of {largest_buffer} bytes only: "
        f"sysctl -w net.core.rmem_max={WANTED_BUFFER}"
    )

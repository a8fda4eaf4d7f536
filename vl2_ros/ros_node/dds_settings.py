"""The settings of DDS that launch files give to processes, unless the user has own ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

#: Files in the folder of the launch files; each reads like its middleware's documentation.
CYCLONE_FILE, FAST_FILE = "cyclonedds.xml", "fastdds.xml"
#: What Fast DDS reads: up to version 2, and from version 3 on.
_FAST_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
#: A profile with transports would undo it.
_FAST_TRANSPORTS = "FASTDDS_BUILTIN_TRANSPORTS"
#: What Fast DDS reads in the folder of the process, of the same versions.
_FAST_LOCAL_FILES = ("DEFAULT_FASTRTPS_PROFILES.xml", "DEFAULT_FASTDDS_PROFILES.xml")


def choose_dds_settings(
    environment: Mapping[str, str], launch_folder: Path, working_folder: Path
) -> dict[str, str]:
    """Choose environment variables with which camera images reach a process.

    A middleware reads its own variables only, so that all may be set whichever is in use.

    Args:
        environment: of the process; what the user has set for a middleware stays.
        launch_folder: absolute, has the files of this package.
        working_folder: of the process, where Fast DDS looks for profiles of the user as well.

    Returns:
        The variables to be added to the environment.
    """
    chosen = {}
    if not environment.get("CYCLONEDDS_URI"):
        chosen["CYCLONEDDS_URI"] = f"file://{launch_folder / CYCLONE_FILE}"
    if not _has_own_fast_settings(environment, working_folder):
        chosen |= dict.fromkeys(_FAST_VARIABLES, str(launch_folder / FAST_FILE))
    return chosen


def _has_own_fast_settings(environment: Mapping[str, str], working_folder: Path) -> bool:
    if any(environment.get(name) for name in (*_FAST_VARIABLES, _FAST_TRANSPORTS)):
        return True
    # Humble restricts a process to its machine by transports, beside which ours would be open.
    if (environment.get("ROS_DISTRO"), environment.get("ROS_LOCALHOST_ONLY")) == ("humble", "1"):
        return True
    return any((working_folder / name).exists() for name in _FAST_LOCAL_FILES)

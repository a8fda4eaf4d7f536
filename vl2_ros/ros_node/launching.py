"""What the launch files are made of: arguments, parameters that were given, DDS, rviz."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_directory,
)
from launch.action import Action
from launch.actions import DeclareLaunchArgument, LogInfo
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.utilities import make_namespace_absolute, prefix_namespace

from launch import LaunchContext
from vl2_ros.errors import ConfigError
from vl2_ros.node.parameters import HearingParameters, NodeParameters, ProcessParameters
from vl2_ros.parameter_table import note_of
from vl2_ros.ros_node.dds_settings import choose_dds_settings

_TABLES = (ProcessParameters, NodeParameters, HearingParameters)
#: Seconds between the end of a node and the start of the next.
_RESPAWN_DELAY_S = 1.0
#: Stands in rviz's file for the node's full name.
_DEFAULT_NAME = "/vl2/"


class Argument(NamedTuple):
    """An argument of a launch file: its name, default and meaning."""

    name: str
    default: str
    text: str


def make_parameter_arguments(names: Iterable[str]) -> list[Argument]:
    """Make arguments that set parameters of the node; by default the parameter file decides."""
    return [
        Argument(name, "", f"{_look_up(name)[0]}; not given: that of params_file") for name in names
    ]


def declare(arguments: Iterable[Argument]) -> list[DeclareLaunchArgument]:
    """Make the actions that declare arguments."""
    return [
        DeclareLaunchArgument(one.name, default_value=one.default, description=one.text)
        for one in arguments
    ]


def read_parameters(context: LaunchContext, names: Iterable[str]) -> dict[str, ParameterValue]:
    """Read the parameters whose arguments were given; the others are the parameter file's.

    Args:
        context: with the arguments.
        names: of parameters. Values of a list are separated by commas.

    Raises:
        ConfigError: if a value is not of the parameter's type.
    """
    given = {name: context.launch_configurations[name] for name in names}
    # Wrapped, or launch would read a text such as "12" as a number.
    return {name: ParameterValue(_parse(name, text)) for name, text in given.items() if text}


def find_params_file(context: LaunchContext) -> str:
    """Return the parameter file.

    Raises:
        ConfigError: if it does not exist; launch would start the node with defaults.
    """
    path = str(context.launch_configurations["params_file"])
    if not Path(path).is_file():
        raise ConfigError(
            f"params_file must be an existing file of parameters, got {path!r}; "
            "launch/perception.yaml of this package is an example"
        )
    return path


def find_remappings(context: LaunchContext, topics: Iterable[str]) -> list[tuple[str, str]]:
    """Return the topics that an argument of the same name gives another name."""
    given = {topic: context.launch_configurations[topic] for topic in topics}
    return [(topic, name) for topic, name in given.items() if name]


def find_environment(context: LaunchContext) -> dict[str, str]:
    """Return the variables that processes of a launch need for DDS, besides the user's own."""
    if not is_true("dds_settings", context.launch_configurations["dds_settings"]):
        return {}
    return choose_dds_settings(context.environment, find_launch_folder(), Path.cwd())


def find_launch_folder() -> Path:
    """Return the installed folder of the launch files."""
    return Path(get_package_share_directory("vl2_ros")) / "launch"


def find_namespace(context: LaunchContext) -> str:
    """Return the absolute namespace of the node, that of the groups around it included."""
    outer = context.launch_configurations.get("ros_namespace")
    given = context.launch_configurations["namespace"]
    return str(make_namespace_absolute(prefix_namespace(outer, given)) or "/")


def make_node(
    context: LaunchContext,
    executable: str,
    name: str,
    parameters: Iterable[str],
    topics: Iterable[str],
) -> Node:
    """Make the process of one of this package's nodes.

    Args:
        context: with the arguments.
        executable: of the package.
        name: of the node.
        parameters: those that arguments set.
        topics: those that arguments of the same name remap.
    """
    given = context.launch_configurations
    values = read_parameters(context, parameters)
    if executable == "hearing":
        values["node"] = ParameterValue(given["name"])
    return Node(
        package="vl2_ros",
        executable=executable,
        name=name,
        namespace=given["namespace"],
        output="screen",
        emulate_tty=True,
        respawn=is_true("respawn", given["respawn"]),
        respawn_delay=_RESPAWN_DELAY_S,
        parameters=[find_params_file(context), values],
        remappings=find_remappings(context, topics),
        ros_arguments=["--log-level", given["log_level"]],
        additional_env=find_environment(context),
    )


def make_rviz(context: LaunchContext) -> Action:
    """Make the process of rviz, which shows the node by its name; a log line without rviz."""
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return LogInfo(
            msg="rviz2 is not installed, so nothing is drawn: apt install "
            f"ros-{os.environ.get('ROS_DISTRO', '<distro>')}-rviz2; rviz:=false skips it"
        )
    name = context.launch_configurations["name"]
    node = f"{find_namespace(context).rstrip('/')}/{name}/"
    text = (find_launch_folder() / "perception.rviz").read_text(encoding="utf-8")
    with tempfile.NamedTemporaryFile(
        "w", prefix="vl2_ros_", suffix=".rviz", delete=False, encoding="utf-8"
    ) as file:
        file.write(text.replace(_DEFAULT_NAME, node))
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", file.name],
        additional_env=find_environment(context),
    )


def _look_up(name: str) -> tuple[str, Any]:
    """Return what a parameter means, and its default."""
    if name == "use_sim_time":
        # Every ROS node has it; it is in no table of ours.
        return "Take the time from /clock", False
    table = next(one for one in _TABLES if name in one.__dataclass_fields__)
    note = note_of(name, table)
    text = f"{note.text} [{', '.join(note.choices)}]" if note.choices else note.text
    return text, table.__dataclass_fields__[name].default


def _parse(name: str, text: str) -> bool | str | list[str]:
    _, default = _look_up(name)
    if isinstance(default, bool):
        return is_true(name, text)
    if isinstance(default, tuple):
        # Empty places stay: the lists of cameras and of their depth belong together.
        return [place.strip(" '\"") for place in text.strip("[] ").split(",")]
    return text


def is_true(name: str, text: str) -> bool:
    """Read an argument that is true or false.

    Raises:
        ConfigError: if it is neither.
    """
    if text.lower() not in ("true", "false"):
        raise ConfigError(f"{name} must be true or false, got {text!r}")
    return text.lower() == "true"

"""Resolve topic names, as a user writes them, to absolute names by the rules of ROS 2."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vl2_ros.errors import ConfigError

# What the ROS middleware leaves of DDS's 255 characters for a name without its prefix.
_LONGEST_NAME = 247
_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def resolve_topic(
    topic: str, node_name: str, namespace: str = "", remap: Mapping[str, str] | None = None
) -> str:
    """Make a topic name absolute and apply the first remapping that names it.

    Args:
        topic: relative (`image`), private (`~/result`) or absolute (`/camera/image_raw`).
        node_name: name of the node, without its namespace.
        namespace: of the node, with or without slashes at its ends; empty is the root.
        remap: topic to its other name, both in any of the three forms; applied once.

    Returns:
        The absolute name, such as `/robot/vl2/result`.

    Raises:
        ConfigError: if a name is no ROS name.
    """
    name = _expand(topic, node_name, namespace)
    for source, target in (remap or {}).items():
        if _expand(source, node_name, namespace) == name:
            return _expand(target, node_name, namespace)
    return name


def join_node_name(node_name: str, namespace: str = "") -> str:
    """Return the absolute name of a node, such as `/robot/vl2`.

    Raises:
        ConfigError: if a name is no ROS name.
    """
    if not _PART.match(node_name):
        raise ConfigError(
            f"node name {node_name!r} must be letters, digits and underscores, no digit first"
        )
    return _check(f"{clean_namespace(namespace)}/{node_name}".replace("//", "/"), node_name)


def clean_namespace(namespace: str) -> str:
    """Return a namespace with one slash before and none behind; the root is `/`.

    Raises:
        ConfigError: if it is no ROS name.
    """
    name = "/" + namespace.strip("/")
    return name if name == "/" else _check(name, namespace)


def _expand(topic: str, node_name: str, namespace: str) -> str:
    node = join_node_name(node_name, namespace)
    if topic == "~" or topic.startswith("~/"):
        return _check(node + topic[1:], topic)
    if topic.startswith("/"):
        return _check(topic, topic)
    return _check(f"{node.rpartition('/')[0]}/{topic}", topic)


def _check(name: str, written: str) -> str:
    if not all(_PART.match(part) for part in name[1:].split("/")):
        raise ConfigError(
            f"{written!r} is no ROS name: expected parts of letters, digits and underscores, no "
            "digit first, joined by single slashes, `~/` only in front"
        )
    if len(name) > _LONGEST_NAME:
        raise ConfigError(f"{name!r} has {len(name)} characters, expected at most {_LONGEST_NAME}")
    return name

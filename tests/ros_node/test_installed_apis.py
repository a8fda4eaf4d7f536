"""The table of ROS APIs against the distribution that is sourced."""

from __future__ import annotations

import importlib
import inspect

import pytest

from tests.ros_node.ros_apis import KEYWORDS, METHODS

pytestmark = pytest.mark.ros


def check(call, keywords: frozenset[str]) -> None:
    try:
        parameters = inspect.signature(call).parameters
    except ValueError:
        return  # of a class that is made in C++
    if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        assert keywords <= parameters.keys()


@pytest.mark.parametrize("name", sorted(KEYWORDS))
def test_the_distribution_has_the_name_and_takes_the_keywords(name):
    module, _, item = name.rpartition(".")
    if module.startswith("tf2_ros"):
        pytest.importorskip("tf2_ros", reason="ros: tf2_ros is not installed")
    found = getattr(importlib.import_module(module), item)
    if hasattr(found, "get_fields_and_field_types"):
        assert KEYWORDS[name] <= found.get_fields_and_field_types().keys()
    else:
        check(found, KEYWORDS[name])


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"lookup_transform"}))
def test_the_methods_of_a_node_take_the_keywords(name):
    from rclpy.clock import Clock
    from rclpy.lifecycle import LifecycleNode

    owner = Clock if name == "create_jump_callback" else LifecycleNode
    check(getattr(owner, name), METHODS[name])

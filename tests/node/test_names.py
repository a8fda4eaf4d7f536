from __future__ import annotations

import pytest

from vl2_ros.errors import ConfigError
from vl2_ros.node.names import clean_namespace, join_node_name, resolve_topic


@pytest.mark.parametrize(
    ("topic", "namespace", "absolute"),
    [
        ("image", "", "/image"),
        ("image", "/", "/image"),
        ("image", "robot", "/robot/image"),
        ("image/compressed", "/robot/arm/", "/robot/arm/image/compressed"),
        ("~/result", "", "/vl2/result"),
        ("~/result", "robot", "/robot/vl2/result"),
        ("~", "robot", "/robot/vl2"),
        ("/camera/image_raw", "robot", "/camera/image_raw"),
    ],
)
def test_topics_become_absolute(topic, namespace, absolute):
    assert resolve_topic(topic, "vl2", namespace) == absolute


@pytest.mark.parametrize("source", ["image", "/robot/image"])
@pytest.mark.parametrize("target", ["/camera/image_raw", "camera", "~/camera"])
def test_remapping_takes_every_form_on_both_sides(source, target):
    expected = {"camera": "/robot/camera", "~/camera": "/robot/vl2/camera"}.get(target, target)
    assert resolve_topic("image", "vl2", "robot", {source: target}) == expected


def test_remapping_matches_whole_names_and_is_applied_once():
    remap = {"image": "other", "other": "third"}
    assert resolve_topic("image", "vl2", "", remap) == "/other"
    assert resolve_topic("image/compressed", "vl2", "", remap) == "/image/compressed"


def test_first_remapping_that_matches_wins():
    assert resolve_topic("image", "vl2", "", {"/image": "a", "image": "b"}) == "/a"


@pytest.mark.parametrize(
    "topic",
    ["", "/", "a//b", "a/", "1image", "a/2b", "im age", "a-b", "a/~/b", "~result", "ä", "a\n"],
)
def test_what_is_no_ros_name_is_refused(topic):
    with pytest.raises(ConfigError, match="no ROS name"):
        resolve_topic(topic, "vl2")


def test_wrong_remappings_are_refused_even_when_they_do_not_match():
    with pytest.raises(ConfigError, match="no ROS name"):
        resolve_topic("image", "vl2", "", {"b ad": "x"})


def test_names_too_long_for_the_middleware_are_refused():
    assert resolve_topic("a" * 246, "vl2")
    with pytest.raises(ConfigError, match="248 characters"):
        resolve_topic("a" * 247, "vl2")


@pytest.mark.parametrize("name", ["", "a/b", "1a", "a b", "/vl2", "a\n"])
def test_node_names_have_one_part(name):
    with pytest.raises(ConfigError, match="node name"):
        join_node_name(name)


def test_node_names_carry_their_namespace():
    assert join_node_name("vl2") == "/vl2"
    assert join_node_name("vl2", "a/b") == "/a/b/vl2"
    assert clean_namespace("") == "/"
    assert clean_namespace("a/") == "/a"
    with pytest.raises(ConfigError):
        clean_namespace("a//b")

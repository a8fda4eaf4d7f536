from __future__ import annotations

import pytest

from vl2_ros.errors import ConfigError
from vl2_ros.node.parameters import NodeParameters, ProcessParameters
from vl2_ros.parameter_table import note_of, read_list, write_list
from vl2_ros.structures import SCHEDULERS, ImageOptions
from vl2_ros.structures.image_options import MAX_STEPS


def test_choices_of_images_are_those_of_commands():
    assert note_of("image_scheduler", NodeParameters).choices == ("auto", *SCHEDULERS[1:])
    assert note_of("image_steps", NodeParameters).most == MAX_STEPS
    assert NodeParameters().fill_image_options(ImageOptions()) == ImageOptions()


def test_commands_go_before_the_nodes_own():
    own = NodeParameters(image_steps=9, image_seed=5, image_scheduler="lcm")
    assert own.fill_image_options(ImageOptions()) == ImageOptions(5, 9, scheduler="lcm")
    wanted = ImageOptions(0, 3, 2.0, 1.0, (64, 64), "ddim")
    assert own.fill_image_options(wanted) == wanted


@pytest.mark.parametrize(
    ("table", "values", "expected"),
    [
        (NodeParameters, {"image_steps": 1001}, "image_steps must be at most 1000, got 1001"),
        (NodeParameters, {"image_seed": -1}, "image_seed must be at least 0"),
        (NodeParameters, {"image_scheduler": ""}, "image_scheduler must be one of auto, ddim"),
        (NodeParameters, {"target_frame": "/base"}, "target_frame must be the name of a frame"),
        (NodeParameters, {"target_frame": " base"}, "spaces around it, got ' base'"),
        (NodeParameters, {"transform_timeout_s": 11.0}, "transform_timeout_s must be at most 10"),
        (
            NodeParameters,
            {"cameras": ("a", "b"), "depth_topics": ("a/depth",)},
            r"depth_topics must have one topic for each of the 2 cameras \['a', 'b'\], \"\" for "
            r"one without depth, or be empty, got \['a/depth'\]",
        ),
        (NodeParameters, {"depth_topics": ("depth", "more")}, "for each of the 1 cameras"),
        (ProcessParameters, {"memory_budget_mb": -1.0}, "memory_budget_mb must be at least 0"),
        (ProcessParameters, {"memory_budget_mb": float("nan")}, "memory_budget_mb must be"),
    ],
)
def test_values_out_of_range_are_named(table, values, expected):
    with pytest.raises(ConfigError, match=expected):
        table(**values)


@pytest.mark.parametrize(
    ("topics", "expected"),
    [
        (("", "right/depth"), ["", "right/depth"]),
        (("left/depth", ""), ["left/depth", ""]),
        ((), ["", ""]),
        (("", ""), ["", ""]),
        (("depth",), ["depth", ""]),
    ],
)
def test_depth_topics_keep_their_places(topics, expected):
    parameters = NodeParameters(cameras=("left", "right"), depth_topics=topics)
    assert [parameters.find_depth_topic(camera) for camera in ("left", "right")] == expected


@pytest.mark.parametrize("values", [(), ("a",), ("", "a"), ("a", ""), ("", "")])
def test_lists_are_read_as_they_were_written(values):
    written = write_list(values)
    assert written and read_list(written) == values

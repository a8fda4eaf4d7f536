from __future__ import annotations

import numpy as np
import pytest

from tests.node.wire import make_image, make_points
from vl2_ros.errors import InputError
from vl2_ros.node.messages.command_messages import (
    read_command,
    read_mode,
    read_sender,
    read_text_command,
)
from vl2_ros.node.request import Mode, Request
from vl2_ros.structures import ImageOptions, PromptKind, RunLengths, WatchMode
from vl2_ros.transports.message_types import StoreMessageTypes

TYPES = StoreMessageTypes()


def make_command(**fields):
    return TYPES.make("vl2_ros/msg/VisionCommand", **({"id": "a", "text": "find it"} | fields))


def make_prompt(**fields):
    return TYPES.make("vl2_ros/msg/VisualPrompt", **fields)


def read(**fields) -> Request:
    message = make_command(**fields)
    return read_command(message, read_sender(message))


def test_plain_command_leaves_the_rest_to_the_node():
    request = read()
    assert (request.id, request.text, request.mode) == ("a", "find it", Mode.ASK)
    assert (request.camera, request.rate_hz, request.duration_s) == ("", 0.0, 0.0)
    assert (request.deadline_s, request.score_threshold) == (0.0, None)
    assert (request.visual_prompts, request.images) == ((), ())


def test_every_field_arrives():
    request = read(
        mode=1, camera="left", rate_hz=10.0, duration_s=2.5, deadline_s=0.5, score_threshold=0.25
    )
    assert (request.mode, request.camera, request.rate_hz) == (Mode.WATCH, "left", 10.0)
    assert (request.duration_s, request.deadline_s) == (2.5, 0.5)
    assert request.score_threshold == 0.25


@pytest.mark.parametrize("value", range(5))
def test_mode_of_a_watch_arrives_and_zero_leaves_it_open(value):
    assert read(mode=1, watch_mode=value).watch_mode is (WatchMode(value) if value else None)


def test_constants_of_the_wire_are_those_of_the_program():
    message = make_command()
    for kind, prefix in ((Mode, ""), (WatchMode, "WATCH_")):
        for one in kind:
            assert getattr(message, f"{prefix}{one.name}") == one


def make_options(**fields):
    return TYPES.make("vl2_ros/msg/ImageOptions", **fields)


def test_options_of_images_arrive_and_zero_leaves_them_open():
    assert read().image_options == ImageOptions()
    options = make_options(
        seed=2**63 - 1,
        steps=20,
        guidance=7.5,
        image_guidance=1.5,
        height=512,
        width=640,
        scheduler="dpm++",
    )
    expected = ImageOptions(2**63 - 1, 20, 7.5, 1.5, (512, 640), "dpm++")
    assert read(image_options=options).image_options == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"steps": 10_000}, r"steps must lie in 1..1000, got 10000"),
        ({"seed": 2**63}, "seed must lie in 0.."),
        ({"guidance": float("nan")}, "guidance must be a number in 0..100, got nan; 7.5 is usual"),
        ({"guidance": -1.0}, "guidance must be a number in 0..100, got -1"),
        ({"image_guidance": float("inf")}, "image_guidance must be a number in 0..100, got inf"),
        ({"height": 512}, "height and width of an image are given together, .* got 512 and 0"),
        ({"height": 500, "width": 512}, r"multiples of 8 in 64..2048, got \(500, 512\)"),
        ({"height": 4096, "width": 4096}, "multiples of 8 in 64..2048"),
        ({"scheduler": "magic"}, "unknown scheduler 'magic'; expected one of ddim"),
        ({"scheduler": "\ufffd"}, "the scheduler contains bytes that are not UTF-8"),
    ],
)
def test_options_that_cannot_be_used_are_named(fields, expected):
    with pytest.raises(InputError, match=expected):
        read(image_options=make_options(**fields))


def test_text_message_is_an_ask_with_an_id_of_its_own():
    message = TYPES.make("std_msgs/msg/String", data="find it")
    first, second = (read_text_command(message, read_sender(message)) for _ in range(2))
    assert (first.text, first.mode, first.camera) == ("find it", Mode.ASK, "")
    assert first.id and second.id and first.id != second.id


def test_command_without_an_id_gets_one():
    assert read(id="").id


def test_prompts_of_every_kind_arrive():
    mask = np.zeros((4, 6), np.bool_)
    mask[1:3, 2:5] = True
    counts = RunLengths.encode(mask).counts
    wire_mask = TYPES.make("vl2_ros/msg/InstanceMask", height=4, width=6, counts=counts)
    prompts = read(
        images=[make_image(TYPES)],
        visual_prompts=[
            make_prompt(kind=0, points=make_points(TYPES, (1, 2))),
            make_prompt(kind=1, points=make_points(TYPES, (1, 2), (3, 4)), image=1),
            make_prompt(kind=2, points=make_points(TYPES, (1, 2), (3, 4))),
            make_prompt(kind=3, points=make_points(TYPES, (1, 2), (3, 4), (5, 2))),
            make_prompt(kind=4, mask=wire_mask),
        ],
    ).visual_prompts
    assert [prompt.kind for prompt in prompts] == list(PromptKind)
    assert [prompt.image for prompt in prompts] == [0, 1, 0, 0, 0]
    assert prompts[3].points_xy.tolist() == [[1, 2], [3, 4], [5, 2]]
    np.testing.assert_array_equal(prompts[4].decode_mask(), mask)


def test_further_images_are_stored_and_decoded_later():
    rgb = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    good, bad = make_image(TYPES, 5, rgb=rgb), make_image(TYPES, step=1)
    images = read(images=[good, bad]).images
    frame = images[0].decode()
    np.testing.assert_array_equal(frame.rgb, rgb)
    assert (frame.stamp_ns, frame.frame_id) == (5, "camera_link")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"watch_mode": 5}, r"watch_mode must be one of 1 \(PLAIN\), .*4 \(AUTO\), .*got 5"),
        ({"text": ""}, "the command is empty"),
        ({"text": " \n"}, "the command is empty"),
        ({"text": "x" * 1_000_000}, "has 1000000 characters, at most 4000"),
        ({"text": "find \ufffd"}, "not UTF-8"),
        ({"text": "find \udcff"}, "not UTF-8"),
        ({"id": "\ufffd"}, "the id contains bytes that are not UTF-8"),
        ({"id": "i" * 300}, "id has 300 characters, at most 256"),
        ({"mode": 7}, r"mode must be one of 0 \(ASK\).*got 7"),
        ({"rate_hz": float("nan")}, "rate_hz must be zero or a positive number, got nan"),
        ({"rate_hz": -1.0}, "rate_hz"),
        ({"duration_s": float("inf")}, "duration_s"),
        ({"deadline_s": float("nan")}, "deadline_s"),
        ({"score_threshold": 1.5}, "score_threshold must lie in 0..1, got 1.5"),
        ({"score_threshold": float("nan")}, "score_threshold"),
        ({"visual_prompts": [make_prompt(kind=9)]}, "kind of a visual prompt.*got 9"),
        ({"visual_prompts": [make_prompt(kind=1)]}, "kind BOX needs 2 to 2 points, got 0"),
        (
            {"visual_prompts": [make_prompt(points=make_points(TYPES, (1, 1)), image=1)]},
            "points into image 1, but the command has 0 images",
        ),
    ],
)
def test_what_cannot_be_used_is_named(fields, expected):
    with pytest.raises(InputError, match=expected):
        read(**fields)


def test_mask_whose_runs_do_not_fill_it_is_refused():
    wire = TYPES.make(
        "vl2_ros/msg/InstanceMask", height=4, width=6, counts=np.array([3], np.uint32)
    )
    with pytest.raises(InputError, match="add up to 3, expected 24"):
        read(visual_prompts=[make_prompt(kind=4, mask=wire)])


def test_stop_needs_no_text():
    assert read_mode(make_command(mode=2, text="")) is Mode.STOP


def test_sender_is_read_from_the_worst_of_commands():
    message = make_command(id="i" * 300, text="x" * 10_000 + "\udcff", camera="\udc80", mode=99)
    sender = read_sender(message)
    assert (sender.id, sender.text, sender.camera) == ("i" * 256, "x" * 4000, "?")
    assert read_sender(make_command(text="\udcff")).text == "?"

"""Generated and edited images: options in, images and the options that reproduce them out."""

from __future__ import annotations

import numpy as np
import pytest

from tests.node.scripted_perceiver import STEPS
from tests.node.wire import make_image, stamp_of
from vl2_ros.clients.client import make_options_message
from vl2_ros.node.request import Status
from vl2_ros.structures import ImageOptions, Route

MS = 1_000_000


def start(rig, **parameters) -> np.ndarray:
    """Start with one image of noise on the camera, and return it."""
    rig.start(**parameters)
    rgb = np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    rig.show(rig.open_camera(), 5 * MS, message=make_image(rig.client.types, 5 * MS, rgb=rgb))
    return rgb


def command(rig, command_id: str, text: str, **options) -> None:
    message = make_options_message(rig.client.types, ImageOptions(**options))
    rig.command(command_id, text, image_options=message)


def pixels_of(image) -> np.ndarray:
    return np.asarray(image.data).reshape(image.height, image.width, 3)


def test_options_reach_the_model_and_come_back_with_the_image(rig):
    start(rig)
    options = {
        **{"seed": 2**63 - 1, "steps": 7, "guidance": 7.5, "image_guidance": 1.5},
        **{"size_hw": (72, 128), "scheduler": "dpm++"},
    }
    command(rig, "a", "paint it", **options)
    (result,) = rig.results.wait_for("a")
    ((_, asked),) = rig.perceiver.seen
    assert asked.image_options == ImageOptions(**options)
    assert (result.status, result.routes, result.instances) == (Status.OK, ["generate"], [])
    (made,) = result.images
    assert (made.route, made.seed, made.steps) == ("generate", 2**63 - 1, 7)
    assert made.scheduler == "dpm++"
    assert pixels_of(made.image).shape == (72, 128, 3)
    # Of the same moment, but of no place.
    assert (stamp_of(made.image), made.image.header.frame_id) == (5 * MS, "")


def test_edit_has_the_header_and_the_pixels_of_its_image(rig):
    rgb = start(rig)
    command(rig, "a", "change it")
    (result,) = rig.results.wait_for("a")
    (made,) = result.images
    assert (made.route, made.image.encoding, stamp_of(made.image)) == ("edit", "rgb8", 5 * MS)
    assert made.image.header == result.header
    np.testing.assert_array_equal(pixels_of(made.image), 255 - rgb)


def test_options_default_to_the_nodes_and_then_the_models(rig):
    start(rig, image_steps=9, image_scheduler="lcm", image_seed=5)
    command(rig, "open", "paint it")
    (result,) = rig.results.wait_for("open")
    assert (result.images[0].seed, result.images[0].steps) == (5, 9)
    assert result.images[0].scheduler == "lcm"
    command(rig, "said", "paint it", steps=3, seed=6, scheduler="ddim")
    (result,) = rig.results.wait_for("said")
    assert (result.images[0].seed, result.images[0].steps) == (6, 3)
    assert result.images[0].scheduler == "ddim"


def test_sentence_alone_generates_with_the_models_defaults(rig):
    start(rig)
    rig.say("paint it")
    (result,) = rig.results.wait()
    assert (result.images[0].steps, result.images[0].scheduler) == (STEPS, "pndm")
    assert rig.perceiver.seen[0][1].image_options == ImageOptions()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"steps": 10_000}, "steps must lie in 1..1000, got 10000"),
        ({"guidance": float("nan")}, "guidance must be a number in 0..100, got nan"),
        ({"height": 100, "width": 100}, "multiples of 8 in 64..2048, got (100, 100)"),
        ({"scheduler": "magic"}, "unknown scheduler 'magic'"),
    ],
)
def test_options_that_cannot_be_used_are_invalid(rig, options, expected):
    start(rig)
    message = rig.client.types.make("vl2_ros/msg/ImageOptions", **options)
    rig.command("a", "paint it", image_options=message)
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.is_final) == (Status.INVALID, True)
    assert expected in result.message and rig.perceiver.seen == []


def test_image_from_a_decoder_that_is_switched_off_says_so(rig):
    start(rig)
    rig.perceiver.without = (Route.GENERATE,)
    command(rig, "a", "paint it")
    (result,) = rig.results.wait_for("a")
    assert result.status == Status.FAILED and list(result.images) == []
    assert "RouteError" in result.message and "image_generation is switched off" in result.message
    command(rig, "b", "change it")
    assert rig.results.wait_for("b")[0].status == Status.OK

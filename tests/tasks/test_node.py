"""Visual prompts, examples and label maps over messages: VisionCommand in, typed topics out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.flow.test_pipeline_images import Generator, make_pipeline
from tests.node.scripted_perceiver import ScriptedPerceiver
from tests.node.wire import make_image, make_points
from tests.tasks.network import ODD_HW, Network, make_frame
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.node.messages.rle import read_mask
from vl2_ros.node.request import Status
from vl2_ros.structures import UNLABELLED, Route, RunLengths
from vl2_ros.transports.message_types import StoreMessageTypes

TYPES = StoreMessageTypes()
HALF = np.array([[0.75, 0.5, 0.5, 1.0]], np.float32)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.perceiver = ScriptedPerceiver()
    rig.close()


def start(rig: Rig, network: Network, answer: str) -> None:
    rig.perceiver = network.pipeline(answer)  # type: ignore[assignment]
    rig.start()
    rig.show(rig.open_camera(), 7, message=make_image(TYPES, 7, rgb=make_frame(*ODD_HW).rgb))


def make_prompt(**fields):
    return TYPES.make("vl2_ros/msg/VisualPrompt", **fields)


def test_a_point_and_a_box_come_back_as_masks(rig, network):
    logits = np.array([[3.0, -20.0], [-20.0, 2.0]], np.float32)
    network.see(logits, np.repeat(HALF, 2, axis=0))
    start(rig, network, "I found: region1[DET], region2[DET].")
    prompts = [
        make_prompt(kind=0, points=make_points(TYPES, (100, 40))),
        make_prompt(kind=1, points=make_points(TYPES, (10, 20), (200, 300))),
    ]
    rig.command("a", "segment these", visual_prompts=prompts)
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.routes) == (Status.OK, ["detect"])
    one, other = result.instances
    assert (one.label, other.label) == ("region1", "region2")
    assert (one.box.center.position.x, one.box.size_x) == (375.75, 250.5)
    mask = read_mask(one.mask).decode()
    assert mask.shape == ODD_HW and mask[:, 267:].all() and not mask[:, :267].any()
    inputs, _ = network.regions.calls[0]
    assert inputs["masks"].sum(axis=(1, 2)).tolist() == [1, 22 * 48]


def test_an_example_with_a_mask_finds_the_same_thing(rig, network):
    network.see(np.array([[3.0]], np.float32), HALF)
    start(rig, network, "It is here[DET].")
    mask = np.zeros((200, 200), np.bool_)
    mask[100:, :100] = True
    wire_mask = TYPES.make(
        "vl2_ros/msg/InstanceMask", height=200, width=200, counts=RunLengths.encode(mask).counts
    )
    rig.command(
        "a",
        "find the same thing",
        images=[make_image(TYPES, rgb=make_frame(200, 200).rgb)],
        visual_prompts=[make_prompt(kind=4, mask=wire_mask, image=1)],
    )
    (result,) = rig.results.wait_for("a")
    assert (result.status, [one.label for one in result.instances]) == (Status.OK, ["object"])
    inputs, _ = network.regions.calls[0]
    assert inputs["tile_index"].tolist() == [4]
    assert inputs["masks"][0, 28:, :28].all() and inputs["masks"].sum() == 28 * 28


def test_a_region_is_described_on_the_answer_topic(rig, network):
    start(rig, network, "A red mug.")
    answers = rig.subscribe("~/answer")
    prompt = make_prompt(kind=0, points=make_points(TYPES, (100, 40)))
    rig.command("a", "what is this?", visual_prompts=[prompt])
    (result,) = rig.results.wait_for("a")
    assert (result.text, result.routes) == ("A red mug.", ["answer"])
    (answer,) = answers.wait()
    assert answer.data == "A red mug."


def test_a_number_is_in_the_text_and_its_boxes_in_the_instances(rig, network):
    network.see(np.array([[3.0], [2.0]], np.float32), np.repeat(HALF, 2, axis=0))
    start(rig, network, "I found: mug[DET].")
    rig.command("a", "how many mugs are there?")
    (result,) = rig.results.wait_for("a")
    assert (result.text, len(result.instances)) == ("I found 2 mugs.", 2)


def test_a_semantic_map_comes_with_its_legend_also_to_who_is_late(rig, network):
    logits = np.array([[3.0, -20.0], [-20.0, 2.0]], np.float32)
    network.see(logits, np.repeat(HALF, 2, axis=0))
    start(rig, network, "I found: road[SEG], sky[SEG].")
    images = rig.subscribe("~/label_image")
    rig.command("a", "label every pixel as road and sky", score_threshold=0.5)
    (image,) = images.wait()
    labels = image.data.view(np.uint16).reshape(ODD_HW)
    assert (image.encoding, image.step) == ("16UC1", 2 * 501)
    # Query 0 sees the right half, query 1 the lower one; at the seams they fade.
    # Cells 12 and 8 have their centres at 278 and 189, cells 11 and 7 at 256 and 167.
    assert (labels[:, 279:] == 0).all() and (labels[189:, :256] == 1).all()
    assert (labels[:166, :256] == UNLABELLED).all()
    (info,) = rig.subscribe("~/label_info").wait()
    assert [(one.class_id, one.class_name) for one in info.class_map] == [(0, "road"), (1, "sky")]
    assert (info.header.stamp.nanosec, info.threshold) == (7, 0.5)


def test_what_points_outside_is_invalid_and_says_why(rig, network):
    start(rig, network, "A mug.")
    prompt = make_prompt(kind=0, points=make_points(TYPES, (600, 40)))
    rig.command("a", "what is this?", visual_prompts=[prompt])
    (result,) = rig.results.wait_for("a")
    assert result.status == Status.INVALID
    assert "(600, 40) is outside the image of 501x333" in result.message


def start_with(rig: Rig, tokenizer, answer: str, rgb: np.ndarray, **changes) -> None:
    generators = [Generator(Route.GENERATE), Generator(Route.EDIT)]
    rig.perceiver = make_pipeline(tokenizer, answer, generators=generators)
    rig.start()
    rig.show(rig.open_camera(), 7, message=make_image(TYPES, 7, rgb=rgb, **changes))


def test_an_edit_comes_back_on_its_topic_pixel_on_pixel(rig, json_tokenizer):
    rgb = make_frame(*ODD_HW).rgb
    start_with(rig, json_tokenizer, "Here it is [EDIT].", rgb)
    images = rig.subscribe("~/generated_image")
    options = TYPES.make("vl2_ros/msg/ImageOptions", seed=5)
    rig.command("a", "make the mug red", image_options=options)
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.routes, result.text) == (Status.OK, ["edit"], "Here it is.")
    assert [one.stage for one in result.stage_times][-1] == "diffusion"
    assert (result.images[0].seed, result.images[0].steps) == (5, 2)
    (image,) = images.wait()
    assert image.header == result.header
    np.testing.assert_array_equal(image.data.reshape(rgb.shape), rgb[::-1])


def test_a_generation_asked_by_a_sentence_alone(rig, json_tokenizer):
    start_with(rig, json_tokenizer, "Here it is [GEN].", make_frame(*ODD_HW).rgb)
    rig.say("draw a red mug")
    (result,) = rig.results.wait()
    (made,) = result.images
    assert (made.route, made.image.height, made.image.width) == ("generate", 64, 64)
    assert (made.image.header.stamp.nanosec, made.image.header.frame_id) == (7, "")


def test_a_image_that_cannot_be_looked_at_cannot_be_edited(rig, json_tokenizer):
    start_with(rig, json_tokenizer, "Here it is [EDIT].", make_frame(*ODD_HW).rgb, height=334)
    rig.command("a", "make the mug red")
    (result,) = rig.results.wait_for("a")
    assert (result.status, list(result.images)) == (Status.INVALID, [])
    assert "the image of camera image cannot be used: image has" in result.message


@pytest.mark.parametrize("hw", [(1, 1), (1, 900), (700, 8), (65, 63)])
def test_an_edit_has_the_size_of_its_image_whatever_that_is(rig, json_tokenizer, hw):
    start_with(rig, json_tokenizer, "Here it is [EDIT].", make_frame(*hw).rgb)
    rig.command("a", "make the mug red")
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.message) == (Status.OK, "")
    assert (result.images[0].image.height, result.images[0].image.width) == hw

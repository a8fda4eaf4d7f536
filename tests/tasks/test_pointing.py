"""Pointing into images: regions of the camera's image, and examples in further images.

An image of 501x333 is squashed to 56x56 for regions: pixel x is column floor(x * 56 / 501), pixel
y is row floor(y * 56 / 333).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.tasks.network import ODD_HW, PROCESSING, Network, make_frame
from vl2_ros.errors import InputError
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.geometry import masks_to_boxes
from vl2_ros.processing.images.preprocess import preprocess_vision
from vl2_ros.structures import Command, PromptKind, Result, Route, VisualPrompt

IMAGE = "<48>"


def prompt(kind: PromptKind, *points: tuple[float, float], image: int = 0) -> VisualPrompt:
    return VisualPrompt(kind, np.array(points, np.float64).reshape(-1, 2), image=image)


def mask_prompt(hw: tuple[int, int], rows: slice, columns: slice, image: int = 0) -> VisualPrompt:
    mask = np.zeros(hw, np.bool_)
    mask[rows, columns] = True
    return VisualPrompt(PromptKind.MASK, np.zeros((0, 2)), mask, image)


POINT = prompt(PromptKind.POINT, (100, 40))
BOX = prompt(PromptKind.BOX, (10, 20), (200, 300))
EVERY_KIND = (
    POINT,
    BOX,
    prompt(PromptKind.SCRIBBLE, (0, 0), (500.9, 0)),
    prompt(PromptKind.POLYGON, (90, 60), (180, 60), (180, 120), (90, 120)),
    mask_prompt(ODD_HW, slice(0, 333), slice(250, 501)),
)


def ask(network: Network, sentence: str, answer: str, prompts, **changes) -> Result:
    command = Command(sentence, visual_prompts=tuple(prompts), **changes)
    return network.pipeline(answer).answer(make_frame(*ODD_HW), command)


def regions_of(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Return masks and tiles of the last call of the region encoder."""
    inputs, _ = network.regions.calls[-1]
    return inputs["masks"], inputs["tile_index"]


def test_every_kind_of_prompt_is_drawn_where_it_points(network):
    result = ask(network, "What are these?", "Mugs.", EVERY_KIND)
    names = ", ".join(f"<reg>region{number}<region></reg>" for number in range(1, 6))
    assert network.prompt_text() == f"<s>USER: {IMAGE}\nWhat are {names}? ASSISTANT:"
    assert result.text == "Mugs."

    masks, tiles = regions_of(network)
    assert (masks.shape, masks.dtype) == ((5, 56, 56), np.float32)
    # Regions lie on the whole image, which is the last of its three tiles.
    assert tiles.tolist() == [2] * 5
    x1, y1, x2, y2 = masks_to_boxes(masks).astype(int).T
    # 100 * 56 / 501 = 11.2, 40 * 56 / 333 = 6.7
    assert (x1[0], y1[0], x2[0], y2[0], masks[0].sum()) == (11, 6, 12, 7, 1)
    # 1.1, 3.4, 22.4, 50.5; the end pixel is inside
    assert (x1[1], y1[1], x2[1], y2[1], masks[1].sum()) == (1, 3, 23, 51, 22 * 48)
    # along the upper border, to the last column
    assert (x1[2], y1[2], x2[2], y2[2], masks[2].sum()) == (0, 0, 56, 1, 56)
    # 10.06, 10.09, 20.1, 20.2; outline included
    assert (x1[3], y1[3], x2[3], y2[3], masks[3].sum()) == (10, 10, 21, 21, 11 * 11)
    # Column 27 of the small image is sampled at 27.5 / 56 * 501 - .5 = 245.5, column 28 at 254.5.
    assert (x1[4], y1[4], x2[4], y2[4], masks[4].sum()) == (28, 0, 56, 56, 28 * 56)


def test_region_features_enter_the_model_in_the_order_of_the_marks(network):
    ask(network, "What is region2 beside region1?", "A mug.", (POINT, BOX))
    text = network.prompt_text()
    assert text.index("region2<region>") < text.index("region1<region>")
    # The box is region2, which the sentence names first.
    masks, _ = regions_of(network)
    assert [int(mask.sum()) for mask in masks] == [22 * 48, 1]
    _, output = network.regions.calls[0]
    ids, _, features, _ = network.fed[0]
    np.testing.assert_array_equal(features, output["region_features"])
    assert (features.shape, int((ids == network.tokenizer.tokens.region).sum())) == ((2, 64), 2)


def test_what_is_pointed_at_changes_what_the_model_reads(network):
    states = []
    for one in (POINT, BOX):
        ask(network, "What is this?", "A mug.", (one,))
        states.append(network.fed[0][3][-1])
    assert np.abs(states[0] - states[1]).max() > 1e-4


@pytest.mark.parametrize(
    ("sentence", "question"),
    [
        ("Describe this in detail.", "Describe {} in detail."),
        ("What colour is the thing in region 1?", "What colour is the thing in {}?"),
        ("Why would somebody hold it?", "Look at {}. Why would somebody hold it?"),
        ("What is in this image?", "Look at {}. What is in this image?"),
        ("What is this? Answer with one word.", "What is {}? Answer with one word."),
    ],
)
def test_region_caption_and_question_come_back_as_words(network, sentence, question):
    result = ask(network, sentence, "A red mug.", (POINT,))
    asked = question.format("<reg>region1<region></reg>")
    assert network.prompt_text() == f"<s>USER: {IMAGE}\n{asked} ASSISTANT:"
    assert (result.text, result.routes) == ("A red mug.", (Route.ANSWER,))


@pytest.mark.parametrize("direct", [False, True])
def test_interactive_segmentation_gives_the_best_mask_of_each_region(network, direct):
    logits = np.array([[3.0, -20.0], [1.0, 2.0], [0.5, 1.5]], np.float32)
    boxes = np.array([[0.75, 0.5, 0.5, 1.0], [0.5, 0.75, 1.0, 0.5], [0.5] * 4], np.float32)
    network.see(logits, boxes)
    answer = "I found: region1[DET], region2[DET]."
    result = ask(network, "Segment these", answer, (POINT, BOX), direct=direct)
    listed = "<reg>region1<region></reg>, <reg>region2<region></reg>"
    asked = f"<s>USER: {IMAGE}\nPlease segment {listed} in this picture. ASSISTANT:"
    assert network.prompt_text().startswith(asked)
    (branch,) = result.branches
    assert (branch.route, branch.phrases) == (Route.DETECT, ("region1", "region2"))
    # Query 1 scores .73 for region1 and query 2 .82 for region2, but each region is one thing.
    found = branch.detections
    assert found.labels == ("region1", "region2")
    np.testing.assert_allclose(found.boxes_xyxy, [(250.5, 0, 501, 333), (0, 166.5, 501, 333)])
    np.testing.assert_array_equal(np.flatnonzero(found.masks[0].any(axis=0)), np.arange(267, 501))
    np.testing.assert_array_equal(np.flatnonzero(found.masks[1].any(axis=1)), np.arange(178, 333))


def test_ten_regions_at_once(network):
    points = [prompt(PromptKind.POINT, (50 * index + 5, 30 * index + 3)) for index in range(10)]
    network.see(np.full((2, 10), 2.0, np.float32), np.full((2, 4), 0.5, np.float32))
    answer = ", ".join(f"region{number}[DET]" for number in range(1, 11))
    (branch,) = ask(network, "segment all these things", answer, points).branches
    assert network.prompt_text().count("<region>") == 10
    assert branch.phrases == tuple(f"region{number}" for number in range(1, 11))
    masks, _ = regions_of(network)
    columns, rows = (masks.max(axis=axis).argmax(axis=1) for axis in (1, 2))
    expected = [
        (int(x * 56 / 501), int(y * 56 / 333)) for ((x, y),) in (p.points_xy for p in points)
    ]
    assert list(zip(columns.tolist(), rows.tolist(), strict=True)) == expected


@pytest.mark.parametrize("aspect", ["pad", "resize"])
def test_regions_of_an_image_that_is_not_tiled_lie_on_all_of_it(network, aspect):
    """Neither padding nor the cropped borders may move what is pointed at."""
    from vl2_ros.processing.images.regions import preprocess_region_square

    config = replace(PROCESSING, aspect=aspect)
    frame = make_frame(*ODD_HW)
    command = Command("What is this?", visual_prompts=(POINT,))
    network.pipeline("A mug.", config).answer(frame, command)
    inputs, _ = network.regions.calls[0]
    np.testing.assert_array_equal(inputs["pixels"][0], preprocess_region_square(frame, config))
    assert inputs["tile_index"].tolist() == [0]
    network.pipeline("A mug.", config).answer(frame, Command("What is there?"))
    pixels, _ = network.vision.calls[-1]
    np.testing.assert_array_equal(pixels["pixels"], preprocess_vision(frame, config))


# Examples in further images

#: 200x200 pixels: a grid of 2x2 and the whole, 80 tokens.
EXAMPLE = make_frame(200, 200, seed=1)
#: 90x300 pixels: a grid of 3x1 and the whole, 64 tokens.
SECOND = make_frame(90, 300, seed=2)


@pytest.mark.parametrize("direct", [False, True])
def test_the_thing_of_an_example_is_found_in_an_image_of_another_size(network, direct):
    network.see(
        np.array([[3.0], [2.0]], np.float32), np.array([[0.75, 0.5, 0.5, 1]] * 2, np.float32)
    )
    example = mask_prompt((200, 200), slice(100, 200), slice(0, 100), image=1)
    result = ask(
        network,
        "find the same thing",
        "It is here[DET].",
        (example,),
        images=(EXAMPLE,),
        direct=direct,
    )
    asked = "<80>\nThis picture shows <reg>region<region></reg>. <48>\nfind the same thing"
    assert network.prompt_text().startswith(f"<s>USER: {asked} ASSISTANT:")
    masks, tiles = regions_of(network)
    # The whole of the example is the last of its five tiles.
    assert tiles.tolist() == [4]
    np.testing.assert_array_equal(masks_to_boxes(masks), [[0, 28, 28, 56]])
    # By themselves: the camera's image serves further commands.
    for (inputs, _), image in zip(
        network.vision.calls[-2:], (make_frame(*ODD_HW), EXAMPLE), strict=True
    ):
        np.testing.assert_array_equal(inputs["pixels"], preprocess_vision(image, PROCESSING))
    # The decoder looks at the camera's image, and so does the result.
    (branch,) = result.branches
    assert branch.phrases == ("object",)
    assert branch.detections.masks.shape[1:] == ODD_HW
    np.testing.assert_allclose(branch.detections.boxes_xyxy[0], (250.5, 0, 501, 333))


def test_several_examples_and_a_name(network):
    prompts = (
        prompt(PromptKind.BOX, (0, 0), (100, 100), image=2),
        prompt(PromptKind.POINT, (150, 50), image=1),
        prompt(PromptKind.POINT, (5, 5), image=2),
    )
    network.see(np.array([[3.0]], np.float32), np.array([[0.5] * 4], np.float32))
    images = (EXAMPLE, make_frame(100, 300, seed=2))
    result = ask(network, "segment the same mug", "[DET]", prompts, images=images)
    region = "<reg>region<region></reg>"
    assert network.prompt_text() == (
        f"<s>USER: <80>\nThis picture shows {region}. <64>\nThis picture shows {region}, {region}. "
        "<48>\nsegment the same mug ASSISTANT:"
    )
    masks, tiles = regions_of(network)
    # 5 tiles, then 4: the wholes are 4 and 8.
    assert tiles.tolist() == [4, 8, 8]
    assert masks_to_boxes(masks).tolist() == [[42, 14, 43, 15], [0, 0, 19, 56], [0, 2, 1, 3]]
    assert result.branches[0].phrases == ("mug",)


def test_an_example_and_the_image_can_be_talked_about(network):
    prompts = (prompt(PromptKind.POINT, (5, 5), image=1), POINT)
    result = ask(network, "How is this different?", "It is larger.", prompts, images=(EXAMPLE,))
    assert network.prompt_text() == (
        "<s>USER: <80>\nThis picture shows <reg>region<region></reg>. <48>\n"
        "How is <reg>region1<region></reg> different? ASSISTANT:"
    )
    # The camera's image, then the example: the last of three tiles and of five.
    calls = [inputs["tile_index"].tolist() for inputs, _ in network.regions.calls]
    assert calls == [[2], [4]]
    assert (result.text, result.branches) == ("It is larger.", ())


def test_further_images_without_pointing_come_after_the_cameras(network):
    result = ask(network, "What has changed?", "A mug is gone.", (), images=(EXAMPLE, SECOND))
    assert network.prompt_text() == "<s>USER: <48>\n<80>\n<64>\nWhat has changed? ASSISTANT:"
    assert result.text == "A mug is gone."


def test_a_model_without_region_encoder_says_so(network):
    whole = network.pipeline("A mug.")
    engines = replace(whole.engines, region_encoder=None)
    pipeline = Pipeline(engines, whole.tokenizer, whole.processing)
    with pytest.raises(InputError, match="no region encoder.*without visual prompts, got 2"):
        pipeline.answer(make_frame(*ODD_HW), Command("What is this?", visual_prompts=(POINT, BOX)))


def test_a_model_of_spoken_commands_says_what_it_takes(network):
    pipeline = network.pipeline("A mug.", replace(PROCESSING, wording="spoken"))
    with pytest.raises(InputError, match="sentences about one image.*load a released"):
        pipeline.answer(make_frame(*ODD_HW), Command("What is this?", images=(EXAMPLE,)))


def test_a_model_of_spoken_commands_with_a_region_encoder_looks_where_one_points(network):
    pipeline = network.pipeline("A mug.", replace(PROCESSING, wording="spoken"))
    command = Command("What is this?", visual_prompts=(POINT,))
    assert pipeline.answer(make_frame(*ODD_HW), command).text == "A mug."
    assert "What is <reg>region1<region></reg>?" in network.prompt_text()

"""Every task of docs/spec/core.md, section 7.5, from a person's sentence to typed results.

The image has 501x333 pixels, 90x60 on the decoder's canvas of 96x64: 5.567 and 5.55 camera
pixels for one of the network's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.tasks.network import ODD_HW, PROCESSING, Network, make_frame
from vl2_ros.errors import InputError, RouteError
from vl2_ros.processing.language.answer import parse_answer_text
from vl2_ros.structures import UNLABELLED, Command, Result, Route

D, G, S, P = Route.DETECT, Route.GROUND, Route.SEGMENT, Route.POSE

#: 2 tiles and the thumbnail, 16 tokens each.
IMAGE = "<48>"

#: sentence, question that is fed, answer that is dictated, route, phrases
TASKS = {
    "detection": (
        "Can you find all mugs and the bowl, please?",
        "Please find every mug, bowl in this picture.",
        "I found: mug[DET], bowl[DET].",
        (D, ("mug", "bowl")),
    ),
    "instance segmentation": (
        "segment every cube",
        "Please find every cube in this picture.",
        "I found: cube[DET].",
        (D, ("cube",)),
    ),
    "salient object": (
        "find the salient object",
        "Please find every forground object in this picture.",
        "I found: forground object[DET].",
        (D, ("salient object",)),
    ),
    "camouflaged object": (
        "segment the camouflaged object",
        "Please find every camouflage object in this picture.",
        "I found: camouflage object[DET].",
        (D, ("camouflaged object",)),
    ),
    "grounded caption": (
        "Describe the image and localise each object.",
        "Describe the image and localise each object.",
        "<det>A black and white cat</det>[DET] on a <det>sofa</det>[DET]",
        (D, ("black and white cat", "sofa")),
    ),
    "referring": (
        "Where is the red mug left of the bowl?",
        "Where is red mug left of the bowl in this picture?",
        "Sure, it is here[GRD].",
        (G, ("red mug left of the bowl",)),
    ),
    "referring segmentation": (
        "segment the mug that is upside down",
        "Where is mug that is upside down in this picture?",
        "Sure, it is here[GRD].",
        (G, ("mug that is upside down",)),
    ),
    "reasoning": (
        "Which object can I drink from?",
        "Which object can I drink from?",
        "Sure, it is here[GRD]. Cups hold water.",
        (G, ("object can I drink from",)),
    ),
    "semantic segmentation": (
        "Label every pixel as Road, sky and car",
        "Please segment every road, sky, car in this picture.",
        "I found: Road[SEG], sky[SEG], car[SEG].",
        (S, ("Road", "sky", "car")),
    ),
}


def ask(network: Network, sentence: str, answer: str, **changes) -> Result:
    command = Command(sentence, id="c", **({"score_threshold": 0.5} | changes))
    return network.pipeline(answer).answer(make_frame(*ODD_HW), command)


def see_halves(network: Network, classes: int) -> None:
    """Query 0 is sure of class 0, the right half; query 1 of the last class, the lower half."""
    logits = np.full((2, classes), -20.0, np.float32)
    logits[0, 0], logits[1, -1] = 3.0, 2.0
    boxes = np.array([[0.75, 0.5, 0.5, 1.0], [0.5, 0.9, 1.0, 0.4]], np.float32)
    network.see(logits, boxes)


@pytest.mark.parametrize("name", TASKS)
def test_sentence_becomes_the_trained_question_and_the_answer_a_result(network, name):
    sentence, question, answer, (route, phrases) = TASKS[name]
    see_halves(network, len(phrases))
    result = ask(network, sentence, answer)
    assert network.prompt_text() == f"<s>USER: {IMAGE}\n{question} ASSISTANT:"
    (branch,) = result.branches
    assert (branch.route, branch.phrases) == (route, phrases)
    assert (result.command_id, result.stamp_ns, result.frame_id) == ("c", 11, "camera")

    inputs, _ = network.decoder.calls[0]
    assert inputs["super_link"].shape == (1, len(phrases), 4, 64)
    assert network.backbone.calls[0][0]["pixels"].shape == (1, 3, 64, 96)
    assert inputs["pixel_mask"].sum() == 60 * 90
    # The states at the slots, four after each routing token, in the order of the answer.
    routed = [hidden[1:] for ids, _, _, hidden in network.fed[1:] if len(ids) == 5]
    np.testing.assert_array_equal(inputs["super_link"][0], np.stack(routed))


@pytest.mark.parametrize("name", TASKS)
def test_boxes_and_masks_are_those_computed_by_hand(network, name):
    sentence, _, answer, (route, phrases) = TASKS[name]
    see_halves(network, len(phrases))
    found = ask(network, sentence, answer).branches[0].detections
    # One phrase has both queries, unless it stands for one thing.
    assert len(found) == (1 if route is G else 2)
    right = found.masks[0]
    assert right.shape == ODD_HW
    # Cells 11 and 12 have their centres at 46 and 50 of the canvas: the mask begins at 48, that is
    # 48 / 90 * 501 = 267.2 in the camera's pixels; pixel 267 has its centre at 267.5.
    np.testing.assert_array_equal(np.flatnonzero(right.any(axis=0)), np.arange(267, 501))
    assert right[:, 267:].all()
    np.testing.assert_allclose(found.boxes_xyxy[0], (250.5, 0, 501, 333), atol=1e-3)
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-3)))
    if route is not G:
        lower = found.masks[1]
        # 32 / 60 * 333 = 177.6; pixel 177 has its centre at 177.5.
        np.testing.assert_array_equal(np.flatnonzero(lower.any(axis=1)), np.arange(178, 333))
        # The box ends outside of the image, at 1.1 of its height: it is cut at the border.
        np.testing.assert_allclose(found.boxes_xyxy[1], (0, 0.7 * 333, 501, 333), atol=1e-3)
        assert found.labels == (phrases[0], phrases[-1])


def test_a_image_that_stands_upright_swaps_no_axis(network):
    """333 wide and 501 high: 60x90 on a canvas of 64x96."""
    logits = np.array([[3.0, -20.0], [-20.0, 2.0]], np.float32)
    boxes = np.array([[0.75, 0.25, 0.5, 0.5], [0.1, 0.9, 0.4, 0.4]], np.float32)
    network.see(logits, boxes, canvas_hw=(96, 64))
    pipeline = network.pipeline("I found: mug[DET], bowl[DET].")
    result = pipeline.answer(make_frame(501, 333), Command("find the mug and the bowl"))
    inputs, _ = network.decoder.calls[0]
    assert network.backbone.calls[0][0]["pixels"].shape == (1, 3, 96, 64)
    found = result.branches[0].detections
    # The second is cut at the left and the lower border: -.1 to .3, .7 to 1.1.
    expected = [(166.5, 0, 333, 250.5), (0, 350.7, 99.9, 501)]
    np.testing.assert_allclose(found.boxes_xyxy, expected, atol=1e-3)
    # 32 / 60 * 333 = 177.6 and 48 / 90 * 501 = 267.2
    np.testing.assert_array_equal(np.flatnonzero(found.masks[0].any(axis=0)), np.arange(178, 333))
    np.testing.assert_array_equal(np.flatnonzero(found.masks[1].any(axis=1)), np.arange(267, 501))


def test_semantic_map_is_the_class_of_every_pixel(network):
    sentence, _, answer, (_, phrases) = TASKS["semantic segmentation"]
    see_halves(network, 3)
    (branch,) = ask(network, sentence, answer).branches
    labels = branch.label_map.class_ids
    assert (labels.shape, labels.dtype) == (ODD_HW, np.uint16)
    assert labels[10, 490] == 0 and phrases[0] == "Road"
    assert labels[320, 10] == 2 and phrases[2] == "car"
    # Both are there; .953 of the first is more than .881 of the second.
    assert labels[320, 490] == 0
    assert labels[10, 10] == UNLABELLED
    assert not (labels == 1).any()
    assert branch.label_map.threshold == 0.5
    (branch,) = ask(network, sentence, answer, score_threshold=0.0).branches
    assert (branch.label_map.class_ids != UNLABELLED).all()


def test_only_semantic_answers_have_a_label_map(network):
    sentence, _, answer, _ = TASKS["detection"]
    see_halves(network, 2)
    assert ask(network, sentence, answer).branches[0].label_map is None


def test_semantic_images_have_a_size_of_their_own(network):
    config = replace(PROCESSING, segment_short=32, segment_long=128)
    pipeline = network.pipeline("mug[DET]. road[SEG]", config)
    result = pipeline.answer(make_frame(*ODD_HW), Command("do both"))
    assert result.routes == (D, S)
    shapes = [inputs["pixels"].shape for inputs, _ in network.backbone.calls]
    # 32 / 333 * 501 = 48.14
    assert shapes == [(1, 3, 64, 96), (1, 3, 32, 64)]


@pytest.mark.parametrize(
    ("sentence", "answer", "text", "count"),
    [
        ("How many mugs are there?", "I found: mug[DET].", "I found 2 mugs.", (2,)),
        (
            "count the mugs and bowls",
            "I found: mug[DET], bowl[DET].",
            "I found a mug and a bowl.",
            (1, 1),
        ),
    ],
)
def test_counting_says_the_number_and_gives_the_boxes_that_it_counted(
    network, sentence, answer, text, count
):
    see_halves(network, len(count))
    result = ask(network, sentence, answer)
    asked = answer.removeprefix("I found: ").replace("[DET]", "").rstrip(".")
    question = f"Please find every {asked} in this picture."
    assert network.prompt_text() == f"<s>USER: {IMAGE}\n{question} ASSISTANT:"
    (branch,) = result.branches
    assert (result.text, branch.counts) == (text, count)
    assert len(branch.detections.boxes_xyxy) == sum(count)
    nothing = ask(network, sentence, answer, score_threshold=0.99)
    assert set(nothing.branches[0].counts) == {0} and nothing.text.startswith("I found no mug")


def test_counting_that_the_model_answers_in_words_keeps_its_words(network):
    result = ask(network, "How many mugs are there?", "There are two mugs.")
    assert (result.text, result.routes) == ("There are two mugs.", (Route.ANSWER,))


@pytest.mark.parametrize(
    "sentence",
    [
        "What is on the table?",
        "Is the door open?",
        "What colour is the left mug? Answer with a single word.",
        "Describe this image in detail.",
    ],
)
def test_a_question_goes_as_it_is_and_words_come_back(network, sentence):
    result = ask(network, sentence, "A mug.")
    assert network.prompt_text() == f"<s>USER: {IMAGE}\n{sentence} ASSISTANT:"
    assert (result.text, result.routes, result.branches) == ("A mug.", (Route.ANSWER,), ())


@pytest.mark.parametrize(
    ("sentence", "things", "keypoints"),
    [
        ("Where are the person's wrists?", "person", "left wrist, right wrist"),
        ("find the nose and the left eye of the dog", "dog", "nose, left eye"),
        (
            "where are the keypoints lid and spout of the teapot and the can?",
            "teapot, can",
            "lid, spout",
        ),
    ],
)
def test_pose_names_the_things_first_and_then_their_keypoints(network, sentence, things, keypoints):
    objects, points = things.split(", "), keypoints.split(", ")
    answer = f"I found: {', '.join(f'{one}[DET]' for one in objects)}. The keypoints are here: "
    answer += ", ".join(f"{one}[POSE]" for one in points) + "."
    question = f"Please find every {things} in this picture. Where are its {keypoints}?"
    # The decoder of keypoints is another part's: here ends what the prompt and the parser do.
    with pytest.raises(RouteError, match=r"\[POSE\]"):
        ask(network, sentence, answer)
    assert network.prompt_text() == f"<s>USER: {IMAGE}\n{question} ASSISTANT:"
    groups = parse_answer_text(answer).groups
    assert [group.phrase for group in groups] == [*objects, *points]
    assert [group.route for group in groups] == [D] * len(objects) + [P] * len(points)
    # Each group's states were read, whatever its route.
    assert sum(len(ids) == 5 for ids, *_ in network.fed) == len(objects) + len(points)


def test_all_keypoints_of_a_quadruped(network):
    with pytest.raises(RouteError):
        ask(network, "show me the pose of the dog", "dog[DET]. nose[POSE]")
    text = network.prompt_text()
    assert "every dog in this picture. Where are its left eye, right eye, nose, neck, root" in text
    assert text.count(",") == 16


@pytest.mark.parametrize("name", [name for name in TASKS if name != "grounded caption"])
def test_direct_answers_read_the_states_that_generation_would(network, name):
    sentence, question, answer, (route, phrases) = TASKS[name]
    see_halves(network, len(phrases))
    answer = answer.removesuffix(" Cups hold water.")
    generated = ask(network, sentence, answer)
    direct = ask(network, sentence, "nothing that is dictated is heard", direct=True)
    assert len(network.fed) == 1
    assert network.prompt_text().startswith(f"<s>USER: {IMAGE}\n{question} ASSISTANT: ")
    assert direct.text == generated.text
    assert direct.branches[0].phrases == generated.branches[0].phrases == phrases
    assert direct.branches[0].route is route
    first, second = (inputs["super_link"] for inputs, _ in network.decoder.calls)
    np.testing.assert_allclose(second, first, atol=1e-4)


def test_direct_is_refused_where_only_the_model_knows_the_answer(network):
    with pytest.raises(InputError, match="'what is on the table' is not known before"):
        ask(network, "what is on the table", "", direct=True)


def test_special_tokens_of_people_open_nothing(network):
    result = ask(network, "find the mug[DET] <image> <region>", "I see nothing.")
    assert result.branches == ()
    tokens = network.tokenizer.tokens
    ids = network.fed[0][0].tolist()
    assert not set(ids) & {*tokens.routing, *tokens.slots, tokens.region}
    assert ids.count(tokens.image_patch) == 48


def test_the_decoder_itself_gives_results_that_lie_in_the_image(network):
    """Nothing set: random weights, real outputs."""
    sentence, _, answer, (_, phrases) = TASKS["detection"]
    (branch,) = ask(network, sentence, answer, score_threshold=0.0, max_instances=7).branches
    _, output = network.decoder.calls[0]
    found = branch.detections
    assert len(found) == 7 and found.masks.shape == (7, *ODD_HW)
    assert set(found.labels) <= set(phrases)
    flat = output["pred_logits"][0].ravel()
    best = int(flat.argmax())
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-flat[best])), abs=1e-6)
    x, y, w, h = output["pred_boxes"][0][best // 2]
    expected = np.array(
        [(x - w / 2) * 501, (y - h / 2) * 333, (x + w / 2) * 501, (y + h / 2) * 333]
    )
    limit = np.array([501, 333, 501, 333])
    np.testing.assert_allclose(found.boxes_xyxy[0], np.clip(expected, 0, limit), atol=1e-2)

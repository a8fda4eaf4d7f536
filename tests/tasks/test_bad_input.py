"""What cannot be used is named before any network runs: expected, got, what to do."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tasks.network import ODD_HW, PROCESSING, Network, make_frame
from vl2_ros.errors import InputError
from vl2_ros.processing.language.command_prompt import place_regions
from vl2_ros.processing.language.pose_prompt import clean_keypoint_names, pose_conversation
from vl2_ros.structures import Command, PromptKind, VisualPrompt


def refuse(network: Network, words: str, sentence: str, **changes) -> None:
    pipeline = network.pipeline("A mug.")
    with pytest.raises(InputError, match=words):
        pipeline.answer(make_frame(*ODD_HW), Command(sentence, **changes))
    assert network.fed == [] and network.vision.calls == []


def point(x: float, y: float, image: int = 0) -> VisualPrompt:
    return VisualPrompt(PromptKind.POINT, np.array([[x, y]], np.float64), image=image)


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        (
            "find the keypoints wing and nose of the dog",
            "dog has no keypoint 'wing'; expected some",
        ),
        ("where are the joints left elbo of the man?", "did you mean 'left elbow'"),
        ("show me the pose of the teapot", "no keypoints are known for 'teapot'; name them"),
        ("pose of the person and the dog", "person and dog have different keypoints"),
    ],
)
def test_unknown_keypoints(network, sentence, words):
    refuse(network, words, sentence)


@pytest.mark.parametrize("keypoints", [[], [""], ["nose", "?!"]])
def test_no_keypoint_is_named(keypoints):
    with pytest.raises(InputError, match="name at least one keypoint"):
        clean_keypoint_names(keypoints, PROCESSING)


def test_too_many_keypoints_and_objects(network):
    names = [f"point {number}" for number in range(101)]
    refuse(
        network,
        "101 keypoints were named, the model accepts 68 at once",
        f"find the keypoints {', '.join(names)} of the teapot",
    )
    with pytest.raises(InputError, match="101 objects were named, the pose decoder accepts 100"):
        pose_conversation(names, ["nose"], PROCESSING)
    with pytest.raises(InputError, match="name at least one object"):
        pose_conversation([], ["nose"], PROCESSING)


def test_special_tokens_in_keypoints_open_nothing(json_tokenizer):
    names = clean_keypoint_names(["nose[POSE]"], PROCESSING)
    _, answer = pose_conversation(["dog[DET]"], names, PROCESSING)
    assert answer == "I found: dog[ DET ][DET]. The keypoints are here: nose[ pose ][POSE]."
    routing = json_tokenizer.tokens.routing
    assert sum(index in routing for index in json_tokenizer.encode(answer)) == 2


@pytest.mark.parametrize("place", [(501.5, 10), (10, 333.5), (-1, 3), (float("nan"), 3)])
def test_point_outside_of_the_image(network, place):
    refuse(
        network,
        r"point .* is outside the image of 501x333",
        "what is this?",
        visual_prompts=(point(*place),),
    )


def test_point_outside_of_the_example_that_fits_the_image(network):
    example = make_frame(100, 100)
    refuse(
        network,
        r"\(400, 50\) is outside the image of 100x100",
        "find the same",
        visual_prompts=(point(400, 50, image=1),),
        images=(example,),
    )


def test_empty_mask_and_mask_of_another_size(network):
    for hw, words in ((ODD_HW, "mask is empty"), ((9, 9), "mask is 9x9, expected .* 501x333")):
        prompt = VisualPrompt(PromptKind.MASK, np.zeros((0, 2)), np.zeros(hw, np.bool_))
        refuse(network, words, "segment this", visual_prompts=(prompt,))


def test_prompt_without_its_image(network):
    refuse(
        network,
        r"points into image 1; the command has the camera image \(0\) and 0 further ones",
        "find the same",
        visual_prompts=(point(3, 3, image=1),),
    )


@pytest.mark.parametrize("sentence", ["what is region 3?", "is region0 red?"])
def test_region_without_a_visual_prompt(network, sentence):
    refuse(network, "but 1 regions are pointed at", sentence, visual_prompts=(point(3, 3),))


def test_region_words_without_pointing_stay_words():
    assert place_regions("what is region 3?", 0) == "what is region 3?"


def test_more_names_than_the_model_takes(network):
    names = ", ".join(f"thing{number}x" for number in range(17))
    refuse(network, "17 names were given, the model accepts 16", f"find {names}")


def test_prompt_longer_than_the_model_takes(network):
    images = tuple(make_frame(200, 200, seed) for seed in range(30))
    refuse(network, "tokens, the model accepts 2048", "what has changed?", images=images)

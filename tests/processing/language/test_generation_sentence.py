"""Requests for image generation and editing, and sentences that only sound like them."""

from __future__ import annotations

import doctest
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from vl2_ros.datasets.commands import sample_perception
from vl2_ros.processing.language import generation_sentence as image_sentence
from vl2_ros.processing.language.parse import Task, understand
from vl2_ros.structures import Route


def test_examples_in_the_texts_are_true() -> None:
    assert doctest.testmod(image_sentence).attempted > 0
    assert doctest.testmod(image_sentence).failed == 0


@pytest.mark.parametrize(
    ("said", "caption"),
    [
        ("draw a red mug", "a red mug"),
        ("Draw me a red mug on a table, please!", "a red mug on a table"),
        ("Could you draw a picture of a red mug?", "a red mug"),
        ("generate an image of a cat wearing a hat", "a cat wearing a hat"),
        ("generate an image: two dogs, one of them asleep", "two dogs, one of them asleep"),
        ("create a photo of the Eiffel tower at night", "a photo of the Eiffel tower at night"),
        ("make a painting of a sunset", "a painting of a sunset"),
        ("generate a realistic image of a kitchen", "a realistic image of a kitchen"),
        ("show me a picture of a unicorn", "a unicorn"),
        ("make me a picture of a dog's tail", "a dog's tail"),
        ("sketch the bridge", "the bridge"),
        ("draw a person with boxes in both hands", "a person with boxes in both hands"),
        ("hey robot, draw a robot", "a robot"),
    ],
)
def test_generation_requests_are_understood_with_their_captions(said: str, caption: str) -> None:
    asked = understand(said)
    assert (asked.task, asked.image_prompt) == (Task.GENERATE, caption)
    assert asked.names == asked.keypoints == ()


@pytest.mark.parametrize(
    ("said", "instruction"),
    [
        ("make the mug red", None),
        ("make it snow", None),
        ("make the sky look stormy", None),
        ("make the table out of wood", None),
        ("make everything black and white", None),
        ("Please remove the bottle from the picture.", "remove the bottle"),
        ("erase everything on the table", None),
        ("get rid of the bottle", None),
        ("remove the boxes", None),
        ("turn the table into wood", None),
        ("change the mug to blue", None),
        ("change the colour of the mug to green", None),
        ("replace the mug with a bowl", None),
        ("add a flower to the vase", None),
        ("put a hat on the dog", None),
        ("paint the wall blue", None),
        ("show me what the table looks like tidy", None),
        ("what would the room look like with white walls?", None),
        ("edit the picture: add a hat", "add a hat"),
        ("blur the background", None),
        ("let's make it look like winter", "make it look like winter"),
        ("Make the dog's nose blue", None),
    ],
)
def test_edits_are_understood_with_their_instruction(said: str, instruction: str | None) -> None:
    asked = understand(said)
    assert (asked.task, asked.image_prompt) == (Task.EDIT, instruction or said.rstrip("?"))


@pytest.mark.parametrize(
    ("said", "task"),
    [
        ("show me the mug", Task.DETECT),
        ("find the mug that I should remove", Task.GROUND),
        ("give me the mug", Task.DETECT),
        ("draw a box around the mug", Task.DETECT),
        ("draw boxes around the boxes", Task.DETECT),
        ("put a box around the mug", Task.DETECT),
        ("mark the red mug", Task.DETECT),
        ("draw the outline of the cup", Task.OUTLINE),
        ("draw a mask over the table", Task.OUTLINE),
        ("generate a mask of the mug", Task.OUTLINE),
        ("make a mask of the mug", Task.OUTLINE),
        ("make the outlines of the mugs", Task.OUTLINE),
        ("draw the skeleton of the cat", Task.POSE),
        ("draw the pose of the person", Task.POSE),
        ("draw the nose of the dog", Task.POSE),
        ("color every pixel as road or sky", Task.LABEL),
        ("how many mugs are there?", Task.COUNT),
        ("show me what can hold water", Task.REASON),
        ("point at the thing I should turn", Task.REASON),
    ],
)
def test_words_of_perception_stay_perception(said: str, task: Task) -> None:
    assert understand(said).task is task


@pytest.mark.parametrize(
    "said",
    [
        "make a list of the mugs",
        "make the list shorter",
        "make sure the mug is there",
        "make the robot move",
        "generate a description of the scene",
        "generate a mask image of the cup",
        "create a list of things",
        "draw rectangles on the mugs",
        "draw a line to the door",
        "draw a circle around the mug",
        "draw an arrow from the mug to the bowl",
        "draw my attention to the mug",
        "draw a conclusion",
        "draw what you see",
        "draw it",
        'draw "!"',
        "draw",
        "paint over the mugs",
        "paint the wall",
        "paint me a picture in words",
        "show me the picture",
        "show me a picture of the table",
        "take a picture of the mug",
        "what does the mug look like?",
        "show me what the mug looks like",
        "remove the background of the mug",
        "remove everything but the mug",
        "turn the mug into a mask",
        "turn the lights off",
        "turn left",
        "put the mug on the table",
        "add a label to every mug",
        "add 2 and 3",
        "is the mug red?",
        "describe what the table would be",
        "draw a mug and find the bowl",
        "remove the bottle and tell me where the mug is",
        "make the mug red, then find it",
    ],
)
def test_words_for_neither_are_left_to_the_model(said: str) -> None:
    assert understand(said).task is Task.TALK


def test_sentences_that_perception_is_trained_on_are_hardly_ever_parsed_as_image_requests() -> None:
    """Thousands of ways to ask for boxes and masks, "draw a frame around" among them."""
    rng = np.random.default_rng(11)
    scene = [SimpleNamespace(kind=kind, color="red") for kind in ("mug", "bowl", "cube")]
    examples = [sample_perception(rng, scene) for _ in range(6000)]
    commands = [one.question for one in examples if one.route is not Route.ANSWER]
    tasks = Counter(understand(command).task for command in commands)
    assert len(commands) > 5000 and tasks[Task.DETECT] > 100
    assert tasks[Task.GENERATE] + tasks[Task.EDIT] <= 3


@pytest.mark.parametrize("part", [",", ". ", "a picture of ", "look like ", "the ", "into ", "on "])
@pytest.mark.parametrize(
    "lead",
    ["draw ", "make the ", "show me what ", "generate an image of ", "replace the ", "add a "],
)
def test_no_request_takes_long_to_read(lead: str, part: str) -> None:
    hostile = lead + part * (3900 // len(part)) + "!"
    began = time.process_time()
    understand(hostile)
    assert time.process_time() - began < 1.5

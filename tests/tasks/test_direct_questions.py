"""Questions that are passed on as they are: `Pipeline.talk` and `Pipeline.ground`."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tasks.network import ODD_HW, Network, make_frame
from vl2_ros.errors import InputError
from vl2_ros.processing.language.parse import Task, understand
from vl2_ros.structures import Command, PromptKind, Route, VisualPrompt

IMAGE = "<48>"
LEFT = VisualPrompt(PromptKind.BOX, np.array([[0.0, 0.0], [250.0, 333.0]]))
RIGHT = VisualPrompt(PromptKind.BOX, np.array([[250.0, 0.0], [501.0, 333.0]]))


def test_a_question_that_looks_like_a_command_is_not_rewritten(network: Network) -> None:
    sentence = "find the red mug\nA. left\nB. right"
    assert understand("find the red mug").task is Task.DETECT
    said = network.pipeline("B").talk(make_frame(*ODD_HW), Command(sentence, max_new_tokens=3))
    assert said == "B"
    assert network.prompt_text() == f"<s>USER: {IMAGE}\n{sentence} ASSISTANT:"
    assert network.regions.calls == []


def test_regions_of_a_question_are_marked_where_it_names_them(network: Network) -> None:
    command = Command("Why is dog at region2 beside region1?", visual_prompts=(RIGHT, LEFT))
    assert network.pipeline("It sits.").talk(make_frame(*ODD_HW), command) == "It sits."
    first, second = (f"<reg>region{number}<region></reg>" for number in (1, 2))
    text = f"Why is dog at {second} beside {first}?"
    assert network.prompt_text() == f"<s>USER: {IMAGE}\n{text} ASSISTANT:"
    masks = network.regions.calls[0][0]["masks"]
    assert masks[0, :, :27].all() and not masks[0, :, 29:].any()
    assert masks[1, :, 28:].all() and not masks[1, :, :27].any()


def test_an_answer_is_cut_at_its_limit(network: Network) -> None:
    whole = network.pipeline("one two three four").talk(make_frame(*ODD_HW), Command("count"))
    few = network.pipeline("one two three four")
    assert few.talk(make_frame(*ODD_HW), Command("count", max_new_tokens=2)) != whole
    assert whole == "one two three four"


def test_a_region_outside_of_the_image_is_refused(network: Network) -> None:
    outside = VisualPrompt(PromptKind.BOX, np.array([[0.0, 0.0], [502.0, 333.0]]))
    command = Command("what is region1?", visual_prompts=(outside,))
    with pytest.raises(InputError, match="outside"):
        network.pipeline("mug").talk(make_frame(*ODD_HW), command)


def test_a_question_finds_one_thing_in_one_pass(network: Network) -> None:
    question = "What would you drink from? [SEG]"
    branch = network.pipeline().ground(make_frame(*ODD_HW), question)
    assert (branch.route, len(branch.detections)) == (Route.GROUND, 1)
    assert branch.detections.masks is not None
    # The user's token is none; the answer follows without generation.
    ((ids, *_),) = network.fed
    tokens = network.tokenizer.tokens
    opened = [tokens.routing[one] for one in ids.tolist() if one in tokens.routing]
    assert opened == ["[GRD]"]
    assert question.split(" [")[0] in network.tokenizer.decode(ids, keep_special=True)
    bare = network.pipeline().ground(make_frame(*ODD_HW), question, with_masks=False)
    assert bare.detections.masks is None

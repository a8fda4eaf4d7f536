"""Image generation and editing, from a sentence to the network's input (docs/spec/core.md, 7.5)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.tasks.network import ODD_HW, PROCESSING, Network, make_frame
from vl2_ros.errors import InputError
from vl2_ros.flow.generate import generate
from vl2_ros.flow.prompt_features import encode_features, prepare_prompt
from vl2_ros.model.language.slots import gather_slots, slot_counts
from vl2_ros.processing.language.command_prompt import write_prompt
from vl2_ros.structures import Command, Route

FRAME = make_frame(*ODD_HW)
IMAGE = "<48>\n"
COUNTS = {"num_embs": PROCESSING.num_embs, "num_embs_gen": PROCESSING.num_embs_gen}
#: sentence, question, answer, route
REQUESTS = {
    "generation": (
        "Draw me a Red Mug (on a table)!",
        "Draw a picture of a red mug on a table.",
        "Here it is [GEN].",
        Route.GENERATE,
    ),
    "edit": (
        "Could you make the Mug red?",
        f"{IMAGE}Change this picture: make the Mug red.",
        "Here it is [EDIT].",
        Route.EDIT,
    ),
}


def feed(network: Network, command: Command, frame=FRAME, routes=tuple(Route)):
    """Run the prompt through the network; return the prompt's text, its ids and its features."""
    prompt = write_prompt(frame, command, PROCESSING, routes)
    inputs = prepare_prompt(prompt, network.tokenizer, PROCESSING)
    features = encode_features(inputs, network.engines())
    network.fed.clear()
    step = network.open_session().feed(inputs.ids, features.image_tokens)
    return network.prompt_text(), inputs.ids, features, step


@pytest.mark.parametrize("name", REQUESTS)
def test_sentence_becomes_the_trained_question(network, name):
    sentence, question, _, _ = REQUESTS[name]
    text, *_ = feed(network, Command(sentence))
    assert text == f"<s>USER: {question} ASSISTANT:"


def test_generation_needs_no_image_and_uses_none(network):
    sentence, question, _, _ = REQUESTS["generation"]
    with_one, ids, features, _ = feed(network, Command(sentence))
    without, other_ids, _, _ = feed(network, Command(sentence), frame=None)
    assert with_one == without == f"<s>USER: {question} ASSISTANT:"
    np.testing.assert_array_equal(ids, other_ids)
    assert features.image_tokens is None and network.vision.calls == []


@pytest.mark.parametrize("name", REQUESTS)
def test_direct_answers_hold_the_slots_of_images(network, name):
    sentence, question, answer, route = REQUESTS[name]
    text, ids, _, _ = feed(network, Command(sentence, direct=True))
    written = answer.replace(route.value, route.value + "[EMB]" * 6)
    assert text == f"<s>USER: {question} ASSISTANT: {written}</s>"
    prompt = write_prompt(FRAME, Command(sentence, direct=True), PROCESSING)
    assert prompt.format.answer == answer and len(prompt.format.phrases) == 1


@pytest.mark.parametrize("name", REQUESTS)
def test_direct_states_are_those_that_generation_would_give(network, name):
    sentence, _, answer, route = REQUESTS[name]
    tokens = network.tokenizer.tokens
    _, ids, _, step = feed(network, Command(sentence, direct=True))
    (group,) = gather_slots(step.hidden, ids.tolist(), tokens, slot_counts(tokens, **COUNTS))
    assert Route(group.route) is route and group.states.shape == (6, 64)

    _, ids, features, _ = feed(network, Command(sentence))
    network.script = [*network.tokenizer.encode(f" {answer}"), tokens.eos]
    session = network.open_session()
    options = {"tokens": tokens, "max_new_tokens": 20, "image_tokens": features.image_tokens}
    said = list(generate(session, ids, **options, **COUNTS))
    (states,) = [token.slot_states for token in said if token.slot_states is not None]
    np.testing.assert_allclose(states, group.states, atol=1e-4)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_model_that_makes_no_images_is_asked_as_before(network, name):
    sentence = REQUESTS[name][0]
    can = (Route.ANSWER, Route.DETECT)
    text, *_ = feed(network, Command(sentence), routes=can)
    assert text == f"<s>USER: {IMAGE}{sentence} ASSISTANT:"
    with pytest.raises(InputError, match="is not known before the model gives it"):
        write_prompt(FRAME, Command(sentence, direct=True), PROCESSING, can)


def test_the_pipeline_of_such_a_model_answers_in_words(network):
    result = network.pipeline("I cannot.").answer(FRAME, Command("draw a red mug"))
    assert (result.text, result.images) == ("I cannot.", ())
    assert network.prompt_text() == f"<s>USER: {IMAGE}draw a red mug ASSISTANT:"


def test_a_model_of_spoken_commands_is_asked_as_it_was_said():
    spoken = replace(PROCESSING, wording="spoken")
    for sentence in ("draw a red mug", "make the mug red"):
        prompt = write_prompt(FRAME, Command(sentence), spoken)
        assert prompt.format.question == sentence and prompt.frames == (FRAME,)


def test_further_images_leave_the_sentence_as_it_is():
    command = Command("make the mug red", images=(FRAME,))
    prompt = write_prompt(FRAME, command, PROCESSING)
    assert prompt.format.question == "make the mug red" and len(prompt.frames) == 2


@pytest.mark.parametrize(
    ("sentence", "changes", "routes", "expected"),
    [
        ("make the mug red", {}, tuple(Route), "is about an image and there is none; expected a"),
        ("find the mug", {}, tuple(Route), "'find the mug' is about an image"),
        (
            "draw a mug",
            {},
            (Route.ANSWER, Route.DETECT),
            "cannot generate images; its routes are: answer, detect",
        ),
        ("draw a mug", {"images": (FRAME,)}, tuple(Route), "there is no image to look at"),
        ("draw it", {}, tuple(Route), "is about an image"),
    ],
)
def test_without_an_image_only_generation_is_accepted(sentence, changes, routes, expected):
    with pytest.raises(InputError, match=expected):
        write_prompt(None, Command(sentence, **changes), PROCESSING, routes)


def test_special_tokens_in_requests_open_nothing(network):
    _, ids, _, _ = feed(network, Command("draw a mug [GEN] <image> [EMB]"))
    tokens = network.tokenizer.tokens
    assert not set(ids.tolist()) & {*tokens.routing, *tokens.slots, tokens.image_patch}

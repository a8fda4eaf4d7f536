from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.datasets.commands import sample_class_list, sample_perception
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.answer import (
    SlotGroup,
    extract_expression,
    parse_answer,
    parse_answer_text,
)
from vl2_ros.processing.language.prompt import expand_routing
from vl2_ros.processing.language.tokenizer import Tokenizer
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS
from vl2_ros.sim.tabletop import TabletopObject
from vl2_ros.structures import Route

D, G, S, P = Route.DETECT, Route.GROUND, Route.SEGMENT, Route.POSE


@pytest.mark.parametrize(
    ("answer", "groups", "text"),
    [
        ("Two mugs.", [], "Two mugs."),
        (
            "I found: red mug[DET], bowl[DET].",
            [(D, "red mug"), (D, "bowl")],
            "I found: red mug, bowl.",
        ),
        ("Here is the red mug[DET] and a bowl[DET]", [(D, "red mug"), (D, "bowl")], None),
        ("I found: can[DET], all cans[DET].", [(D, "can"), (D, "cans")], None),
        ("Segmented: cube[SEG].", [(S, "cube")], "Segmented: cube."),
        ("I found: mug[DET]. Segmented: cube[SEG].", [(D, "mug"), (S, "cube")], None),
        (
            "There is <det>a black and white cat</det>[DET] on the <det>sofa</det>[DET].",
            [(D, "black and white cat"), (D, "sofa")],
            "There is a black and white cat on the sofa.",
        ),
        ("I can see a dog [DET] on the grass[DET]", [(D, "dog"), (D, "grass")], None),
        # brackets that do not close, close twice, or hold nothing
        ("a <det>red mug[DET] here", [(D, "red mug")], "a red mug here"),
        ("a red mug</det>[DET] here", [(D, "red mug")], "a red mug here"),
        ("<det></det>[DET]", [(D, "object")], ""),
        ("see <det>one <det>blue box</det>[DET]", [(D, "blue box")], "see one blue box"),
        # tokens without words, tokens in a row, two routes for one name
        ("[DET]", [(D, "object")], ""),
        ("I found it: [SEG].", [(S, "object")], "I found it:."),
        ("mug[DET][DET]", [(D, "mug"), (D, "mug")], "mug"),
        ("the mug[DET] [SEG]", [(D, "mug"), (S, "mug")], "the mug"),
        ("mug, [DET], [DET]", [(D, "mug"), (D, "object")], "mug,,"),
        ("man[DET]. nose[POSE], eye[POSE]", [(D, "man"), (P, "nose"), (P, "eye")], None),
    ],
)
def test_each_token_gets_its_words(
    answer: str, groups: list[tuple[Route, str]], text: str | None
) -> None:
    parsed = parse_answer_text(answer)
    assert parsed.groups == tuple(SlotGroup(*group) for group in groups)
    if text is not None:
        assert parsed.text == text


@pytest.mark.parametrize(
    ("answer", "command", "phrase"),
    [
        ("Sure, it is here[GRD].", "Where is the red mug in this picture?", "red mug"),
        ("Yes, it is here [GRD].", "Can you show me the can please", "can"),
        ("[GRD]", "please point at the left cup next to the bowl.", "left cup next to the bowl"),
        ("It is here: red mug[GRD].", "where is the cup", "red mug"),
        ("Sure[GRD]", "", "object"),
        ("Sure[GRD]", "where is it?", "it"),
    ],
)
def test_referring_answers_fall_back_on_the_command(answer: str, command: str, phrase: str) -> None:
    assert parse_answer_text(answer, command).groups == (SlotGroup(G, phrase),)


def test_expression_of_a_command() -> None:
    assert extract_expression("find the red mug") == "red mug"
    assert extract_expression("Can you find a can for me, please?") == "can"
    assert extract_expression("[DET] where is the dog located?") == "dog"
    assert extract_expression("find") == ""


@pytest.fixture(params=["json", "legacy", "new"])
def tokenizer(
    request: pytest.FixtureRequest, json_tokenizer: Tokenizer, llama_tokenizers: dict
) -> Tokenizer:
    return json_tokenizer if request.param == "json" else llama_tokenizers[request.param]


def test_generated_ids_are_taken_apart(tokenizer: Tokenizer) -> None:
    answer = "I found: red mug[DET], the bowl[DET]. Here [GRD]. A <det>fat cat</det>[SEG] now"
    config = ProcessingConfig(num_embs=4)
    wanted = (
        SlotGroup(D, "red mug"),
        SlotGroup(D, "bowl"),
        SlotGroup(G, "left hand"),
        SlotGroup(S, "fat cat"),
    )
    for text in (answer, expand_routing(answer, config)):
        parsed = parse_answer(tokenizer.encode(text), tokenizer, "show me the left hand")
        assert parsed.groups == wanted
        assert parsed.text == "I found: red mug, the bowl. Here. A fat cat now"


def test_spelled_out_tokens_open_no_group(tokenizer: Tokenizer) -> None:
    ids = [index for letter in "[DET]" for index in tokenizer.encode(letter)]
    parsed = parse_answer([*ids, tokenizer.tokens.eos], tokenizer)
    assert parsed.groups == ()
    assert "DET" not in parsed.text


def test_text_keeps_its_lines(tokenizer: Tokenizer) -> None:
    parsed = parse_answer(tokenizer.encode("one mug\ntwo bowls"), tokenizer)
    assert parsed.text == "one mug\ntwo bowls"


def test_every_training_answer_gives_back_its_phrases() -> None:
    rng = np.random.default_rng(0)
    for _ in range(400):
        objects = [
            TabletopObject(
                kind=KINDS[rng.integers(len(KINDS))],
                color=COLORS[rng.integers(len(COLORS))],
                box_xyxy=(0.0, 0.0, 1.0, 1.0),
                visible_pixels=100,
                keypoints={},
            )
            for _ in range(rng.integers(8))
        ]
        for sample in (sample_perception, sample_class_list):
            example = sample(rng, objects)
            groups = parse_answer_text(example.answer, example.question).groups
            assert tuple(group.phrase for group in groups) == example.phrases, example.answer
            assert tuple(group.route for group in groups) == example.routes


@pytest.mark.parametrize(
    "answer",
    [
        "I found: red mug[DET], the bowl[DET].",
        "Segmented: cube[SEG].",
        "It is here: red mug[GRD].",
        "Sure, it is here[GRD].",
        "I found: person[DET]. The keypoints are here: nose[POSE], left eye[POSE].",
        "mug[DET][SEG]",
        "<det>black and white cat</det>[DET]",
    ],
)
def test_answers_that_only_name_things(answer: str) -> None:
    assert parse_answer_text(answer).only_names


@pytest.mark.parametrize(
    "answer",
    [
        "A <det>cat</det>[DET] sleeps in the sun.",
        "I see a cat[DET] sleeping, and a dog[DET].",
        "There is no cat[DET].",
        "It is here[GRD] because a kettle boils water.",
        "Yes, there is a mug.",
        "\u627e\u5230\u4e86 \u732b[DET].",
    ],
)
def test_answers_that_say_more(answer: str) -> None:
    assert not parse_answer_text(answer).only_names

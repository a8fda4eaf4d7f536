"""What a growing answer says equals, after each token, what is read from all of its tokens."""

from __future__ import annotations

import random

import pytest

from vl2_ros.processing.language.answer import parse_answer
from vl2_ros.processing.language.answer_stream import AnswerStream
from vl2_ros.processing.language.tokenizer import Tokenizer


@pytest.fixture(params=["json", "new", "legacy"])
def tokenizer(request, json_tokenizer, llama_tokenizers) -> Tokenizer:
    return json_tokenizer if request.param == "json" else llama_tokenizers[request.param]


def check(tokenizer: Tokenizer, ids: list[int]) -> None:
    stream = AnswerStream(tokenizer)
    assert (stream.text, stream.routes) == ("", ())
    for count, token_id in enumerate(ids, start=1):
        stream.add(token_id)
        wanted = parse_answer(ids[:count], tokenizer)
        assert stream.text == wanted.text
        assert stream.routes == tuple(group.route for group in wanted.groups)


@pytest.mark.parametrize(
    "answer",
    [
        "I found: red mug[DET], bowl[DET].",
        "There is <det>a black and white cat</det>[DET]on[GRD][SEG] the sofa[DET]",
        "\n  Two   mugs ,\tand a bowl .\n\nNo more ! ",
        "I found: " + ", ".join(f"red mug {index}[DET]" for index in range(30)) + ".",
        "Here is a table , with mugs .  And 3.5 bowls ... " * 6,
        "naïve 猫 café 🐈 " * 10,
        "word" * 120,
        "I see </s> and <unk> in <s> it. " * 8 + "mug[DET] " * 3 + "and so on " * 20,
    ],
)
def test_every_token_of_an_answer(tokenizer, answer):
    check(tokenizer, tokenizer.encode(answer))


@pytest.mark.parametrize("seed", range(3))
def test_tokens_in_any_order(tokenizer, seed):
    rng = random.Random(seed)
    words = tokenizer.encode("a mug , bowl . and\n 猫🐈 é  x! <det>it</det> [[ ] > 3.5")
    special = [*tokenizer.tokens.routing, *tokenizer.tokens.slots, tokenizer.tokens.pad]
    ids = [
        rng.choice(special)
        if rng.random() < 0.03
        else rng.choice(words)
        if rng.random() < 0.7
        else rng.randrange(tokenizer.vocab_size)
        for _ in range(200)
    ]
    check(tokenizer, ids)


def test_no_token_costs_more_than_those_at_the_begin(json_tokenizer, monkeypatch):
    decoded = []
    decode = json_tokenizer.decode

    def note(ids, **options):
        decoded.append(len(ids))
        return decode(ids, **options)

    monkeypatch.setattr(json_tokenizer, "decode", note)
    stream = AnswerStream(json_tokenizer)
    for token_id in json_tokenizer.encode("a red mug stands on the table " * 80):
        stream.add(token_id)
        assert stream.text
    assert len(decoded) > 500 and max(decoded) <= 32

"""Drafted answers on plans of stand-ins: within the ranges of the profiles, and taken back."""

from __future__ import annotations

import numpy as np
import pytest

from tests.runtime.tensorrt_backend.fake_tensorrt import VERSIONS, install
from tests.runtime.tensorrt_backend.test_tensorrt_engine import (
    LANGUAGE_SHAPES,
    build,
    load,
    write_cache_graph,
)
from vl2_ros.flow.generate import GeneratedToken, generate
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.runtime.language.graph_language import EmbeddingTables, GraphLanguageModel

TOKENS = TokenIds.from_base(4)
#: What the graph, which negates embeddings, makes of each id: 3 is followed by 1, 1 by 0, 0 by the
#: end of the answer.
NEXT = {3: 1, 1: 0, 0: TOKENS.eos}
PROMPT = np.array([3, 3, 3])


@pytest.fixture(params=VERSIONS)
def model(request, monkeypatch, tmp_path) -> GraphLanguageModel:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    trt = install(monkeypatch, request.param)
    file = build(trt, write_cache_graph(tmp_path / "m.onnx"), "language_model", LANGUAGE_SHAPES)
    words = np.zeros((64, 4), np.float32)
    for token_id, following in NEXT.items():
        words[token_id, following] = -1.0
    queries = {name: np.zeros((2, 4), np.float32) for name in ("det", "pose", "gen", "edit")}
    return GraphLanguageModel(load(trt, file), EmbeddingTables(TOKENS, words, queries), (1, 1, 4))


def answer(model: GraphLanguageModel, prompt: np.ndarray, draft: list[int]) -> list[GeneratedToken]:
    limits = {"num_embs": 2, "num_embs_gen": 2, "max_new_tokens": 5}
    return list(generate(model.open_session(), prompt, tokens=TOKENS, draft=draft, **limits))


@pytest.mark.parametrize(
    ("draft", "accepted"), [([1, 0], 2), ([1], 1), ([1, 3, 3], 1), ([3, 0], 0), ([1, 0, 1, 0], 2)]
)
def test_a_draft_changes_no_token(model, draft, accepted):
    tokens = answer(model, PROMPT, draft)
    assert [one.token_id for one in tokens] == [1, 0]
    assert [one.is_drafted for one in tokens] == [at < accepted for at in range(2)]


def test_a_draft_beyond_the_range_of_the_prompts_profile_is_not_used(model):
    # Eight positions at most: a prompt of seven has room for one more.
    prompt = np.array([3] * 7)
    assert [one.is_drafted for one in answer(model, prompt, [1, 0])] == [False, False]
    assert [one.is_drafted for one in answer(model, prompt, [1])] == [True, False]


def test_what_was_fed_in_vain_counts_for_no_range(model):
    session = model.open_session()
    session.feed(np.array([3] * 8))
    for _ in range(4):
        # The second profile ends at 16 positions of the past.
        session.feed(np.array([3, 3]))
        session.take_back(2)
    assert session.accepts(2) and not session.accepts(3)
    assert session.feed(np.array([1])).last_logits.argmax() == 0


def test_a_prefix_is_continued_within_the_range_of_the_second_profile(model):
    session = model.open_session()
    session.feed(np.array([3] * 8))
    prefix = session.keep(6)
    for _ in range(2):
        behind = model.open_session(prefix)
        assert behind.accepts(2) and not behind.accepts(3)
        assert behind.feed(np.array([3, 1])).last_logits.argmax() == 0
    # The session that kept it goes on over its places.
    session.take_back(4)
    session.feed(np.array([0, 0]))
    assert model.open_session(prefix).feed(np.array([3])).last_logits.argmax() == 1

"""The language model over a graph: the same input as the torch network, and its cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from vl2_ros.errors import EngineError, InputError, ShapeError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.runtime.engine import EngineInfo
from vl2_ros.runtime.language.graph_language import (
    TOKEN_EMBEDDINGS,
    EmbeddingTables,
    GraphLanguageModel,
    load_embedding_tables,
)

TOKENS = TokenIds.from_base(64)
WIDTH = 64


@pytest.fixture(scope="module")
def network() -> VisionLLM:
    torch.manual_seed(0)
    return VisionLLM(ModelConfig.tiny(with_detection=False), TOKENS).eval()


@pytest.fixture(scope="module")
def tables(network) -> EmbeddingTables:
    return EmbeddingTables(TOKENS, **read_tables(network))


def read_tables(network: VisionLLM) -> dict:
    words = network.llm.get_input_embeddings().weight.detach().numpy()
    routes = {"det": "[DET]", "pose": "[POSE]", "gen": "[GEN]", "edit": "[EDIT]"}
    queries = {
        name: network.super_link.table(route).detach().numpy() for name, route in routes.items()
    }
    return {"words": words, "queries": queries}


def make_ids(network: VisionLLM) -> np.ndarray:
    """Images, a region, words, and every routing token with its slots."""
    ids = [1, TOKENS.image_patch, TOKENS.image_patch, 7, TOKENS.region, 9, TOKENS.image_patch]
    for routing_id in TOKENS.routing:
        ids += [5, routing_id, *TOKENS.slot_ids(network.super_link.counts[routing_id])]
    return np.array(ids)


class CountingEngine:
    """Stands in for a backend: the cache grows by what was fed, states are the input doubled."""

    info = EngineInfo("language_model", "counting", "cpu", (), ())

    def __init__(self) -> None:
        self.pasts: list[int] = []

    def run(self, inputs):
        embeds, past = inputs["input_embeds"], inputs["past_mask"].shape[1]
        assert inputs["token_mask"].all() and inputs["token_mask"].shape == embeds.shape[:2]
        names = [f"{kind}.{layer}" for kind in ("keys", "values") for layer in range(2)]
        assert {inputs[f"past_{name}"].shape for name in names} == {(1, 4, past, 16)}
        self.pasts.append(past)
        logits = np.zeros((1, embeds.shape[1], 9), np.float16)
        logits[:, -1] = 1
        grown = {name: np.zeros((1, 4, past + embeds.shape[1], 16)) for name in names}
        return {"logits": logits, "hidden": embeds * 2, **grown}


def test_embeddings_are_those_of_the_network(network, tables):
    rng = np.random.default_rng(0)
    ids = make_ids(network)
    images = rng.normal(size=(3, WIDTH)).astype(np.float32)
    regions = rng.normal(size=(1, WIDTH)).astype(np.float32)
    wanted = network.embed(
        torch.from_numpy(ids)[None], torch.from_numpy(images), torch.from_numpy(regions)
    )
    np.testing.assert_array_equal(tables.embed(ids, images, regions), wanted[0].detach().numpy())


def test_tables_are_not_written_to(network, tables):
    before = {name: table.copy() for name, table in tables.queries.items()}
    words = tables.words.copy()
    tables.embed(make_ids(network), np.ones((3, WIDTH)), np.ones((1, WIDTH)))[:] = 7
    np.testing.assert_array_equal(tables.words, words)
    for name, table in before.items():
        np.testing.assert_array_equal(tables.queries[name], table)


def test_a_session_grows_its_cache_and_sessions_do_not_share_it(tables):
    engine = CountingEngine()
    model = GraphLanguageModel(engine, tables, (2, 4, 16))
    first, second = model.open_session(), model.open_session()
    step = first.feed(np.array([1, 2, 3]))
    first.feed(np.array([4]))
    second.feed(np.array([5, 6]))
    first.feed(np.array([7]))
    assert engine.pasts == [0, 3, 0, 4]
    assert step.hidden.shape == (3, WIDTH)
    assert step.last_logits.dtype == np.float32 and step.last_logits.tolist() == [1] * 9
    assert (model.info.backend, model.info.device) == ("counting", "cpu")


def test_positions_that_are_taken_back_are_cut_from_the_cache(tables):
    engine = CountingEngine()
    session = GraphLanguageModel(engine, tables, (2, 4, 16)).open_session()
    session.feed(np.array([1, 2, 3]))
    session.feed(np.array([4, 5]))
    session.take_back(2)
    session.feed(np.array([6]))
    session.take_back(2)
    session.feed(np.array([7]))
    # The engine checks that the cache is as long as its mask.
    assert engine.pasts == [0, 3, 3, 2]


def test_a_session_accepts_what_its_engine_has_a_range_for(tables):
    engine = CountingEngine()
    session = GraphLanguageModel(engine, tables, (2, 4, 16)).open_session()
    assert session.accepts(5000)
    prompt, step = {"tokens": (1, 8), "past": (0, 0)}, {"tokens": (1, 2), "past": (1, 20)}
    engine.info = replace(engine.info, ranges=(prompt, step))
    assert session.accepts(8) and not session.accepts(9)
    session.feed(np.array([1, 2, 3]))
    assert session.accepts(2) and not session.accepts(3)
    session.take_back(3)
    assert session.accepts(8)
    engine.info = replace(engine.info, ranges=({"rows": (1, 1)},))
    assert session.accepts(5000)


def test_a_refused_call_leaves_the_session_as_it_was(tables):
    engine = CountingEngine()
    session = GraphLanguageModel(engine, tables, (2, 4, 16)).open_session()
    session.feed(np.array([1, 2, 3]))
    with pytest.raises(InputError):
        session.feed(np.array([TOKENS.region]))
    session.feed(np.array([4]))
    assert engine.pasts == [0, 3]


@pytest.mark.parametrize(
    ("ids", "images", "error", "message"),
    [
        ([1, TOKENS.region], None, InputError, "1 <region> ids, got 0 features"),
        ([1, TOKENS.image_patch], np.ones((2, WIDTH)), InputError, "1 <im_patch> ids, got 2"),
        ([1, TOKENS.image_patch], np.ones((1, 3)), ShapeError, "64 wide, got 3"),
        ([1, *TOKENS.routing][:2], None, InputError, r"\[DET\] at position 1 needs .* slots"),
        ([-1], None, InputError, "ids must lie in 0 to"),
        ([10_000], None, InputError, "ids must lie in 0 to"),
        ([], None, ShapeError, r"must be \(T,\)"),
        ([[1]], None, ShapeError, r"must be \(T,\)"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tables, ids, images, error, message):
    with pytest.raises(error, match=message):
        tables.embed(np.array(ids, dtype=np.int64), images)


def test_tables_are_read_from_half_precision(network, tmp_path):
    stored = read_tables(network)
    arrays = {TOKEN_EMBEDDINGS: stored["words"], **stored["queries"]}
    save_file({name: one.astype(np.float16) for name, one in arrays.items()}, tmp_path / "e")
    embeds = load_embedding_tables(tmp_path / "e", TOKENS).embed(np.array([3, 4]))
    assert embeds.dtype == np.float32
    np.testing.assert_allclose(embeds, stored["words"][3:5], rtol=1e-3, atol=1e-5)


def test_words_stay_in_their_file(network, tmp_path):
    stored = read_tables(network)
    save_file({TOKEN_EMBEDDINGS: stored["words"], **stored["queries"]}, tmp_path / "e")
    words = load_embedding_tables(tmp_path / "e", TOKENS).words
    np.testing.assert_array_equal(words, stored["words"])
    assert str(tmp_path / "e") in Path("/proc/self/maps").read_text()
    save_file({TOKEN_EMBEDDINGS: np.zeros((90, 16), np.int64), **stored["queries"]}, tmp_path / "i")
    with pytest.raises(EngineError, match="must be of F16 or F32, got I64; export"):
        load_embedding_tables(tmp_path / "i", TOKENS)


def test_missing_or_damaged_tables_are_refused(network, tmp_path):
    with pytest.raises(EngineError, match="cannot read the embeddings"):
        load_embedding_tables(tmp_path / "nothing", TOKENS)
    (tmp_path / "damaged").write_bytes(b"no tensors in here")
    with pytest.raises(EngineError, match="cannot read the embeddings"):
        load_embedding_tables(tmp_path / "damaged", TOKENS)
    stored = read_tables(network)
    save_file(stored["queries"], tmp_path / "words")
    with pytest.raises(EngineError, match=f"has no '{TOKEN_EMBEDDINGS}'"):
        load_embedding_tables(tmp_path / "words", TOKENS)
    with pytest.raises(EngineError, match="lack the query tables det, edit, gen, pose"):
        EmbeddingTables(TOKENS, stored["words"], {})
    with pytest.raises(EngineError, match="of one width"):
        EmbeddingTables(TOKENS, stored["words"][:, :8], stored["queries"])
    with pytest.raises(EngineError, match="token id 89 of the tokenizer lies outside of the 70"):
        EmbeddingTables(TOKENS, stored["words"][:70], stored["queries"])

"""Sessions of the language model on every backend: the same words and states as torch's own."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from tests.runtime.conformance.harness import find_engine_files, load_network, require_cuda_provider
from vl2_ros.errors import InputError
from vl2_ros.flow.generate import GeneratedToken, generate
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.processing.language.tokenizer import Tokenizer, load_tokenizer
from vl2_ros.runtime.engine import LanguageModel, to_numpy
from vl2_ros.runtime.files.exported_engines import load_exported_engines
from vl2_ros.runtime.torch_backend.engine import TorchLanguageModel

SENTENCES = (
    "find the red mug and the bowl",
    "segment every cube",
    "where is the yellow banana?",
    "what is on the table?",
)


def load_torch() -> LanguageModel:
    return TorchLanguageModel(load_network(), torch.device("cpu"))


def load_onnxruntime(device: str = "cpu") -> LanguageModel:
    from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine

    load = partial(OnnxEngine, device=device)
    return load_exported_engines(find_engine_files(), read_tokenizer().tokens, load).language_model


def load_onnxruntime_on_cuda() -> LanguageModel:
    require_cuda_provider()
    return load_onnxruntime("cuda")


def read_tokenizer() -> Tokenizer:
    return load_tokenizer(EMBEDDED_WEIGHTS)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(load_torch, id="torch"),
        pytest.param(load_onnxruntime, id="onnxruntime"),
        pytest.param(load_onnxruntime_on_cuda, id="onnxruntime-cuda", marks=pytest.mark.gpu),
    ],
)
def model(request) -> LanguageModel:
    return request.param()


def make_prompt(sentence: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return ids of a prompt with one image, and features that stand for the image."""
    tokenizer = read_tokenizer()
    text = f"USER: <image>\n{sentence} ASSISTANT:"
    before, after = text.split("<image>")
    patches = [tokenizer.tokens.image_patch] * 64
    ids = [tokenizer.bos, *tokenizer.encode(before), *patches, *tokenizer.encode(after)]
    features = np.random.default_rng(seed).normal(size=(64, 256)).astype(np.float32)
    return np.array(ids), features


def answer(model: LanguageModel, sentence: str) -> list[GeneratedToken]:
    ids, features = make_prompt(sentence)
    return list(
        generate(
            model.open_session(),
            ids,
            tokens=read_tokenizer().tokens,
            num_embs=2,
            num_embs_gen=4,
            max_new_tokens=40,
            image_tokens=features,
        )
    )


def assert_close(got: np.ndarray, wanted: np.ndarray) -> None:
    assert np.abs(to_numpy(got) - to_numpy(wanted)).max() <= 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("sentence", SENTENCES)
def test_words_and_states_are_those_of_torch(model, sentence):
    wanted, got = answer(load_torch(), sentence), answer(model, sentence)
    assert [one.token_id for one in got] == [one.token_id for one in wanted]
    assert len(wanted) > 3
    for mine, theirs in zip(got, wanted, strict=True):
        assert (mine.slot_states is None) == (theirs.slot_states is None)
        if mine.slot_states is not None:
            assert_close(mine.slot_states, theirs.slot_states)


def test_a_sequence_in_pieces_gives_what_it_gives_in_one(model):
    ids, features = make_prompt(SENTENCES[0])
    whole = model.open_session().feed(ids, features)
    session = model.open_session()
    session.feed(ids[:-5], features)
    middle = session.feed(ids[-5:-1])
    last = session.feed(ids[-1:])
    assert whole.hidden.shape == (len(ids), 256) and middle.hidden.shape == (4, 256)
    assert_close(to_numpy(middle.hidden), to_numpy(whole.hidden)[-5:-1])
    assert_close(to_numpy(last.hidden), to_numpy(whole.hidden)[-1:])
    assert_close(last.last_logits, whole.last_logits)


def test_sessions_side_by_side_do_not_hear_each_other(model):
    prompts = [make_prompt(sentence, seed) for seed, sentence in enumerate(SENTENCES[:2])]
    alone = [model.open_session().feed(*prompt).last_logits for prompt in prompts]
    sessions = [model.open_session() for _ in prompts]
    for session, (ids, features) in zip(sessions, prompts, strict=True):
        session.feed(ids[:-2], features)
    for session, (ids, _), wanted in zip(sessions, prompts, alone, strict=True):
        assert_close(session.feed(ids[-2:]).last_logits, wanted)


def test_states_outlive_later_calls(model):
    ids, features = make_prompt(SENTENCES[0])
    session = model.open_session()
    first = session.feed(ids, features)
    hidden, logits = to_numpy(first.hidden).copy(), first.last_logits.copy()
    for token_id in (5, 6, 7):
        session.feed(np.array([token_id]))
    np.testing.assert_array_equal(to_numpy(first.hidden), hidden)
    np.testing.assert_array_equal(first.last_logits, logits)


def test_features_and_ids_for_them_must_agree(model):
    ids, features = make_prompt(SENTENCES[0])
    with pytest.raises(InputError, match="64 <im_patch> ids, got 63 features"):
        model.open_session().feed(ids, features[:63])


def test_slots_must_come_with_their_routing_token(model):
    ids, features = make_prompt(SENTENCES[0])
    session = model.open_session()
    session.feed(ids, features)
    with pytest.raises(InputError, match=r"\[DET\] at position 0 needs 2 slots"):
        session.feed(np.array([list(read_tokenizer().tokens.routing)[0]]))

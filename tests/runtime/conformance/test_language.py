"""Sessions of the language model on every backend: the same words and states as torch's own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import torch

from tests.runtime.conformance.harness import find_engine_files, load_network, require_cuda_provider
from vl2_ros.errors import InputError
from vl2_ros.flow.generate import GeneratedToken, generate
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.processing.language.tokenizer import Tokenizer, load_tokenizer
from vl2_ros.runtime.engine import LanguageModel, LanguageSession, Prefix, to_numpy
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


class Whole:
    """An array that cannot be cut, as those that ONNX Runtime keeps on an accelerator."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype

    def cpu(self) -> Whole:
        return self

    def numpy(self) -> np.ndarray:
        return self._array


def load_with_a_whole_cache() -> LanguageModel:
    from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine

    class Engine(OnnxEngine):
        def run(self, inputs, outputs=None):
            made = super().run(inputs, outputs)
            return {
                name: Whole(array) if name.startswith(("keys.", "values.")) else array
                for name, array in made.items()
            }

    return load_exported_engines(
        find_engine_files(), read_tokenizer().tokens, Engine
    ).language_model


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
        pytest.param(load_with_a_whole_cache, id="onnxruntime-whole"),
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


def answer(
    model: LanguageModel,
    sentence: str,
    draft: Sequence[int] = (),
    fed: list[int] | None = None,
    prefix: Prefix | None = None,
) -> list[GeneratedToken]:
    """Return the tokens of an answer; `fed` gets the positions of each call."""
    ids, features = make_prompt(sentence)
    session = model.open_session(prefix)
    feed = session.feed

    def count(input_ids, *given, **options):
        if fed is not None:
            fed.append(len(input_ids))
        return feed(input_ids, *given, **options)

    session.feed = count
    return list(
        generate(
            session,
            ids,
            tokens=read_tokenizer().tokens,
            num_embs=2,
            num_embs_gen=4,
            max_new_tokens=40,
            begun=prefix.count if prefix else 0,
            image_tokens=None if prefix else features,
            draft=draft,
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


#: Changes of a right draft: what is made of it, which of its tokens still come without a call.
DRAFTS = {
    "right": lambda ids: (ids, len(ids)),
    "too short": lambda ids: (ids[:-2], len(ids) - 2),
    "too long": lambda ids: ([*ids, *ids], len(ids)),
    "first token wrong": lambda ids: ([ids[0] + 1, *ids[1:]], 0),
    "wrong in the middle": lambda ids: ([*ids[:3], ids[3] + 1, *ids[4:]], 3),
    "another route": lambda ids: (change_routes(ids), find_routes(ids)[0]),
}


def find_routes(ids: Sequence[int]) -> list[int]:
    routing = read_tokenizer().tokens.routing
    return [at for at, token_id in enumerate(ids) if token_id in routing]


def change_routes(ids: Sequence[int]) -> list[int]:
    """Put the next routing token, which may have another number of slots, in place of each."""
    known = list(read_tokenizer().tokens.routing)
    routes = find_routes(ids)
    return [
        known[(known.index(token_id) + 1) % len(known)] if at in routes else token_id
        for at, token_id in enumerate(ids)
    ]


@pytest.mark.parametrize("change", DRAFTS)
@pytest.mark.parametrize("sentence", SENTENCES[:3])
def test_a_draft_changes_neither_words_nor_states(model, sentence, change):
    plain_calls: list[int] = []
    plain = answer(model, sentence, fed=plain_calls)
    ids = [one.token_id for one in plain]
    draft, accepted = DRAFTS[change](ids)
    calls: list[int] = []
    drafted = answer(model, sentence, draft, calls)
    assert [one.token_id for one in drafted] == ids
    assert [one.is_drafted for one in drafted] == [at < accepted for at in range(len(ids))]
    # One call for the prompt with the draft, then one for each token that it did not have.
    assert len(calls) == 1 + len(ids) - accepted
    assert calls[1:] == plain_calls[1 + accepted :]
    for one, other in zip(drafted, plain, strict=True):
        assert_close(one.logits, other.logits)
        if other.slot_states is not None:
            assert_close(one.slot_states, other.slot_states)


def test_logits_of_several_positions_are_those_of_single_calls(model):
    ids, features = make_prompt(SENTENCES[0])
    session = model.open_session()
    session.feed(ids[:-4], features)
    wanted = [session.feed(ids[at : at + 1]).last_logits for at in range(len(ids) - 4, len(ids))]
    step = model.open_session().feed(ids, features, logit_count=4)
    assert step.logits.shape == (4, len(wanted[0])) and step.logits.dtype == np.float32
    assert_close(step.logits, np.stack(wanted))


def test_positions_that_are_taken_back_leave_no_trace(model):
    ids, features = make_prompt(SENTENCES[0])
    session = model.open_session()
    wanted = [session.feed(ids, features), session.feed(ids[-3:])]
    session = model.open_session()
    session.feed(ids, features)
    session.feed(np.array([5, 6, 7, 8]))
    session.take_back(3)
    session.take_back(1)
    # Some engines keep their places: of what was fed since, all are seen, of those none.
    session.feed(ids[-3:-1])
    session.feed(np.array([9]))
    session.take_back(1)
    got = session.feed(ids[-1:])
    assert_close(got.last_logits, wanted[1].last_logits)
    assert_close(to_numpy(got.hidden)[-1], to_numpy(wanted[1].hidden)[-1])


def feed_prompt(model: LanguageModel, sentence: str) -> tuple[LanguageSession, int]:
    """Return a session that was fed a prompt, and up to where other prompts are the same."""
    ids, features = make_prompt(sentence)
    session = model.open_session()
    session.feed(ids, features)
    return session, int(np.flatnonzero(ids == read_tokenizer().tokens.image_patch)[-1]) + 1


def test_prompts_behind_a_prefix_get_the_answers_of_whole_ones(model):
    session, count = feed_prompt(model, SENTENCES[0])
    prefix = session.keep(count)
    # The session goes its own way meanwhile, and is gone then.
    session.take_back(3)
    session.feed(np.array([5, 6, 7, 8]))
    del session
    for sentence in SENTENCES:
        calls: list[int] = []
        wanted, got = answer(model, sentence), answer(model, sentence, fed=calls, prefix=prefix)
        assert calls[0] == len(make_prompt(sentence)[0]) - count
        assert [one.token_id for one in got] == [one.token_id for one in wanted]
        draft = [one.token_id for one in wanted]
        drafted = answer(model, sentence, draft, prefix=prefix)
        assert [one.token_id for one in drafted if one.is_drafted] == draft
        for mine, again, theirs in zip(got, drafted, wanted, strict=True):
            assert_close(mine.logits, theirs.logits)
            assert_close(again.logits, theirs.logits)
            if theirs.slot_states is not None:
                assert_close(mine.slot_states, theirs.slot_states)
                assert_close(again.slot_states, theirs.slot_states)


def test_a_prefix_is_not_changed_by_sessions_that_continue_it(model):
    session, count = feed_prompt(model, SENTENCES[0])
    prefix = session.keep(count)
    wanted = model.open_session(prefix).feed(np.array([5, 6]))
    others = [model.open_session(prefix) for _ in range(2)]
    for number, other in enumerate(others):
        other.feed(np.array([9 + number, 7]))
        other.take_back(1)
        # Back into the prefix itself, and on over its places.
        other.take_back(4)
        other.feed(np.array([8, 9, 10, 11 + number]))
    session.take_back(len(make_prompt(SENTENCES[0])[0]) - count + 10)
    session.feed(np.array([9] * 12))
    got = model.open_session(prefix).feed(np.array([5, 6]))
    assert_close(got.last_logits, wanted.last_logits)
    assert_close(got.hidden, to_numpy(wanted.hidden))


def test_a_session_behind_a_prefix_keeps_one_itself(model):
    session, count = feed_prompt(model, SENTENCES[0])
    longer = model.open_session(session.keep(count - 2))
    longer.feed(np.array([5, 6, 7]))
    longer.take_back(2)
    longer.feed(np.array([8]))
    prefix = longer.keep(count)
    assert prefix.count == count
    step = model.open_session(prefix).feed(np.array([9]))
    ids, features = make_prompt(SENTENCES[0])
    whole = model.open_session().feed(np.concatenate([ids[: count - 2], [5, 8, 9]]), features[:-2])
    assert_close(step.last_logits, whole.last_logits)


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

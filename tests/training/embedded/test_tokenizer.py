from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from tokenizers import Tokenizer

from vl2_ros.datasets.commands import sample_class_list, sample_perception, sample_text
from vl2_ros.datasets.nouns import COLOR_KIND_PHRASES
from vl2_ros.errors import ConfigError
from vl2_ros.model.language.tokens import ADDED_TOKENS
from vl2_ros.training.embedded.tokenizer import BASE_TOKENS, train_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(folder, vocab_size=2048, seed=0, sentences=8000)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_special_tokens_stand_first_and_added_tokens_last(tokenizer):
    size = tokenizer.get_vocab_size()
    assert size <= 2048
    assert [tokenizer.token_to_id(token) for token in BASE_TOKENS] == [0, 1, 2]
    first = size - len(ADDED_TOKENS)
    assert [tokenizer.token_to_id(t) for t in ADDED_TOKENS] == list(range(first, size))


@pytest.mark.parametrize(
    "text",
    [
        "USER: \nfind the red mug ASSISTANT:",
        "I found: red mug[DET][EMB][EMB2][EMB3][EMB4], bowl[DET].",
        "  two  spaces\tand\nlines \r\n",
        "ünïcödé 日本語 🙂 1234 o'clock",
        "HELLO Robot!!! what's that?",
        "",
    ],
)
def test_decoding_round_trips(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert 0 not in ids


def test_sampled_conversations_round_trip_and_stay_short(tokenizer):
    rng = np.random.default_rng(1)
    objects = [SimpleNamespace(kind="mug", color="red"), SimpleNamespace(kind="box", color="blue")]
    for sampler, limit in ((sample_perception, 30), (sample_text, 24), (sample_class_list, 80)):
        lengths = []
        for _ in range(300):
            example = sampler(rng, objects)
            text = f"{example.question} ASSISTANT: {example.answer}"
            ids = tokenizer.encode(text).ids
            assert tokenizer.decode(ids, skip_special_tokens=False) == text
            lengths.append(len(ids))
        assert np.mean(lengths) < limit


def test_words_of_the_grammar_are_one_token_each(tokenizer):
    for phrase in COLOR_KIND_PHRASES:
        assert len(tokenizer.encode(" " + phrase).ids) == 2
    assert len(tokenizer.encode("USER:").ids) == 1
    assert len(tokenizer.encode(" ASSISTANT:").ids) == 1
    assert len(tokenizer.encode("42").ids) == 2


def test_equal_seeds_write_equal_files(tmp_path):
    first = train_tokenizer(tmp_path / "a", vocab_size=600, seed=5, sentences=300)
    second = train_tokenizer(tmp_path / "b", vocab_size=600, seed=5, sentences=300)
    assert first.read_bytes() == second.read_bytes()


def test_too_small_vocabulary_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="vocab_size must be at least"):
        train_tokenizer(tmp_path, vocab_size=100)

"""The cache with room holds what that of transformers does, and is not copied for each call."""

from __future__ import annotations

import torch
from transformers import DynamicCache, LlamaConfig

from vl2_ros.model.language.growing_cache import make_cache

CONFIG = LlamaConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, vocab_size=8)


def feed(cache, count: int) -> list[torch.Tensor]:
    """Append positions to each layer, the same ones for every cache of one length."""
    torch.manual_seed(cache.get_seq_length() * 1000 + count)
    given = [torch.randn(1, 4, count, 8) for _ in range(4)]
    return [*cache.update(*given[:2], 0), *cache.update(*given[2:], 1)]


def test_it_holds_what_the_cache_of_transformers_does():
    cache, reference = make_cache(CONFIG), DynamicCache(config=CONFIG)
    for fed, taken_back in ((5, 0), (1, 0), (70, 3), (1, 70), (4, 8), (200, 1), (1, 0)):
        for mine, theirs in zip(feed(cache, fed), feed(reference, fed), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
        for one in (cache, reference):
            one.crop(-taken_back)
        assert cache.get_seq_length() == reference.get_seq_length()


def test_positions_are_written_behind_those_that_are_there():
    cache = make_cache(CONFIG)
    places = [one.data_ptr() for one in feed(cache, 100)]
    for _ in range(60):
        assert [one.data_ptr() for one in feed(cache, 1)] == places
    cache.crop(-30)
    assert [one.data_ptr() for one in feed(cache, 34)] == places
    assert [one.data_ptr() for one in feed(cache, 1)] != places

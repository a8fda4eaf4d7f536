"""A key-value cache with room for further positions: they are written behind those it has.

transformers' own cache copies all of its positions for each call.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import Cache, DynamicLayer

#: Positions that a cache has room for beyond the call that made it: a short answer.
_ROOM = 64


class GrowingLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not typed here
    """Keys and values of one layer, views of the first positions of larger tensors."""

    def __init__(self) -> None:
        """Start without memory."""
        super().__init__()
        self._stored: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append (1, heads, t, d) each; return those of all positions."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        past = self.get_seq_length()
        total = past + key_states.shape[-2]
        keys, values = self._stored = self._make_room(key_states, past, total)
        keys[:, :, past:total] = key_states
        values[:, :, past:total] = value_states
        self.keys, self.values = keys[:, :, :total], values[:, :, :total]
        return self.keys, self.values

    def _make_room(self, like: Tensor, past: int, total: int) -> tuple[Tensor, Tensor]:
        """Return tensors for so many positions, with those of the past."""
        if self._stored is not None and total <= self._stored[0].shape[-2]:
            return self._stored
        rows, heads, _, width = like.shape
        keys, values = (like.new_empty((rows, heads, total + _ROOM, width)) for _ in range(2))
        if past:
            keys[:, :, :past], values[:, :, :past] = self.keys, self.values
        return keys, values


def make_cache(config: PretrainedConfig) -> Cache:
    """Make an empty cache for a language model whose layers see all positions before them."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() for _ in cache.layers]
    return cache

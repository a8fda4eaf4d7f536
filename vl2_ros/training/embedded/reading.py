"""Reading of packs by the LLM: all of a step in one pass, and no token of padding computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask
from transformers.models.llama.modeling_llama import eager_attention_forward, repeat_kv

from vl2_ros.model.network import VisionLLM
from vl2_ros.training.embedded.packs import PADDING, Packs

#: Name of the attention among those of transformers.
_BY_ROWS = "vl2_by_rows"


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The B rows of up to T tokens that one `Packs` is, among the N tokens that are read.

    Attributes:
        token: (B * T,) int64, the number of the token at each position; N in padding.
        position: (n,) int64, where each token of these packs is in the rows.
        visibility: (B, T, T) float32 to add to attention scores.
    """

    token: Tensor
    position: Tensor
    visibility: Tensor

    @classmethod
    def find(cls, packs: Packs, first: int, total: int) -> _Rows:
        """Number the tokens of some packs from `first` on."""
        position = (packs.segments.flatten() != PADDING).nonzero()[:, 0]
        token = torch.full((packs.segments.numel(),), total, device=position.device)
        token[position] = torch.arange(first, first + len(position), device=position.device)
        return cls(token, position, packs.visibility()[:, 0])

    def spread(self, values: Tensor) -> Tensor:
        """Put values of the N tokens (N, ...) into the rows (B, T, ...), 0 in padding."""
        padded = torch.cat([values, values.new_zeros(1, *values.shape[1:])])
        return padded.index_select(0, self.token).unflatten(0, self.visibility.shape[:2])

    def collect(self, rows: Tensor) -> Tensor:
        """Return the values (n, ...) of the tokens in the rows (B, T, ...)."""
        return rows.flatten(0, 1).index_select(0, self.position)


def read_packs(model: VisionLLM, read: Sequence[tuple[Packs, Tensor | None]]) -> tuple[Tensor, ...]:
    """Return the LLM's states (B, T, C) in packs, each conversation seeing its image and itself.

    Args:
        model: the network.
        read: packs, and the tokens (B, M, C) of their images; None where they have none.

    Returns:
        The states of each packs, 0 in padding.
    """
    llm = model.llm.model
    if llm.config._attn_implementation != _BY_ROWS:
        # Kept: with gradient checkpointing the backward pass attends once more.
        model.llm.set_attn_implementation(_BY_ROWS)
    counts = [int((packs.segments != PADDING).sum()) for packs, _ in read]
    rows = [
        _Rows.find(packs, sum(counts[:index]), sum(counts)) for index, (packs, _) in enumerate(read)
    ]
    embedded = [
        one.collect(model.embed(packs.input_ids, tokens))
        for one, (packs, tokens) in zip(rows, read, strict=True)
    ]
    positions = [
        one.collect(packs.position_ids) for one, (packs, _) in zip(rows, read, strict=True)
    ]
    states = llm(
        inputs_embeds=torch.cat(embedded)[None],
        position_ids=torch.cat(positions)[None],
        # A finished mask, so that none over all pairs of tokens is made; `rows` have theirs.
        attention_mask=embedded[0].new_zeros(1, 1, 1, 1),
        use_cache=False,
        rows=rows,
    ).last_hidden_state[0]
    return tuple(one.spread(states) for one in rows)


def _attend_by_rows(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    rows: Sequence[_Rows] = (),
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attend within the rows of packs; as transformers does where there are none.

    Args:
        module: attention layer.
        query: (1, heads, N, d).
        key: (1, heads of keys, N, d).
        value: as the keys.
        attention_mask: unused with rows.
        scaling: factor on the scores.
        dropout: share of weights that are dropped, 0 with rows.
        rows: which token is where.
        others: for transformers.

    Returns:
        (1, N, heads, d), and no weights.
    """
    if not rows:
        found: tuple[Tensor, Tensor | None] = eager_attention_forward(
            module, query, key, value, attention_mask, scaling, dropout, **others
        )
        return found
    groups: Any = module.num_key_value_groups
    whole = [
        one[0].transpose(0, 1)
        for one in (query * scaling, repeat_kv(key, groups), repeat_kv(value, groups))
    ]
    attended = []
    for row in rows:
        queries, keys, values = (row.spread(one).transpose(1, 2) for one in whole)
        scores = queries @ keys.transpose(2, 3) + row.visibility[:, None]
        weights = scores.softmax(-1, dtype=torch.float32).to(values.dtype)
        attended.append(row.collect((weights @ values).transpose(1, 2)))
    return torch.cat(attended)[None], None


AttentionInterface.register(_BY_ROWS, _attend_by_rows)
AttentionMaskInterface.register(_BY_ROWS, eager_mask)

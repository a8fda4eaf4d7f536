"""Self-attention among objects whose queries come in groups: one box and its keypoints each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.models.grounding_dino.modeling_grounding_dino import (
    GroundingDinoMultiheadAttention,
)


@dataclass(frozen=True, slots=True, eq=False)
class QueryGroups:
    """Which of P + G * S queries see one another; the groups stand one after the other.

    Attributes:
        count: G groups.
        slot_mask: (B, S) bool, true = real slot; slot 0 is the box.
        front_visible: (P, P + G * S) bool, what the P queries before the groups see, or None when
            there are none. No query of a group sees them.
        is_released: follow the released evaluation in place of the clean rule, see `PoseConfig`.
    """

    count: int
    slot_mask: Tensor
    front_visible: Tensor | None = None
    is_released: bool = False

    @property
    def front(self) -> int:
        """P."""
        return 0 if self.front_visible is None else len(self.front_visible)

    def within_group(self) -> Tensor:
        """Return (B, S, S) bool: real slots see real ones, padding sees padding."""
        # Not ==: TensorRT compares numbers only.
        return ~torch.logical_xor(self.slot_mask[:, :, None], self.slot_mask[:, None, :])

    def everywhere(self) -> Tensor:
        """Return (B, G * S, G * S) bool, true where a row sees a column, by either rule."""
        slots = self.slot_mask.shape[1]
        index = torch.arange(self.count * slots, device=self.slot_mask.device)
        group = index // slots
        is_same = group[:, None] == group[None, :]
        visible = is_same & self.within_group().repeat(1, self.count, self.count)
        if self.is_released:
            visible |= ~is_same & self._leaks(index, slots - 1)
        return visible

    def _leaks(self, index: Tensor, stride: int) -> Tensor:
        """Return what groups counted with a stride that is one too small see of each other."""
        strip = index // stride
        # The rows past the last strip are left open, and the last strip sees them.
        is_past = index >= self.count * stride
        is_last = (strip == self.count - 1)[:, None] & is_past[None, :]
        return (strip[:, None] == strip[None, :]) | is_last | is_past[:, None]


class GroupAttention(GroundingDinoMultiheadAttention):
    """Multi-head attention that takes `QueryGroups` as its mask.

    By the clean rule a group is a short sequence of its own: G times less work than one mask over
    all queries, with equal results.
    """

    def forward(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        attention_mask: Tensor | QueryGroups | None = None,
        output_attentions: bool | None = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Args:
            queries: (B, Q, D).
            keys: (B, Q, D).
            values: (B, Q, D).
            attention_mask: groups, or an additive mask (broadcast to (B, heads, Q, Q)), or None.
            output_attentions: unused, the interface of transformers.

        Returns:
            (B, Q, D), and None in place of attention weights.
        """
        shape = (self.num_attention_heads, self.attention_head_size)
        query = self.query(queries).unflatten(2, shape).transpose(1, 2)
        key = self.key(keys).unflatten(2, shape).transpose(1, 2)
        value = self.value(values).unflatten(2, shape).transpose(1, 2)
        if isinstance(attention_mask, QueryGroups):
            read = self._read_groups(query, key, value, attention_mask)
        else:
            read = self._read(query, key, value, attention_mask)
        return self.out_proj(read.transpose(1, 2).flatten(2)), None

    def _read(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        dropout = self.dropout.p if self.training else 0.0
        if mask is not None and mask.dtype != torch.bool:
            mask = mask.to(query.dtype)
        return nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout
        )

    def _read_groups(
        self, query: Tensor, key: Tensor, value: Tensor, groups: QueryGroups
    ) -> Tensor:
        """Return (B, heads, P + G * S, D / heads) from queries, keys and values of that shape."""
        front = groups.front
        ahead = []
        if groups.front_visible is not None:
            ahead.append(self._read(query[:, :, :front], key, value, groups.front_visible))
        query, key, value = (x[:, :, front:] for x in (query, key, value))
        if groups.is_released:
            behind = self._read(query, key, value, groups.everywhere()[:, None])
            return torch.cat([*ahead, behind], dim=2)
        shape = (groups.count, groups.slot_mask.shape[1])
        query, key, value = (
            x.unflatten(2, shape).transpose(1, 2).flatten(0, 1) for x in (query, key, value)
        )
        visible = groups.within_group().repeat_interleave(groups.count, 0)[:, None]
        read = self._read(query, key, value, visible)  # (B * G, heads, S, D / heads)
        behind = read.unflatten(0, (-1, groups.count)).transpose(1, 2).flatten(2, 3)
        return torch.cat([*ahead, behind], dim=2)

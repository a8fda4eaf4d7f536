"""Multi-scale deformable attention with float32 geometry and sampling.

Same parameters and results as transformers' module, which it replaces in the layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.grounding_dino.modeling_grounding_dino import (
    GroundingDinoMultiscaleDeformableAttention,
)

from vl2_ros.model.decoders.attention.bare_linear import lay_bare
from vl2_ros.model.decoders.attention.constants import make_constant
from vl2_ros.model.decoders.attention.deformable_sampling import (
    exports_for_cpu,
    prefers_matrix,
    sample_by_grid,
    sample_by_matrix,
    sample_by_shares,
)


class DeformableAttention(GroundingDinoMultiscaleDeformableAttention):
    """Each query reads a few learned points of every level (Deformable DETR, arXiv 2010.04159)."""

    def __init__(self, config: Any, num_heads: int, n_points: int) -> None:
        """Make fresh weights.

        Args:
            config: a `GroundingDinoConfig`.
            num_heads: heads.
            n_points: points that a head reads of each level.
        """
        super().__init__(config, num_heads, n_points)
        lay_bare(self, "sampling_offsets", "attention_weights")

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        position_embeddings: Tensor | None = None,
        reference_points: Tensor | None = None,
        spatial_shapes: Tensor | None = None,
        spatial_shapes_list: Sequence[tuple[int, int]] = (),
        level_start_index: Tensor | None = None,
        output_attentions: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            hidden_states: (B, Q, D) queries.
            attention_mask: (B, S) bool, true = valid token.
            encoder_hidden_states: (B, S, D) values.
            encoder_attention_mask: unused, the interface of transformers.
            position_embeddings: (B, Q, D) or None.
            reference_points: (B, Q, L, 2) points or (B, Q, L, 4) cxcywh boxes.
            spatial_shapes: unused.
            spatial_shapes_list: L pairs (H_l, W_l).
            level_start_index: unused.
            output_attentions: unused.

        Returns:
            (B, Q, D), and the attention weights (B, Q, heads, L, points).
        """
        assert encoder_hidden_states is not None and reference_points is not None
        query = hidden_states
        if position_embeddings is not None:
            query = query + position_embeddings.to(query.dtype)
        value = self.value_proj(encoder_hidden_states)
        if attention_mask is not None:
            value = value * attention_mask[..., None].to(value.dtype)
        shape = (*query.shape[:2], self.n_heads, self.n_levels, self.n_points)
        with torch.autocast(query.device.type, enabled=False):
            offsets = _float_linear(self.sampling_offsets, query).view(*shape, 2)
            weights = _float_linear(self.attention_weights, query)
            weights = weights.view(*shape[:3], -1).softmax(-1).view(shape)
            references = reference_points.float()
            read = self._read_matrix if prefers_matrix(value) else self._read_maps
            if torch.compiler.is_exporting() and exports_for_cpu():
                read = self._read_shares
            sampled = read(value.float(), offsets, references, weights, spatial_shapes_list)
        return self.output_proj(sampled.to(value.dtype)), weights

    def _read_matrix(
        self,
        value: Tensor,
        offsets: Tensor,
        references: Tensor,
        weights: Tensor,
        level_sizes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """Return (B, Q, D) from values (B, S, D), each head from its own channels.

        Args:
            value: values.
            offsets: (B, Q, heads, L, points, 2) from the references.
            references: (B, Q, L, 2) or (B, Q, L, 4).
            weights: (B, Q, heads, L, points).
            level_sizes: L pairs (H_l, W_l).
        """
        batch = value.shape[0]
        centres, reach = self._find_reach(references, level_sizes)
        points = centres[:, :, None, :, None] + offsets * reach[:, :, None, :, None]
        heads = value.unflatten(2, (self.n_heads, -1)).transpose(1, 2).flatten(0, 1)
        points = points.transpose(1, 2).flatten(0, 1)
        weights = weights.transpose(1, 2).flatten(0, 1)
        sampled = sample_by_matrix(heads, points, weights, level_sizes)
        return sampled.unflatten(0, (batch, self.n_heads)).transpose(1, 2).flatten(2)

    def _read_maps(
        self,
        value: Tensor,
        offsets: Tensor,
        references: Tensor,
        weights: Tensor,
        level_sizes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """Do as `_read_matrix`, with the queries innermost.

        Then one number is added to, or multiplied by, many that lie side by side.
        """
        batch, tokens, width = value.shape
        centres, reach = self._find_reach(references, level_sizes)
        # Where a map ends is -1 and 1 for the sampler.
        centres, reach = 2 * centres - 1, 2 * reach
        centres, reach = (x.permute(2, 0, 1, 3)[:, :, None, None] for x in (centres, reach))
        grids = centres + offsets.permute(3, 0, 2, 4, 1, 5) * reach  # (L, B, heads, points, Q, 2)
        weights = weights.permute(3, 0, 2, 4, 1)
        maps = value.transpose(1, 2).reshape(-1, width // self.n_heads, tokens)
        sampled = sample_by_grid(maps, grids.flatten(1, 2), weights.flatten(1, 2), level_sizes)
        return sampled.reshape(batch, width, -1).transpose(1, 2)

    def _read_shares(
        self,
        value: Tensor,
        offsets: Tensor,
        references: Tensor,
        weights: Tensor,
        level_sizes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """Do as `_read_maps` with a matrix of shares."""
        batch, tokens, width = value.shape
        centres, reach = self._find_reach(references, level_sizes)
        sizes = make_constant(
            tuple((width, height) for height, width in level_sizes),
            device=references.device,
            dtype=references.dtype,
        )
        centres, reach = centres * sizes - 0.5, reach * sizes
        centres, reach = (x.permute(0, 2, 3, 1)[:, None, :, None] for x in (centres, reach))
        shape, queries = offsets.shape[2:], offsets.shape[1]
        # Turned as matrices, which is far faster than in so many axes.
        by_query = offsets.flatten(2).transpose(1, 2).reshape(batch, *shape, queries)
        positions = (centres + by_query * reach).flatten(0, 1)  # (B heads, L, points, 2, Q)
        weights = weights.flatten(2).transpose(1, 2).reshape(batch, *shape[:-1], queries)
        maps = value.transpose(1, 2).reshape(-1, width // self.n_heads, tokens)
        sampled = sample_by_shares(maps, positions, weights.flatten(0, 1), level_sizes)
        return sampled.reshape(batch, width, -1).transpose(1, 2)

    def _find_reach(
        self, references: Tensor, level_sizes: Sequence[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """Return centres and what an offset of 1 is, both (B, Q, L, 2) in shares of the maps."""
        centres = references[..., :2]
        if references.shape[-1] == 4:
            return centres, references[..., 2:] * (0.5 / self.n_points)
        sizes = make_constant(
            tuple((width, height) for height, width in level_sizes),
            device=references.device,
            dtype=references.dtype,
        )
        return centres, (1 / sizes).expand_as(centres)


def _float_linear(layer: nn.Linear, x: Tensor) -> Tensor:
    bias = None if layer.bias is None else layer.bias.float()
    return nn.functional.linear(x.float(), layer.weight.float(), bias)


def use_float_sampling(layers: nn.ModuleList, config: Any, *, is_decoder: bool) -> None:
    """Replace the deformable attention of fresh encoder or decoder layers by `DeformableAttention`.

    Args:
        layers: transformers' Grounding DINO layers.
        config: their `GroundingDinoConfig`.
        is_decoder: which kind of layers they are.
    """
    for layer in layers:
        if is_decoder:
            layer.encoder_attn = DeformableAttention(
                config, config.decoder_attention_heads, config.decoder_n_points
            )
        else:
            layer.deformable_layer.self_attn = DeformableAttention(
                config, config.encoder_attention_heads, config.encoder_n_points
            )

"""Attention between image tokens and classes, in both directions at once.

Same parameters and results as transformers' module, which it replaces in the layers. That one
projects the image tokens, of which there are thousands, to keys and values. Here the projections
are applied to the few classes: products of matrices can be taken in any order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.grounding_dino.modeling_grounding_dino import GroundingDinoFusionLayer

from vl2_ros.model.decoders.attention.bare_linear import lay_bare

_Sides = tuple[tuple[Tensor, None], tuple[Tensor, None]]


class ImageTextFusion(GroundingDinoFusionLayer):
    """Image tokens read classes and classes read image tokens (GLIP, arXiv 2112.03857)."""

    def __init__(self, config: Any) -> None:
        """Make fresh weights.

        Args:
            config: a `GroundingDinoConfig`.
        """
        super().__init__(config)
        lay_bare(self.attn, "vision_proj", "values_vision_proj", "out_vision_proj")

    def forward(
        self,
        vision_features: Tensor,
        text_features: Tensor,
        attention_mask_vision: Tensor | None = None,
        attention_mask_text: Tensor | None = None,
    ) -> _Sides:
        """Let both sides read each other.

        Args:
            vision_features: (B, S, D) image tokens.
            text_features: (B, N, D) classes.
            attention_mask_vision: (B, S) bool, true = padding.
            attention_mask_text: (B, N) bool, true = padding; at least one per image is not.

        Returns:
            Image tokens (B, S, D) and classes (B, N, D), each with None in place of weights.
        """
        vision = self.layer_norm_vision(vision_features)
        text = self.layer_norm_text(text_features)
        scores = self._compare(vision, text)  # (B, heads, N, S)
        by_class, by_token = scores, scores.permute(0, 3, 1, 2)
        if attention_mask_vision is not None:
            hidden = attention_mask_vision[:, None, None]
            by_class = by_class.masked_fill(hidden, float("-inf"))
        if attention_mask_text is not None:
            hidden = attention_mask_text[:, None, None]
            by_token = by_token.masked_fill(hidden, float("-inf"))
        from_text = self._read_text(text, self._drop(by_token.softmax(-1)))
        from_vision = self._read_vision(vision, self._drop(by_class.softmax(-1)))
        vision = vision + self.drop_path(from_text)
        return (vision, None), (text + self.drop_path(self.text_param * from_vision), None)

    def _drop(self, weights: Tensor) -> Tensor:
        return nn.functional.dropout(weights, p=self.attn.dropout, training=self.training)

    def _split_heads(self, x: Tensor) -> Tensor:
        """Return (B, heads, N, E / heads) of (B, N, E)."""
        return x.unflatten(2, (self.attn.num_heads, -1)).transpose(1, 2)

    def _compare(self, vision: Tensor, text: Tensor) -> Tensor:
        """Return scores (B, heads, N, S): what a class asks for, as a direction of image tokens."""
        projection = self.attn.vision_proj
        keys = self._split_heads(self.attn.text_proj(text) * self.attn.scale)
        asked = keys @ projection.weight.unflatten(0, (self.attn.num_heads, -1))
        base = keys @ projection.bias.unflatten(0, (self.attn.num_heads, -1, 1))
        products = asked.flatten(1, 2) @ vision.transpose(1, 2)
        return products.unflatten(1, (self.attn.num_heads, -1)) + base

    def _read_text(self, text: Tensor, weights: Tensor) -> Tensor:
        """Return (B, S, D), scaled, by weights (B, S, heads, N)."""
        projection = self.attn.out_vision_proj
        values = self._split_heads(self.attn.values_text_proj(text))
        turned = projection.weight.unflatten(1, (self.attn.num_heads, -1)).permute(1, 2, 0)
        given = values @ turned * self.vision_param  # (B, heads, N, D)
        return weights.flatten(2) @ given.flatten(1, 2) + projection.bias * self.vision_param

    def _read_vision(self, vision: Tensor, weights: Tensor) -> Tensor:
        """Return (B, N, D) by weights (B, heads, N, S)."""
        projection = self.attn.values_vision_proj
        read = (weights.flatten(1, 2) @ vision).unflatten(1, (self.attn.num_heads, -1))
        turned = projection.weight.unflatten(0, (self.attn.num_heads, -1)).transpose(1, 2)
        bias = projection.bias.unflatten(0, (self.attn.num_heads, 1, -1))
        # Weights of which some are dropped do not add up to 1.
        values = read @ turned + weights.sum(-1, keepdim=True) * bias
        return self.attn.out_text_proj(values.transpose(1, 2).flatten(2))


def use_fusion_by_class(layers: nn.ModuleList, config: Any) -> None:
    """Replace the fusion of fresh encoder layers by `ImageTextFusion`.

    Args:
        layers: transformers' Grounding DINO encoder layers.
        config: their `GroundingDinoConfig`.
    """
    # They are initialised later: what a seed gives then shall not depend on these.
    with torch.random.fork_rng(devices=()):
        for layer in layers:
            layer.fusion_layer = ImageTextFusion(config)

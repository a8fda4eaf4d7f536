"""Values that the detection decoder passes on: the encoded scene and its output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vl2_ros.model.feature_levels import ImageTokens


@dataclass(frozen=True, slots=True, eq=False)
class DetectionOutput:
    """What the last decoder layer says.

    Attributes:
        pred_logits: (B, Q, N) float32, -inf for padded classes.
        pred_boxes: (B, Q, 4) float32 cxcywh, relative to the valid image without padding.
        mask_queries: (B, Q, M) float32.
        mask_features: (B, M, h, w) float32 on the padded canvas; h, w at the mask stride.
    """

    pred_logits: Tensor
    pred_boxes: Tensor
    mask_queries: Tensor
    mask_features: Tensor

    @property
    def mask_logits(self) -> Tensor:
        """(B, Q, h, w) masks of all queries, computed on every access."""
        return self.decode_masks()

    def decode_masks(self, query_index: Tensor | None = None) -> Tensor:
        """Return mask logits (B, k, h, w) of the queries (B, k), of all for None."""
        queries = self.mask_queries
        if query_index is not None:
            queries = queries.gather(1, query_index[..., None].expand(-1, -1, queries.shape[-1]))
        return (queries @ self.mask_features.flatten(2)).unflatten(2, self.mask_features.shape[2:])


@dataclass(frozen=True, slots=True, eq=False)
class EncodedScene:
    """Image and classes after they have exchanged information.

    Attributes:
        image: image tokens before the encoder, with their geometry.
        tokens: (B, S, D) image tokens after it.
        raw_classes: (B, N, D) class features before it.
        classes: (B, N, D) class features after it.
        class_mask: (B, N) bool, the real classes, N at least 1.
        mask_features: (B, M, h, w).
    """

    image: ImageTokens
    tokens: Tensor
    raw_classes: Tensor
    classes: Tensor
    class_mask: Tensor
    mask_features: Tensor


def attended_classes(class_mask: Tensor) -> Tensor:
    """Return the mask for attention: a picture without classes sees its first, padded one.

    A softmax over nothing would be NaN and, through the maximum in the fusion, spoil the batch.
    """
    first = torch.arange(class_mask.shape[1], device=class_mask.device) == 0
    return class_mask | (first & ~class_mask.any(1, keepdim=True))

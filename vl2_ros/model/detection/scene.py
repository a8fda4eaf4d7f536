"""Values that the detection decoder passes on: the encoded scene and its output."""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor

from vl2_ros.model.decoders.scene_encoder import EncodedScene


@dataclass(frozen=True, slots=True, eq=False)
class DetectionOutput:
    """The output of the last decoder layer.

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
class DetectionScene(EncodedScene):
    """An encoded scene with the features of masks.

    Attributes:
        mask_features: (B, M, h, w).
    """

    mask_features: Tensor

    @classmethod
    def extend(cls, scene: EncodedScene, mask_features: Tensor) -> DetectionScene:
        """Add mask features to an encoded scene."""
        known = {item.name: getattr(scene, item.name) for item in fields(EncodedScene)}
        return cls(**known, mask_features=mask_features)

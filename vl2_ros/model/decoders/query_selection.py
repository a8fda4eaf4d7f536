"""Two-stage query selection: every image token proposes a box, the best become queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vl2_ros.model.decoders.attention.feature_levels import ImageTokens
from vl2_ros.model.decoders.prediction_heads import ClassLogits, FloatMLP

_BASE_SIZE = 0.05
_MARGIN = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class SelectedQueries:
    """The Q best tokens of each image, best first.

    Attributes:
        token_index: (B, Q) int64.
        class_logits: (B, Q, N) float32, padded classes unmasked.
        box_logits: (B, Q, 4) float32, +inf where the token was invalid.
    """

    token_index: Tensor
    class_logits: Tensor
    box_logits: Tensor

    @property
    def boxes_cxcywh_norm(self) -> Tensor:
        """(B, Q, 4) with gradient."""
        return self.box_logits.sigmoid()


class QuerySelection(nn.Module):
    """Score all tokens against all classes and keep the best.

    Args:
        width: D.
        scaled: see `ClassLogits`.
    """

    def __init__(self, width: int, *, scaled: bool) -> None:
        """Make fresh weights."""
        super().__init__()
        self.projection = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.box_head = FloatMLP(width, width, 4, 3)
        self.class_logits = ClassLogits(width, scaled=scaled)

    def forward(
        self,
        image: ImageTokens,
        encoded: Tensor,
        classes: Tensor,
        class_mask: Tensor,
        count: int,
    ) -> SelectedQueries:
        """Select.

        Args:
            image: the image tokens before the encoder, for their geometry.
            encoded: (B, S, D) the tokens after it.
            classes: (B, N, D) class features after the encoder.
            class_mask: (B, N) bool, true = real.
            count: queries wanted; fewer come when the image has fewer tokens.
        """
        proposals = make_proposals(image.is_padding, image.centres, image.level_sizes)
        # A dropped token is zeroed, not removed: it competes with the score of the norm's bias.
        kept = proposals[..., :1].isfinite()
        features = self.norm(self.projection(encoded * kept.to(encoded.dtype)))
        logits = self.class_logits(features, classes)
        scores = logits.masked_fill(~class_mask[:, None], float("-inf")).amax(-1)
        index = scores.topk(min(count, scores.shape[1]), dim=1).indices
        features = take_rows(features, index)
        return SelectedQueries(
            token_index=index,
            class_logits=take_rows(logits, index),
            box_logits=self.box_head(features) + take_rows(proposals, index),
        )


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Return (B, K, C): of each image the rows (B, K) of (B, S, C)."""
    first = torch.arange(x.shape[0], device=x.device)[:, None] * x.shape[1]
    return x.flatten(0, 1)[index + first]


def make_proposals(
    is_padding: Tensor, centres: Tensor, level_sizes: Sequence[tuple[int, int]]
) -> Tensor:
    """Return the anchor of every token as logits of cxcywh, relative to the valid image.

    Args:
        is_padding: (B, S) bool.
        centres: (B, S, 2) of the tokens, see `ImageTokens`.
        level_sizes: L pairs (H_l, W_l).

    Returns:
        (B, S, 4) float32; +inf where padded or too close to the border.
    """
    sides = [
        torch.full((height * width, 2), _BASE_SIZE * 2.0**level, device=centres.device)
        for level, (height, width) in enumerate(level_sizes)
    ]
    boxes = torch.cat([centres, torch.cat(sides).expand(centres.shape[0], -1, -1)], dim=-1)
    is_valid = ((boxes > _MARGIN) & (boxes < 1 - _MARGIN)).all(-1) & ~is_padding
    safe = boxes.clamp(_MARGIN, 1 - _MARGIN)
    logits = torch.log(safe / (1 - safe))
    return logits.masked_fill(~is_valid[..., None], float("inf"))

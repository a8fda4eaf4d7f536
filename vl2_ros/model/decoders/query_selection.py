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
        proposals = make_proposals(image.is_padding, image.level_sizes)
        # A dropped token is zeroed, not removed: it competes with the score of the norm's bias.
        dropped = proposals.isinf().any(-1, keepdim=True)
        features = self.norm(self.projection(encoded.masked_fill(dropped, 0.0)))
        logits = self.class_logits(features, classes)
        scores = logits.masked_fill(~class_mask[:, None], float("-inf")).amax(-1)
        index = scores.topk(min(count, scores.shape[1]), dim=1).indices
        chosen = index[..., None]
        features = features.gather(1, chosen.expand(-1, -1, features.shape[-1]))
        return SelectedQueries(
            token_index=index,
            class_logits=logits.gather(1, chosen.expand(-1, -1, logits.shape[-1])),
            box_logits=self.box_head(features) + proposals.gather(1, chosen.expand(-1, -1, 4)),
        )


def make_proposals(is_padding: Tensor, level_sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Return the anchor of every token as logits of cxcywh, relative to the valid image.

    Args:
        is_padding: (B, S) bool.
        level_sizes: L pairs (H_l, W_l).

    Returns:
        (B, S, 4) float32; +inf where padded or too close to the border.
    """
    anchors = []
    start = 0
    for level, (height, width) in enumerate(level_sizes):
        padding = is_padding[:, start : start + height * width].unflatten(1, (height, width))
        start += height * width
        valid_rows = (~padding[:, :, 0]).sum(1)
        valid_columns = (~padding[:, 0, :]).sum(1)
        ys = torch.arange(height, device=is_padding.device, dtype=torch.float32) + 0.5
        xs = torch.arange(width, device=is_padding.device, dtype=torch.float32) + 0.5
        y = (ys / valid_rows[:, None])[:, :, None].expand(-1, -1, width)
        x = (xs / valid_columns[:, None])[:, None, :].expand(-1, height, -1)
        size = torch.full_like(x, _BASE_SIZE * 2.0**level)
        anchors.append(torch.stack([x, y, size, size], dim=-1).flatten(1, 2))
    boxes = torch.cat(anchors, dim=1)
    is_valid = ((boxes > _MARGIN) & (boxes < 1 - _MARGIN)).all(-1) & ~is_padding
    safe = boxes.clamp(_MARGIN, 1 - _MARGIN)
    logits = torch.log(safe / (1 - safe))
    return logits.masked_fill(~is_valid[..., None], float("inf"))

"""Mask losses: binary cross entropy and dice, on all pixels or on points that are uncertain.

The points follow PointRend (arXiv 1912.08193) as Mask2Former uses it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vl2_ros.model.decoders.targets import TargetBatch

#: (masks, points) -> (masks, points, 2) uniform x, y in 0..1.
PointSampler = Callable[[int, int], Tensor]


@dataclass(frozen=True, slots=True)
class MaskLossConfig:
    """How masks are compared.

    Attributes:
        points: points per mask; 0: every pixel of the prediction.
        oversample: candidates per point.
        importance: share of points that are the most uncertain candidates.
    """

    points: int
    oversample: int
    importance: float


@dataclass(frozen=True, slots=True, eq=False)
class TargetMasks:
    """Masks of a batch's objects.

    Attributes:
        masks: (B, m, h, w), bool on the padded canvas or shares in 0..1 at the features' size.
        has_mask: (B, m) bool, objects whose mask is known.
    """

    masks: Tensor
    has_mask: Tensor

    @classmethod
    def stack(
        cls, targets: TargetBatch, canvas_hw: tuple[int, int], features_hw: tuple[int, int] | None
    ) -> TargetMasks:
        """Place the masks on the canvas.

        Args:
            targets: the batch's objects.
            canvas_hw: size of the padded images; masks are placed in its top left corner.
            features_hw: size to average the canvas to, or None to keep it.
        """
        size = canvas_hw if features_hw is None else features_hw
        device = targets.is_object.device
        shape = targets.class_index.shape
        dtype = torch.bool if features_hw is None else torch.float32
        masks = torch.zeros(*shape, *size, device=device, dtype=dtype)
        has_mask = torch.zeros(shape, dtype=torch.bool, device=device)
        for row, mask in enumerate(targets.masks):
            if mask is None or not len(mask):
                continue
            has_mask[row, : len(mask)] = True
            mask = mask.to(device, dtype)
            height, width = mask.shape[-2:]
            if features_hw is not None and (height, width) != tuple(size):
                padding = (0, canvas_hw[1] - width, 0, canvas_hw[0] - height)
                mask = nn.functional.adaptive_avg_pool2d(nn.functional.pad(mask, padding), size)
                height, width = size
            masks[row, : len(mask), :height, :width] = mask
        return cls(masks, has_mask)


def mask_losses(
    queries: Tensor,
    features: Tensor,
    matched: Tensor,
    targets: TargetMasks,
    config: MaskLossConfig,
    sample_points: PointSampler,
) -> tuple[Tensor, Tensor]:
    """Return the summed cross entropy and dice losses of one prediction set.

    Args:
        queries: (B, Q, M) mask queries.
        features: (B, M, h, w) mask features.
        matched: (B, G * m) query of every object (of each of G groups), -1 = none.
        targets: masks of the m objects.
        config: how to compare.
        sample_points: source of uniform points.
    """
    groups = matched.shape[1] // max(targets.has_mask.shape[1], 1)
    chosen = (matched >= 0) & targets.has_mask.repeat(1, groups)
    image, slot = chosen.nonzero(as_tuple=True)
    if not len(image):
        nothing = 0.0 * (queries.float().sum() + features.float().sum())
        return nothing, nothing
    logits = _matched_logits(queries, features, matched)[image, slot]
    goals = targets.masks[image, slot % targets.has_mask.shape[1]].float()
    if config.points:
        points = _pick_points(logits, config, sample_points)
        logits, goals = _sample(logits, points), _sample(goals, points)
    else:
        logits, goals = logits.flatten(1), goals.flatten(1)
    return _cross_entropy(logits, goals), _dice(logits, goals)


def _matched_logits(queries: Tensor, features: Tensor, matched: Tensor) -> Tensor:
    """Return (B, G * m, h, w) float32 mask logits of the matched queries."""
    with torch.autocast(queries.device.type, enabled=False):
        index = matched.clamp(min=0)[..., None].expand(-1, -1, queries.shape[-1])
        chosen = queries.float().gather(1, index)
        return (chosen @ features.float().flatten(2)).unflatten(2, features.shape[-2:])


@torch.no_grad()
def _pick_points(logits: Tensor, config: MaskLossConfig, sample_points: PointSampler) -> Tensor:
    """Return (K, points, 2): the least certain of many candidates, and some uniform ones."""
    count = len(logits)
    candidates = sample_points(count, config.points * config.oversample).to(logits)
    certainty = _sample(logits, candidates).abs()
    kept = int(config.importance * config.points)
    index = certainty.topk(kept, dim=1, largest=False).indices
    uncertain = candidates.gather(1, index[..., None].expand(-1, -1, 2))
    if kept == config.points:
        return uncertain
    others = sample_points(count, config.points - kept).to(logits)
    return torch.cat([uncertain, others], dim=1)


def _sample(maps: Tensor, points: Tensor) -> Tensor:
    """Read maps (K, h, w) at points (K, P, 2) by bilinear interpolation, zeros outside."""
    grid = 2 * points[:, None] - 1
    return nn.functional.grid_sample(maps[:, None], grid, align_corners=False)[:, 0, 0]


def _cross_entropy(logits: Tensor, goals: Tensor) -> Tensor:
    loss = nn.functional.binary_cross_entropy_with_logits(logits, goals, reduction="none")
    return loss.mean(1).sum()


def _dice(logits: Tensor, goals: Tensor) -> Tensor:
    probabilities = logits.sigmoid()
    overlap = 2 * (probabilities * goals).sum(1)
    total = probabilities.sum(1) + goals.sum(1)
    return (1 - (overlap + 1) / (total + 1)).sum()

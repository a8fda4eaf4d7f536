"""Losses over sets of predictions of classes and boxes (DETR family), and their weighted sum.

A prediction set is the output of one decoder layer, of the query selection, or of the denoising
queries; all sets of the same kind are compared in one go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from vl2_ros.model.decoders.boxes import generalised_iou
from vl2_ros.model.decoders.targets import TargetBatch


class LossWeights(Protocol):
    """Fields that a decoder's configuration needs for `total_loss`."""

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """Weight of each kind of loss: ce, bbox, giou, ..."""


@dataclass(frozen=True, slots=True, eq=False)
class PredictionSets:
    """S sets of predictions with the same number of queries.

    Attributes:
        suffixes: S endings of the loss names; "" is the last layer.
        logits: (S, B, Q, N) float32, padded classes unmasked.
        boxes_cxcywh_norm: (S, B, Q, 4) float32.
        mask_queries: S times (B, Q, M), or None where the set trains no masks; () trains none.
    """

    suffixes: tuple[str, ...]
    logits: Tensor
    boxes_cxcywh_norm: Tensor
    mask_queries: Sequence[Tensor | None] = ()


def assign_denoising(sets: PredictionSets, targets: TargetBatch, groups: int) -> Tensor:
    """Return (S, B, G * m): object k of group g belongs to positive slot g * 2m + k."""
    size = targets.class_index.shape[1]
    device = targets.is_object.device
    first = torch.arange(groups, device=device) * 2 * size
    slots = (first[:, None] + torch.arange(size, device=device)).flatten()
    slots = torch.where(targets.is_object.repeat(1, groups), slots, -1)
    return slots.expand(len(sets.suffixes), -1, -1)


def box_and_class_losses(
    sets: PredictionSets,
    matched: Tensor,
    targets: TargetBatch,
    class_mask: Tensor,
    focal_alpha: float,
    giou_smoothing: float = 0.0,
) -> dict[str, Tensor]:
    """Return class and box losses of every set, divided by the number of objects.

    Args:
        sets: the predictions.
        matched: (S, B, m) the query of every object, -1 = none.
        targets: the objects.
        class_mask: (B, N) bool, the real classes.
        focal_alpha: weight of positives.
        giou_smoothing: see `generalised_iou`.
    """
    divisor = max(targets.total, 1)
    is_matched = matched >= 0
    query = matched.clamp(min=0)
    ce = _class_losses(sets.logits, query, is_matched, targets, class_mask, focal_alpha)
    if targets.total:
        index = query[..., None].expand(-1, -1, -1, 4)
        boxes = sets.boxes_cxcywh_norm.gather(2, index)
        goals = targets.boxes_cxcywh_norm[None]
        l1 = ((boxes - goals).abs().sum(-1) * is_matched).sum((1, 2))
        giou = ((1 - generalised_iou(boxes, goals, giou_smoothing)) * is_matched).sum((1, 2))
    else:
        # Without an object nothing is trained, but the graph stays whole.
        ce = l1 = giou = 0.0 * sets.logits.sum((1, 2, 3))
    losses = {}
    for name, values in (("loss_ce", ce), ("loss_bbox", l1), ("loss_giou", giou)):
        for suffix, value in zip(sets.suffixes, values / divisor, strict=True):
            losses[name + suffix] = value
    return losses


def _class_losses(
    logits: Tensor,
    query: Tensor,
    is_matched: Tensor,
    targets: TargetBatch,
    class_mask: Tensor,
    alpha: float,
) -> Tensor:
    """Return the (S,) summed focal losses over all queries and real classes."""
    goals = torch.zeros_like(logits)
    sets, images, slots = is_matched.nonzero(as_tuple=True)
    goals[sets, images, query[sets, images, slots], targets.class_index[images, slots]] = 1.0
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, goals, reduction="none")
    probabilities = logits.sigmoid()
    miss = probabilities + goals - 2 * probabilities * goals  # 1 - p of what is true
    weight = (1 - alpha) + (2 * alpha - 1) * goals
    return (weight * miss**2 * entropy * class_mask[:, None]).sum((1, 2, 3))


def total_loss(losses: dict[str, Tensor], config: LossWeights) -> Tensor:
    """Return the weighted sum of the losses of a decoder's `compute_losses`."""
    weights = config.loss_weights
    return torch.stack(
        [weights[name.split("_")[1]] * value for name, value in losses.items()]
    ).sum()

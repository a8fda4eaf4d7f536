"""Losses of the detection decoder over its prediction sets: classes and boxes, and masks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vl2_ros.model.decoders.masks.mask_losses import (
    MaskLossConfig,
    PointSampler,
    TargetMasks,
    mask_losses,
)
from vl2_ros.model.decoders.matching import match
from vl2_ros.model.decoders.set_losses import (
    PredictionSets,
    assign_denoising,
    box_and_class_losses,
)
from vl2_ros.model.decoders.targets import TargetBatch
from vl2_ros.model.detection.config import DetectionConfig


@dataclass(frozen=True, slots=True, eq=False)
class TrainingPredictions:
    """Everything that one training pass predicts for B images.

    Attributes:
        matching: decoder layers and query selection, to be matched.
        denoised: decoder layers on the denoising queries, or None.
        groups: denoising groups G.
        mask_features: (B, M, h, w).
        class_mask: (B, N) bool, the real classes.
        canvas_hw: size of the padded images.
    """

    matching: PredictionSets
    denoised: PredictionSets | None
    groups: int
    mask_features: Tensor
    class_mask: Tensor
    canvas_hw: tuple[int, int]


def compute_set_losses(
    predictions: TrainingPredictions,
    targets: TargetBatch,
    config: DetectionConfig,
    sample_points: PointSampler,
) -> dict[str, Tensor]:
    """Match the predictions and compare all sets with the targets.

    Args:
        predictions: of one pass.
        targets: the batch's objects.
        config: weights of the matching cost, point numbers.
        sample_points: source of uniform points for the mask losses.
    """
    kinds = [(predictions.matching, match_sets(predictions.matching, targets, config), targets)]
    if predictions.denoised is not None:
        fixed = assign_denoising(predictions.denoised, targets, predictions.groups)
        kinds.append((predictions.denoised, fixed, targets.tile(predictions.groups)))
    features = predictions.mask_features
    features_hw = None if config.mask_loss_points else tuple(features.shape[-2:])
    masks = TargetMasks.stack(targets, predictions.canvas_hw, features_hw)
    how = MaskLossConfig(
        config.mask_loss_points, config.mask_loss_oversample, config.mask_loss_importance
    )
    losses: dict[str, Tensor] = {}
    for sets, matched, objects in kinds:
        losses |= box_and_class_losses(
            sets, matched, objects, predictions.class_mask, config.focal_alpha
        )
        for index, queries in enumerate(sets.mask_queries):
            if queries is None:
                continue
            sums = mask_losses(queries, features, matched[index], masks, how, sample_points)
            for name, value in zip(("loss_mask", "loss_dice"), sums, strict=True):
                losses[name + sets.suffixes[index]] = value / max(objects.total, 1)
    return losses


def match_sets(sets: PredictionSets, targets: TargetBatch, config: DetectionConfig) -> Tensor:
    """Return (S, B, m) the query of every object by Hungarian matching, -1 = none."""
    return match(
        sets.logits,
        sets.boxes_cxcywh_norm,
        targets,
        class_cost=config.class_cost,
        bbox_cost=config.bbox_cost,
        giou_cost=config.giou_cost,
    )

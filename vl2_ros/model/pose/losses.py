"""Losses of the pose decoder: those of classes and boxes, and two of keypoints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vl2_ros.model.decoders.matching import match
from vl2_ros.model.decoders.set_losses import (
    PredictionSets,
    assign_denoising,
    box_and_class_losses,
)
from vl2_ros.model.pose.config import PoseConfig
from vl2_ros.model.pose.targets import PoseTargetBatch

#: Added to denominators, and the least similarity; the released training has them.
_EPS = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class PosePredictions:
    """Everything that one training pass predicts for B images.

    Attributes:
        boxes: box layers and query selection, to be matched.
        groups: the layers with keypoints, to be matched.
        keypoints_xy_norm: (S, B, G, M, 2) float32, of the same layers.
        denoised: all layers on the denoising queries, or None.
        denoising_groups: denoising groups.
        class_mask: (B, N) bool, the real classes.
    """

    boxes: PredictionSets
    groups: PredictionSets
    keypoints_xy_norm: Tensor
    denoised: PredictionSets | None
    denoising_groups: int
    class_mask: Tensor


def compute_pose_losses(
    predictions: PosePredictions, targets: PoseTargetBatch, config: PoseConfig
) -> dict[str, Tensor]:
    """Match the predictions and compare all sets with the targets."""
    objects = targets.objects
    points = predictions.keypoints_xy_norm
    in_groups = match_poses(predictions.groups, targets, config, points)
    kinds = [
        (predictions.boxes, match_poses(predictions.boxes, targets, config), objects),
        (predictions.groups, in_groups, objects),
    ]
    if predictions.denoised is not None:
        count = predictions.denoising_groups
        fixed = assign_denoising(predictions.denoised, objects, count)
        kinds.append((predictions.denoised, fixed, objects.tile(count)))
    losses: dict[str, Tensor] = {}
    for sets, matched, goals in kinds:
        losses |= box_and_class_losses(
            sets, matched, goals, predictions.class_mask, config.focal_alpha, _EPS
        )
    values = _keypoint_losses(points, in_groups, targets)
    for name, value in zip(("loss_keypoints", "loss_oks"), values, strict=True):
        for suffix, one in zip(predictions.groups.suffixes, value, strict=True):
            losses[name + suffix] = one / max(objects.total, 1)
    return losses


def match_poses(
    sets: PredictionSets,
    targets: PoseTargetBatch,
    config: PoseConfig,
    keypoints_xy_norm: Tensor | None = None,
) -> Tensor:
    """Return (S, B, m) the query of every object by Hungarian matching, -1 = none.

    Args:
        sets: the predictions.
        targets: the batch's objects.
        config: weights of the cost.
        keypoints_xy_norm: (S, B, Q, M, 2) of the same sets; None where they have none.
    """
    extra = None
    if keypoints_xy_norm is not None and targets.objects.total:
        with torch.no_grad():
            distance, similarity = _compare(keypoints_xy_norm[:, :, :, None], targets, 1)
            extra = config.keypoint_cost * distance + config.oks_cost * (1 - similarity)
    return match(
        sets.logits,
        sets.boxes_cxcywh_norm,
        targets.objects,
        class_cost=config.class_cost,
        bbox_cost=config.bbox_cost,
        giou_cost=config.giou_cost,
        giou_smoothing=_EPS,
        extra_cost=extra,
    )


def _compare(points: Tensor, targets: PoseTargetBatch, axis: int) -> tuple[Tensor, Tensor]:
    """Return L1 distance and similarity of points with all objects of their image.

    Args:
        points: (S, B, .., M, 2), to broadcast against the targets.
        targets: the batch's objects.
        axis: where targets (B, m, M) get a further axis to broadcast along.
    """
    goals = targets.keypoints_xy_norm.unsqueeze(axis)
    visible, areas = targets.is_visible.unsqueeze(axis), targets.areas_norm.unsqueeze(axis)
    sigmas = targets.sigmas[:, None, None]
    distance = ((points - goals).abs().sum(-1) * visible).sum(-1)
    return distance, keypoint_similarity(points, goals, visible, areas, sigmas)


def _keypoint_losses(
    points: Tensor, matched: Tensor, targets: PoseTargetBatch
) -> tuple[Tensor, Tensor]:
    """Return the summed distances (S,) and dissimilarities (S,) of matched groups."""
    if not targets.objects.total:
        nothing = 0.0 * points.sum((1, 2, 3, 4))
        return nothing, nothing
    index = matched.clamp(min=0)[..., None, None].expand(-1, -1, -1, *points.shape[3:])
    found = points.gather(2, index)  # (S, B, m, M, 2)
    distance, similarity = _compare(found[:, :, None], targets, 1)
    is_matched = (matched >= 0)[:, :, None]
    far = (distance * is_matched).sum((1, 2, 3))
    return far, ((1 - similarity) * is_matched).sum((1, 2, 3))


def keypoint_similarity(
    points: Tensor, goals: Tensor, is_visible: Tensor, areas: Tensor, sigmas: Tensor
) -> Tensor:
    """Return the object keypoint similarity (...) of arrays that broadcast.

    The image's aspect is ignored, because all coordinates are relative to it.

    Args:
        points: (..., M, 2).
        goals: (..., M, 2).
        is_visible: (..., M), 0 or 1.
        areas: (...), of the objects.
        sigmas: (..., M), see `OKS_SIGMAS`.
    """
    squared = (points - goals).square().sum(-1)
    reach = 2 * areas[..., None] * (2 * sigmas).square()
    near = torch.exp(-squared / reach.clamp(min=torch.finfo(reach.dtype).tiny)) * is_visible
    return (near.sum(-1) / (is_visible.sum(-1) + _EPS)).clamp(min=_EPS)

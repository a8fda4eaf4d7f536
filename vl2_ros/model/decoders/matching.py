"""Hungarian matching of predictions to targets, for all prediction sets of a batch at once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vl2_ros.model.decoders.boxes import generalised_iou
from vl2_ros.model.decoders.targets import TargetBatch

_ALPHA = 0.25
_EPS = 1e-8
_UNUSABLE = 1e8


@torch.no_grad()
def match(
    logits: Tensor,
    boxes_cxcywh: Tensor,
    targets: TargetBatch,
    *,
    class_cost: float,
    bbox_cost: float,
    giou_cost: float,
    giou_smoothing: float = 0.0,
    extra_cost: Tensor | None = None,
) -> Tensor:
    """Assign to every object the query that is cheapest overall.

    Args:
        logits: (S, B, Q, N) float32 of S prediction sets.
        boxes_cxcywh: (S, B, Q, 4) float32.
        targets: the batch's objects.
        class_cost: weight of the focal class cost.
        bbox_cost: weight of the L1 distance.
        giou_cost: weight of the generalised IoU.
        giou_smoothing: see `generalised_iou`.
        extra_cost: (S, B, Q, m) further cost, or None.

    Returns:
        (S, B, m) int64, the query of every object; -1 in padding and where queries ran out.
    """
    if not targets.total:
        shape = (len(logits), *targets.class_index.shape)
        return torch.full(shape, -1, dtype=torch.int64, device=logits.device)
    goals = targets.boxes_cxcywh_norm[None, :, None]  # (1, B, 1, m, 4)
    boxes = boxes_cxcywh[:, :, :, None]  # (S, B, Q, 1, 4)
    cost = bbox_cost * (boxes - goals).abs().sum(-1)
    cost -= giou_cost * generalised_iou(boxes, goals, giou_smoothing)
    cost += class_cost * _class_cost(logits, targets.class_index)
    if extra_cost is not None:
        cost += extra_cost
    # A prediction that is not a number must not stop training; it is matched last.
    cost = torch.nan_to_num(cost, nan=_UNUSABLE, posinf=_UNUSABLE, neginf=_UNUSABLE)
    return torch.from_numpy(_assign(cost.cpu().numpy(), targets.counts)).to(logits.device)


def _class_cost(logits: Tensor, class_index: Tensor) -> Tensor:
    """Return (S, B, Q, m): focal loss of a positive minus that of a negative."""
    index = class_index[None, :, None].expand(*logits.shape[:3], -1)
    probability = logits.gather(-1, index).sigmoid()
    positive = _ALPHA * (1 - probability) ** 2 * -(probability + _EPS).log()
    negative = (1 - _ALPHA) * probability**2 * -(1 - probability + _EPS).log()
    return positive - negative


def _assign(cost: np.ndarray, counts: tuple[int, ...]) -> np.ndarray:
    """Return the cheapest query of every object, (S, B, m) from costs (S, B, Q, m)."""
    # Training only: answering must not need scipy.
    from scipy.optimize import linear_sum_assignment

    queries = np.full((*cost.shape[:2], cost.shape[3]), -1, dtype=np.int64)
    for set_index, images in enumerate(cost):
        for image, count in enumerate(counts):
            query, target = linear_sum_assignment(images[image, :, :count])
            queries[set_index, image, target] = query
    return queries

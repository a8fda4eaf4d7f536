"""Box arithmetic on tensors: corner form, IoU and generalised IoU of cxcywh boxes."""

from __future__ import annotations

import torch
from torch import Tensor

_EPS = 1e-7


def to_xyxy(boxes_cxcywh: Tensor) -> Tensor:
    """Return the corners of (..., 4) cxcywh boxes."""
    centres, sizes = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:]
    return torch.cat([centres - sizes / 2, centres + sizes / 2], dim=-1)


def to_cxcywh(boxes_xyxy: Tensor) -> Tensor:
    """Return the centre form of (..., 4) corner boxes."""
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def generalised_iou(a_cxcywh: Tensor, b_cxcywh: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the generalised IoU of boxes that broadcast, (..., 4) and (..., 4) to (...).

    Args:
        a_cxcywh: boxes.
        b_cxcywh: boxes.
        smoothing: added to both denominators.
    """
    a, b = to_xyxy(a_cxcywh), to_xyxy(b_cxcywh)
    inner = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(0)
    outer = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(0)
    intersection = inner[..., 0] * inner[..., 1]
    union = _area(a) + _area(b) - intersection
    hull = outer[..., 0] * outer[..., 1]
    # Boxes of area 0 would divide 0 by 0.
    iou = intersection / (union + smoothing).clamp(min=_EPS)
    return iou - (hull - union) / (hull + smoothing).clamp(min=_EPS)


def _area(boxes_xyxy: Tensor) -> Tensor:
    return (boxes_xyxy[..., 2] - boxes_xyxy[..., 0]) * (boxes_xyxy[..., 3] - boxes_xyxy[..., 1])

"""Sine encoding of positions, as DETR and its successors have it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vl2_ros.model.decoders.attention.constants import make_constant


def encode_sines(angles: Tensor, width: int, temperature: int = 10_000) -> Tensor:
    """Encode angles as sine and cosine at falling frequencies, in turns.

    Sine and cosine of a pair have the same frequency, so each angle is divided once for both.

    Args:
        angles: (...) float32; a full turn is 2 pi.
        width: even number of values for each angle.
        temperature: ratio of the first and, nearly, the last frequency.

    Returns:
        (..., width) float32.
    """
    steps = torch.arange(width // 2, dtype=torch.float32, device=angles.device)
    phases = angles[..., None] / temperature ** (2 * steps / width)
    return torch.stack([phases.sin(), phases.cos()], dim=-1).flatten(-2)


def encode_boxes(boxes: Tensor, width: int) -> Tensor:
    """Encode boxes (..., 4) cxcywh in 0..1, y before x, as (..., 4 * width) float32."""
    order = make_constant((1, 0, 2, 3), device=boxes.device, dtype=torch.int64)
    return encode_sines(boxes.index_select(-1, order) * (2 * math.pi), width).flatten(-2)

"""The loss of the vision tower's tokens against the labels of their cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vl2_ros.training.eyes.directions import (
    CENTRE_COLORS,
    CENTRE_KINDS,
    COLORS,
    COUNT,
    KINDS,
    PLACES,
    SCALE,
    CellLabels,
    LabelDirections,
    cell_places,
    label_coefficients,
)

#: Weight of a cell that shows nothing, and of a centre in the distance; an object's has 1.
_BACKGROUND, _CENTRE = 0.15, 4.0
#: Logits are coefficients times this.
_SHARPNESS = 2.0
#: Weights of the distance to the labels' token, and of what lies in no direction.
_DISTANCE, _REST = 0.1, 0.05


def compute_token_loss(
    directions: LabelDirections, tokens: Tensor, labels: CellLabels
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compare tokens with the labels of their cells.

    Args:
        directions: of the labels.
        tokens: (B, M, C) output of the tower.
        labels: of the same cells.

    Returns:
        The total loss, and its parts: cross entropies of kind and colour, distance to the token
        that the labels make, energy outside of all directions.
    """
    tokens = tokens.float()
    read = directions.read(tokens)
    parts = {
        "kind": _cross_entropy(read[..., KINDS], labels.kinds),
        "color": _cross_entropy(read[..., COLORS], labels.colors),
        "distance": _distance(read, labels),
        "rest": (tokens.square().sum(-1) - read.square().sum(-1)).mean() / tokens.shape[-1],
    }
    total = parts["kind"] + parts["color"] + _DISTANCE * parts["distance"] + _REST * parts["rest"]
    return total, parts


def _cross_entropy(coefficients: Tensor, rows: Tensor) -> Tensor:
    """Return the weighted mean over cells with a label."""
    losses = nn.functional.cross_entropy(
        _SHARPNESS * coefficients.flatten(0, 1), rows.clamp(min=0).flatten(), reduction="none"
    )
    weights = ((rows >= 0) * torch.where(rows > 0, 1.0, _BACKGROUND)).flatten()
    return (losses * weights).sum() / weights.sum().clamp(min=1.0)


def _distance(read: Tensor, labels: CellLabels) -> Tensor:
    known = torch.zeros(*labels.kinds.shape, COUNT, dtype=torch.bool, device=read.device)
    for part, rows in (
        (KINDS, labels.kinds),
        (COLORS, labels.colors),
        (CENTRE_KINDS, labels.kinds),
        (CENTRE_COLORS, labels.colors),
    ):
        known[..., part] = (rows >= 0)[..., None]
    known[..., PLACES] = True
    apart = (read - SCALE * label_coefficients(labels)).square() * known
    is_object = (labels.kinds > 0) | (labels.colors > 0)
    weights = torch.where(labels.centres, _CENTRE, torch.where(is_object, 1.0, _BACKGROUND))
    weights = weights * ((labels.kinds >= 0) | (labels.colors >= 0))
    return (apart.sum(-1) * weights).sum() / weights.sum().clamp(min=1.0)


@torch.no_grad()
def measure_tokens(
    directions: LabelDirections, tokens: Tensor, labels: CellLabels
) -> dict[str, Tensor]:
    """Return shares for the log: what the directions alone read of the labels.

    `kind_right` and `color_right` are over the cells of objects, `centre_kind_right` over centres,
    with the directions of centres; `background_wrong` is the share of empty cells that are
    taken for a kind. A share over nothing is not there. `place_error` is the root of the mean
    square of how far x and y are read from where a cell is, of 2 from side to side.
    """
    read = directions.read(tokens.float())
    kinds, colors = read[..., KINDS].argmax(-1), read[..., COLORS].argmax(-1)
    centre_kinds = 1 + read[..., CENTRE_KINDS].argmax(-1)
    empty = labels.kinds == 0
    return {
        name: right[where].float().mean()
        for name, right, where in (
            ("kind_right", kinds == labels.kinds, labels.kinds > 0),
            ("color_right", colors == labels.colors, labels.colors > 0),
            (
                "centre_kind_right",
                centre_kinds == labels.kinds,
                labels.centres & (labels.kinds > 0),
            ),
            ("background_wrong", kinds > 0, empty),
        )
        if where.any()
    } | {"place_error": _place_error(read)}


def _place_error(read: Tensor) -> Tensor:
    places = cell_places(math.isqrt(read.shape[1])).to(read.device)
    return (read[..., PLACES] / SCALE - places)[..., :2].square().mean().sqrt()

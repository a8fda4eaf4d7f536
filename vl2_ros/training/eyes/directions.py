"""Directions in the tower's output that stand for labels.

A token of the trained tower is near the sum of the directions of what it shows: its kind, its
colour, at the centre of an object both again, and where it is in the image. So the LLM can learn on
sums of directions, computed from labels without an image, and then read the tower.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vl2_ros.datasets.token_labels.label_table import COLOR_ROWS, KIND_ROWS
from vl2_ros.errors import ConfigError

#: Length of each direction in a token.
SCALE = 4.0
#: Coefficients: kind, colour, kind at a centre, colour at a centre, place.
KINDS = slice(0, KIND_ROWS)
COLORS = slice(KINDS.stop, KINDS.stop + COLOR_ROWS)
CENTRE_KINDS = slice(COLORS.stop, COLORS.stop + KIND_ROWS - 1)
CENTRE_COLORS = slice(CENTRE_KINDS.stop, CENTRE_KINDS.stop + COLOR_ROWS - 1)
PLACES = slice(CENTRE_COLORS.stop, CENTRE_COLORS.stop + 3)
COUNT = PLACES.stop


@dataclass(frozen=True, slots=True, eq=False)
class CellLabels:
    """Labels of the cells of B images.

    Attributes:
        kinds: (B, M) int64 rows of the label table: 0 = nothing, -1 = no loss.
        colors: (B, M) int64, likewise.
        centres: (B, M) bool.
    """

    kinds: Tensor
    colors: Tensor
    centres: Tensor


class LabelDirections(nn.Module):
    """Orthonormal directions of all labels.

    They are rows of the discrete cosine transform, so that every machine has the same ones without
    a file: the tower of one run and the LLM of the next agree.

    Args:
        width: channels of a token.

    Raises:
        ConfigError: if the tokens have too few channels.
    """

    directions: Tensor

    def __init__(self, width: int) -> None:
        """Compute them; the constant row is skipped, as norms take it away."""
        super().__init__()
        if width <= COUNT:
            raise ConfigError(
                f"labels need vision tokens of more than {COUNT} channels, got {width}"
            )
        rows = np.arange(1, COUNT + 1)[:, None] * (np.arange(width)[None] + 0.5)
        table = math.sqrt(2.0 / width) * np.cos(rows * (math.pi / width))
        self.register_buffer("directions", torch.from_numpy(table).float(), persistent=False)

    def read(self, tokens: Tensor) -> Tensor:
        """Return the coefficients (..., COUNT) of tokens (..., C)."""
        return tokens @ self.directions.T

    def make_tokens(self, coefficients: Tensor) -> Tensor:
        """Return the tokens (..., C) that have coefficients (..., COUNT)."""
        return SCALE * coefficients @ self.directions


def cell_places(side: int) -> Tensor:
    """Return (M, 3) for the cells of a `side` x `side` grid, row by row.

    x and y of their middles from -1 to 1, and x² + y² - 1, with which a weighted product of two
    places says how near to each other they are.
    """
    along = (2.0 * torch.arange(side) + 1.0) / side - 1.0
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([x, y, x.square() + y.square() - 1.0], dim=-1).flatten(0, 1)


def label_coefficients(labels: CellLabels) -> Tensor:
    """Return (B, M, COUNT) of the cells of square grids.

    1 for each label that a cell has, where unknown ones count as nothing, then its place.
    """
    kinds = nn.functional.one_hot(labels.kinds.clamp(min=0), KIND_ROWS)
    colors = nn.functional.one_hot(labels.colors.clamp(min=0), COLOR_ROWS)
    at_centre = labels.centres[..., None]
    count, cells = labels.kinds.shape
    places = cell_places(math.isqrt(cells)).to(kinds.device).expand(count, -1, -1)
    parts = [kinds, colors, at_centre * kinds[..., 1:], at_centre * colors[..., 1:], places]
    return torch.cat(parts, dim=-1).float()

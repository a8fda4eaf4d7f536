"""Flatten backbone maps and a pixel mask into the tokens of a multi-scale transformer.

Positions, ratios and reference geometry are float32.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vl2_ros.model.decoders.attention.constants import make_constant
from vl2_ros.model.decoders.attention.sine_positions import encode_sines

#: Keeps what has no valid pixel from being divided by 0; released weights depend on it.
_POSITION_EPS = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class ImageTokens:
    """S tokens of all levels, fine to coarse, row-major inside a level.

    Attributes:
        tokens: (B, S, D).
        positions: (B, S, D) sine position plus level embedding, float32.
        is_padding: (B, S) bool.
        centres: (B, S, 2) x and y of each token in shares of its level's valid part, float32.
        valid_ratios: (B, L, 2) share of valid columns and rows of each level, float32.
        level_sizes: L pairs (H_l, W_l).
    """

    tokens: Tensor
    positions: Tensor
    is_padding: Tensor
    centres: Tensor
    valid_ratios: Tensor
    level_sizes: tuple[tuple[int, int], ...]

    @property
    def level_starts(self) -> list[int]:
        """Index of the first token of each level."""
        counts = [height * width for height, width in self.level_sizes]
        return [0, *itertools.accumulate(counts)][:-1]

    def level_map(self, tokens: Tensor, level: int) -> Tensor:
        """Lay (B, S, D) tokens of one level out as a map (B, D, H_l, W_l)."""
        height, width = self.level_sizes[level]
        start = self.level_starts[level]
        part = tokens[:, start : start + height * width]
        return part.transpose(1, 2).unflatten(2, (height, width))


class FeatureLevels(nn.Module):
    """Project backbone maps to width D, add strided levels, flatten.

    Args:
        channels: channels of the backbone maps that become levels.
        width: D.
        num_levels: L; levels beyond the maps come from 3x3 convolutions of stride 2.
        norm_groups: groups of the group norms.
        temperature: base of the sine position embedding.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        width: int,
        num_levels: int,
        norm_groups: int,
        temperature: int,
    ) -> None:
        """Make fresh projections."""
        super().__init__()
        # The first extra level reads the raw last map, a further one the level before it.
        inputs = [*channels, channels[-1], *[width] * num_levels][:num_levels]
        self.projections = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(size, width, 1)
                if level < len(channels)
                else nn.Conv2d(size, width, 3, stride=2, padding=1),
                nn.GroupNorm(norm_groups, width),
            )
            for level, size in enumerate(inputs)
        )
        self.level_embed = nn.Parameter(torch.randn(num_levels, width))
        for projection in self.projections:
            nn.init.xavier_uniform_(projection[0].weight)
            nn.init.zeros_(projection[0].bias)
        self._temperature = temperature

    def forward(self, levels: Sequence[Tensor], pixel_mask: Tensor) -> ImageTokens:
        """Build the token sequence.

        Args:
            levels: L maps (B, D, H_l, W_l) from `project`.
            pixel_mask: (B, H, W) bool, true = valid pixel.
        """
        sizes = tuple((level.shape[-2], level.shape[-1]) for level in levels)
        masks = [resize_mask(pixel_mask, size) for size in sizes]
        counts = [count_valid(mask) for mask in masks]
        angles = torch.cat([place_pixels(mask) for mask in masks], dim=1) * (2 * math.pi)
        sines = encode_sines(angles, self.level_embed.shape[1] // 2, self._temperature)
        embeds = [
            embed.float().expand(height * width, -1)
            for embed, (height, width) in zip(self.level_embed.unbind(), sizes, strict=True)
        ]
        return ImageTokens(
            tokens=torch.cat([level.flatten(2) for level in levels], dim=2).transpose(1, 2),
            positions=sines.flatten(2) + torch.cat(embeds),
            is_padding=~torch.cat([mask.flatten(1) for mask in masks], dim=1),
            centres=torch.cat(
                [find_centres(size, count) for size, count in zip(sizes, counts, strict=True)],
                dim=1,
            ),
            valid_ratios=torch.stack(
                [count / _as_xy(size, count) for size, count in zip(sizes, counts, strict=True)],
                dim=1,
            ),
            level_sizes=sizes,
        )

    def project(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return L maps (B, D, H_l, W_l) of the backbone's maps, fine to coarse."""
        levels: list[Tensor] = []
        for index, projection in enumerate(self.projections):
            if index < len(maps):
                levels.append(projection(maps[index]))
            else:
                levels.append(projection(maps[-1] if index == len(maps) else levels[-1]))
        return levels


def resize_mask(pixel_mask: Tensor, size: Sequence[int]) -> Tensor:
    """Sample a mask (B, H, W) at another size by nearest neighbour, bool."""
    resized = nn.functional.interpolate(pixel_mask[None].float(), size=tuple(size))
    return resized[0].to(torch.bool)


def count_valid(mask: Tensor) -> Tensor:
    """Return (B, 2) float32: valid columns in the first row of a mask (B, H, W), and valid rows."""
    return torch.stack([mask[:, 0].sum(1), mask[:, :, 0].sum(1)], dim=-1).float()


def find_centres(size: Sequence[int], count: Tensor) -> Tensor:
    """Return the centre of every pixel of a map in shares of its valid part.

    Args:
        size: (H, W).
        count: (B, 2) valid columns and rows, from `count_valid`.

    Returns:
        (B, H * W, 2) x, y.
    """
    height, width = size
    # Not linspace(): that makes constants of height and width in an exported graph.
    x = torch.arange(width, dtype=count.dtype, device=count.device) + 0.5
    y = torch.arange(height, dtype=count.dtype, device=count.device) + 0.5
    grid = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], dim=-1)
    return grid.flatten(0, 1) / count[:, None]


def _as_xy(size: Sequence[int], like: Tensor) -> Tensor:
    height, width = size
    return make_constant((width, height), device=like.device, dtype=like.dtype)


def place_pixels(mask: Tensor) -> Tensor:
    """Return (B, H * W, 2): share of the valid pixels above, and to the left, of each pixel."""
    y = mask.cumsum(1, dtype=torch.float32)
    x = mask.cumsum(2, dtype=torch.float32)
    y = y / (y[:, -1:] + _POSITION_EPS)
    x = x / (x[:, :, -1:] + _POSITION_EPS)
    return torch.stack([y, x], dim=-1).flatten(1, 2)

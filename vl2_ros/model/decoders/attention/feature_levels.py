"""Flatten backbone maps and a pixel mask into the tokens of a multi-scale transformer.

Positions, ratios and reference geometry are float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from transformers.models.grounding_dino.modeling_grounding_dino import (
    GroundingDinoSinePositionEmbedding,
)

from vl2_ros.model.decoders.attention.constants import make_constant


@dataclass(frozen=True, slots=True, eq=False)
class ImageTokens:
    """S tokens of all levels, fine to coarse, row-major inside a level.

    Attributes:
        tokens: (B, S, D).
        positions: (B, S, D) sine position plus level embedding, float32.
        is_padding: (B, S) bool.
        valid_ratios: (B, L, 2) share of valid columns and rows of each level, float32.
        level_sizes: L pairs (H_l, W_l).
    """

    tokens: Tensor
    positions: Tensor
    is_padding: Tensor
    valid_ratios: Tensor
    level_sizes: tuple[tuple[int, int], ...]

    @property
    def level_starts(self) -> list[int]:
        """Index of the first token of each level."""
        counts = [height * width for height, width in self.level_sizes]
        return [0, *itertools.accumulate(counts)][:-1]

    @property
    def geometry(self) -> dict[str, object]:
        """Arguments that transformers' deformable encoder and decoder share."""
        device = self.tokens.device
        return {
            "spatial_shapes": make_constant(
                tuple(self.level_sizes), device=device, dtype=torch.int64
            ),
            "spatial_shapes_list": list(self.level_sizes),
            "level_start_index": make_constant(
                tuple(self.level_starts), device=device, dtype=torch.int64
            ),
            "valid_ratios": self.valid_ratios,
        }

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
        self._position = GroundingDinoSinePositionEmbedding(
            SimpleNamespace(d_model=width, positional_embedding_temperature=temperature)
        )

    def forward(self, levels: Sequence[Tensor], pixel_mask: Tensor) -> ImageTokens:
        """Build the token sequence.

        Args:
            levels: L maps (B, D, H_l, W_l) from `project`.
            pixel_mask: (B, H, W) bool, true = valid pixel.
        """
        masks = [resize_mask(pixel_mask, level.shape[-2:]) for level in levels]
        positions = [
            self._position(mask, mask).flatten(2).transpose(1, 2) + self.level_embed[index].float()
            for index, mask in enumerate(masks)
        ]
        return ImageTokens(
            tokens=torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1),
            positions=torch.cat(positions, dim=1),
            is_padding=~torch.cat([mask.flatten(1) for mask in masks], dim=1),
            valid_ratios=torch.stack([valid_ratio(mask) for mask in masks], dim=1),
            level_sizes=tuple((level.shape[-2], level.shape[-1]) for level in levels),
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


def valid_ratio(mask: Tensor) -> Tensor:
    """Return (B, 2): share of valid columns in the first row, of valid rows in the first column."""
    valid_rows = mask[:, :, 0].float().mean(1)
    valid_columns = mask[:, 0, :].float().mean(1)
    return torch.stack([valid_columns, valid_rows], dim=-1)

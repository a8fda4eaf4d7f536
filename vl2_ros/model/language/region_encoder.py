"""Encode visual prompts, masks on the squashed image, as LLM tokens (docs/spec/core.md, 4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vl2_ros.errors import ShapeError
from vl2_ros.model.config import ModelConfig

_STEM_WIDTH = 64
_HIDDEN_WIDTH = 256


class ChannelNorm(nn.Module):
    """Layer norm over the channels at each position of a map."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        """Make the identity."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, C, H, W)."""
        moved = x.permute(0, 2, 3, 1)
        normed = nn.functional.layer_norm(
            moved, self.weight.shape, self.weight, self.bias, self.eps
        )
        return normed.permute(0, 3, 1, 2)


class RegionEncoder(nn.Module):
    """Pools image features under a mask, every pixel of the mask counting the same.

    The released code samples at most 2304 mask pixels at random; all pixels are the expectation of
    that sample, and give the same feature every time.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Make the layers with fresh weights."""
        super().__init__()
        patch, width = config.vision["patch_size"], config.vision["hidden_size"]
        self.mask_embedding = nn.Sequential(
            nn.Conv2d(4, _STEM_WIDTH, patch // 2, stride=patch // 2),
            ChannelNorm(_STEM_WIDTH),
            nn.GELU(),
            nn.Conv2d(_STEM_WIDTH, _HIDDEN_WIDTH, 2, stride=2),
            ChannelNorm(_HIDDEN_WIDTH),
            nn.GELU(),
            nn.Conv2d(_HIDDEN_WIDTH, width, 1),
        )
        self.up_dim = nn.Linear(width, config.llm_width)

    def embed_masks(self, pixels: Tensor, masks: Tensor) -> Tensor:
        """Run the convolutions on image and mask: (R, 3, S, S), (R, S, S) -> (R, Cv, g, g)."""
        # The 4th channel is the mask itself, 0 or 1.
        channel = (masks != 0).to(pixels.dtype).unsqueeze(1)
        stacked = torch.cat([pixels, channel], dim=1)
        return self.mask_embedding(stacked.to(self.up_dim.weight.dtype))

    def forward(
        self,
        pixels: Tensor,
        masks: Tensor,
        region_maps: Sequence[Tensor],
        max_points: int | None = None,
    ) -> Tensor:
        """Encode R regions, each with its own image; no region touches another.

        Args:
            pixels: (R, 3, S, S) normalised tile of each region.
            masks: (R, S, S), non-zero inside; an empty one gives the bias of the last layer.
            region_maps: three (R, Cv, g, g) feature maps of those tiles, shallow to deep.
            max_points: most mask pixels that are used, row by row; None uses all.

        Returns:
            (R, C) features.

        Raises:
            ShapeError: if the masks are not on the tile's frame.
        """
        # Not len(): that would make a constant of the number of regions in an exported graph.
        expected = (pixels.shape[0], *pixels.shape[2:])
        if masks.shape != expected:
            raise ShapeError(f"masks must be {expected} like the tiles, got {tuple(masks.shape)}")
        level = self.embed_masks(pixels, masks)
        total = torch.zeros_like(level, dtype=torch.float32)
        for region_map in region_maps:
            level = level + region_map  # a running sum: each level includes those before it
            total = total + level
        pooled = _pool_under_masks(total / len(region_maps), masks, max_points)
        return self.up_dim(pooled.to(self.up_dim.weight.dtype))


def _pool_under_masks(features: Tensor, masks: Tensor, max_points: int | None) -> Tensor:
    """Average bilinear readings of (R, Cv, g, g) at all mask pixels: (R, Cv).

    A bilinear reading is linear in the map and separable, so the sum of the readings is the map
    times one weight per cell; no reading is ever materialised.
    """
    inside = masks != 0
    if max_points is not None:
        flat = inside.flatten(1)
        inside = (flat & (flat.cumsum(1) <= max_points)).view_as(inside)
    with torch.autocast(features.device.type, enabled=False):
        points = inside.float()
        rows = _bilinear_weights(masks.shape[1], features.shape[2], features.device)
        columns = _bilinear_weights(masks.shape[2], features.shape[3], features.device)
        cells = rows.T @ points @ columns  # (R, g, g)
        sums = (features.float() * cells.unsqueeze(1)).sum(dim=(2, 3))
        return sums / points.sum(dim=(1, 2)).clamp(min=1).unsqueeze(1)


def _bilinear_weights(side: int, grid: int, device: torch.device) -> Tensor:
    """Weight of each cell when pixel corners 0..side-1 are read: (side, grid), zeros outside."""
    # The released model reads at the pixel's corner x / side, without a half-pixel shift.
    position = torch.arange(side, device=device, dtype=torch.float32) * (grid / side) - 0.5
    cell = torch.arange(grid, device=device, dtype=torch.float32)
    return (1 - (position.unsqueeze(1) - cell).abs()).clamp(min=0)

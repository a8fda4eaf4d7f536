"""Mask features at the finest stride from encoded tokens and finer backbone maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MaskBranch(nn.Module):
    """Top-down path: upsample, add the lateral map, smooth; then a 1x1 convolution to M channels.

    Args:
        channels: channels of the lateral backbone maps, coarse to fine.
        token_width: channels D of the encoded level that enters.
        width: channels inside; when it is not D a 1x1 convolution leads in.
        mask_dim: M.
        norm_groups: groups of the group norms.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        token_width: int,
        width: int,
        mask_dim: int,
        norm_groups: int,
    ) -> None:
        """Make fresh weights."""
        super().__init__()
        self.entry = None if width == token_width else nn.Conv2d(token_width, width, 1)
        self.lateral_convs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(size, width, 1, bias=False), nn.GroupNorm(norm_groups, width))
            for size in channels
        )
        self.output_convs = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.GroupNorm(norm_groups, width),
            )
            for _ in channels
        )
        self.features = nn.Conv2d(width, mask_dim, 1)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_uniform_(part.weight, a=1)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def project(self, laterals: Sequence[Tensor]) -> list[Tensor]:
        """Return maps (B, W, h, w) of the lateral backbone maps; W is the width inside."""
        pairs = zip(laterals, self.lateral_convs, strict=True)
        return [convolve(lateral) for lateral, convolve in pairs]

    def forward(self, encoded: Tensor, laterals: Sequence[Tensor]) -> Tensor:
        """Return (B, M, h, w) of the encoded level (B, D, h', w') and what `project` returned."""
        x = encoded if self.entry is None else self.entry(encoded)
        for lateral, smooth in zip(laterals, self.output_convs, strict=True):
            upsampled = nn.functional.interpolate(
                x.float(), size=lateral.shape[-2:], mode="bilinear", align_corners=False
            )
            x = torch.relu(smooth(lateral + upsampled.to(lateral.dtype)))
        return self.features(x)

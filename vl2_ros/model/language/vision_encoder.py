"""Encode square tiles as patch features of the CLIP vision tower.

The tower is transformers' CLIPVisionModel; its post-layernorm is loaded but never read
(docs/spec/core.md, section 3.1).
"""

from __future__ import annotations

from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModel

from vl2_ros.errors import ShapeError
from vl2_ros.model.config import ModelConfig


class VisionEncoder(CLIPVisionModel):
    """The CLIP tower, computed only as deep as its outputs are read."""

    @classmethod
    def build(cls, config: ModelConfig) -> VisionEncoder:
        """Make a tower with fresh weights."""
        return cls(CLIPVisionConfig(**config.vision, attn_implementation=config.attention))

    def encode(self, pixels: Tensor, depth: int) -> list[Tensor]:
        """Run the first `depth` blocks.

        Args:
            pixels: (n, 3, S, S) normalised tiles.
            depth: number of blocks, 0 up to all.

        Returns:
            `depth + 1` hidden states (n, 1 + N, Cv), class token first; entry 0 is before block 1.

        Raises:
            ShapeError: if the tiles are not square of the configured side.
        """
        side = self.config.image_size
        if pixels.ndim != 4 or pixels.shape[1:] != (self.config.num_channels, side, side):
            raise ShapeError(
                f"tiles must be (n, {self.config.num_channels}, {side}, {side}), "
                f"got {tuple(pixels.shape)}"
            )
        states = [self.pre_layrnorm(self.embeddings(pixels))]
        for block in self.encoder.layers[:depth]:
            states.append(block(states[-1], None))
        return states


def tokens_to_map(tokens: Tensor) -> Tensor:
    """Lay patch tokens (n, N, Cv) out as a map (n, Cv, g, g), token t at row t // g."""
    grid = round(tokens.shape[1] ** 0.5)
    return tokens.transpose(1, 2).unflatten(2, (grid, grid))

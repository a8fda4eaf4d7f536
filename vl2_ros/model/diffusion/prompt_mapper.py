"""Map super-link states to the embedding that replaces an encoded text (docs/spec/core.md, 8)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vl2_ros.model.diffusion.config import MAPPER_EXPANSION, MAPPER_HEADS, DiffusionConfig


class PromptMapper(nn.Module):
    """A projection, then a small encoder-decoder with learned queries.

    Pre-norm, ReLU, no masks and no position encodings; a final norm behind either side.
    """

    def __init__(self, config: DiffusionConfig) -> None:
        """Make fresh weights."""
        super().__init__()
        width = config.text_width
        self.projection = nn.Sequential(
            nn.Linear(config.llm_width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, **_layer_settings(width)),
            config.encoder_layers,
            nn.LayerNorm(width),
            enable_nested_tensor=False,
        )
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(width, **_layer_settings(width)),
            config.decoder_layers,
            nn.LayerNorm(width),
        )
        self.queries = nn.Parameter(torch.empty(1, config.num_conditions, width))
        nn.init.normal_(self.queries)
        for weight in (*self.encoder.parameters(), *self.decoder.parameters()):
            if weight.ndim > 1:
                nn.init.xavier_uniform_(weight)

    def forward(self, super_link: Tensor) -> Tensor:
        """Map the states of n images.

        Args:
            super_link: (n, Kg, C).

        Returns:
            (n, 77, D).
        """
        memory = self.encode(super_link)
        return self.decoder(self.queries.expand(len(super_link), -1, -1), memory)

    def encode(self, super_link: Tensor) -> Tensor:
        """Return the result of the queries, (n, Kg, D)."""
        return self.encoder(self.projection(super_link))


def _layer_settings(width: int) -> dict[str, object]:
    return {
        "nhead": MAPPER_HEADS,
        "dim_feedforward": MAPPER_EXPANSION * width,
        "dropout": 0.0,
        "batch_first": True,
        "norm_first": True,
    }

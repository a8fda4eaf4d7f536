"""Project the vision encoder's patch tokens to the LLM's width (docs/spec/core.md, 3.2, 3.3)."""

from __future__ import annotations

import re

from torch import Tensor, nn

from vl2_ros.errors import ConfigError
from vl2_ros.model.config import ModelConfig


def pixel_shuffle(patches: Tensor) -> Tensor:
    """Merge each 2x2 block of a map into one position, rows of the block first.

    Args:
        patches: (n, H, W, C) with even H and W.

    Returns:
        (n, H / 2, W / 2, 4 C).
    """
    count, height, width, channels = patches.shape
    blocks = patches.reshape(count, height // 2, 2, width // 2, 2, channels)
    return blocks.permute(0, 1, 3, 2, 4, 5).reshape(count, height // 2, width // 2, 4 * channels)


def shuffle_tokens(tokens: Tensor) -> Tensor:
    """Pixel-shuffle row-major patch tokens (n, N, C) into (n, N / 4, 4 C)."""
    grid = round(tokens.shape[1] ** 0.5)
    return pixel_shuffle(tokens.unflatten(1, (grid, grid))).flatten(1, 2)


def make_projector(kind: str, width_in: int, width_out: int) -> nn.Module:
    """Make a projector; the layer indices are those of the released state dict.

    Raises:
        ConfigError: if `kind` names no projector.
    """
    if kind == "linear":
        return nn.Linear(width_in, width_out)
    if kind in ("internvl_mlp", "internvl"):
        return nn.Sequential(
            nn.LayerNorm(width_in),
            nn.Linear(width_in, width_out),
            nn.GELU(),
            nn.Linear(width_out, width_out),
        )
    match = re.fullmatch(r"mlp([1-9]\d*)x_gelu", kind)
    if match is None:
        raise ConfigError(f"expected projector linear, mlpNx_gelu or internvl_mlp, got {kind!r}")
    layers: list[nn.Module] = [nn.Linear(width_in, width_out)]
    for _ in range(int(match.group(1)) - 1):
        layers += [nn.GELU(), nn.Linear(width_out, width_out)]
    return nn.Sequential(*layers)


def build_projector(config: ModelConfig) -> nn.Module:
    """Make the projector between the vision encoder and the LLM of `config`."""
    width_in = config.vision["hidden_size"] * (4 if config.use_pixel_shuffle else 1)
    return make_projector(config.projector_type, width_in, config.llm_width)

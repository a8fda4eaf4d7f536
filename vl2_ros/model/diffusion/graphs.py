"""The executable graphs of image generation and editing, as modules of `graphs.GRAPHS`.

Each takes its inputs in the order of the table and returns its outputs, in order, as a tuple.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vl2_ros.errors import ConfigError
from vl2_ros.model.diffusion.generator import ImageGeneratorNetwork


class PromptMapperGraph(nn.Module):
    """`super_link` (1, Kg, C) -> `prompt_embeds` (1, 77, D)."""

    def __init__(self, network: ImageGeneratorNetwork) -> None:
        """Share the network's weights."""
        super().__init__()
        self.prompt_mapper = network.prompt_mapper

    def forward(self, super_link: Tensor) -> tuple[Tensor]:
        """Map the states of one image."""
        return (self.prompt_mapper(super_link.to(_dtype_of(self.prompt_mapper))),)


class DenoiserGraph(nn.Module):
    """`latents`, `timestep` (1,) float32, `prompt_embeds` (B, 77, D) -> `noise` (B, 4, h, w)."""

    def __init__(self, network: ImageGeneratorNetwork) -> None:
        """Share the network's weights."""
        super().__init__()
        self.denoiser = network.denoiser

    def forward(self, latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> tuple[Tensor]:
        """Take one step; latents (B, 4 or 8, h, w)."""
        dtype = _dtype_of(self.denoiser)
        return self.denoiser(
            latents.to(dtype), timestep, prompt_embeds.to(dtype), return_dict=False
        )


class VaeEncoderGraph(nn.Module):
    """`pixels` (1, 3, H, W) in -1..1 -> `latents` (1, 4, H/8, W/8), their mode, unscaled."""

    def __init__(self, network: ImageGeneratorNetwork) -> None:
        """Share the network's weights."""
        super().__init__()
        self.vae = network.vae

    def forward(self, pixels: Tensor) -> tuple[Tensor]:
        """Encode one image."""
        return (self.vae.encode(pixels.to(_dtype_of(self.vae))).latent_dist.mode(),)


class VaeDecoderGraph(nn.Module):
    """`latents` (1, 4, h, w), unscaled -> `pixels` (1, 3, 8h, 8w), about -1..1."""

    def __init__(self, network: ImageGeneratorNetwork) -> None:
        """Share the network's weights."""
        super().__init__()
        self.vae = network.vae

    def forward(self, latents: Tensor) -> tuple[Tensor]:
        """Decode one image."""
        return self.vae.decode(latents.to(_dtype_of(self.vae)), return_dict=False)


def _dtype_of(module: nn.Module) -> torch.dtype:
    """Return the dtype of a network's matrices; its normalisations may be wider."""
    return next(weight.dtype for weight in module.parameters() if weight.ndim > 1)


_GRAPHS: Mapping[str, Callable[[ImageGeneratorNetwork], nn.Module]] = {
    "prompt_mapper": PromptMapperGraph,
    "denoiser": DenoiserGraph,
    "vae_encoder": VaeEncoderGraph,
    "vae_decoder": VaeDecoderGraph,
}


def build_diffusion_graph(name: str, network: ImageGeneratorNetwork) -> nn.Module:
    """Wrap the module of a graph; weights are shared with the network.

    Args:
        name: one of `graphs.GRAPHS` that belongs to image generation or editing.
        network: in eval mode.

    Raises:
        ConfigError: if it is another graph.
    """
    if name not in _GRAPHS:
        raise ConfigError(f"expected one of the graphs {', '.join(_GRAPHS)}, got {name!r}")
    return _GRAPHS[name](network).eval()

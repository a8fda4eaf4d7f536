"""The executable graphs of image generation and editing, as modules of `graphs.GRAPHS`.

Each takes its inputs in the order of the table and returns its outputs, in order, as a tuple.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vl2_ros.errors import ConfigError
from vl2_ros.model.diffusion.generator import ImageGeneratorNetwork
from vl2_ros.model.diffusion.safety_checker import load_safety_checker
from vl2_ros.model.parts import SAFETY_CHECKER


class PromptMapperGraph(nn.Module):
    """`super_link` (1, Kg, C) -> `prompt_embeds` and `no_words`, (1, 77, D) each."""

    no_words: Tensor

    def __init__(self, network: ImageGeneratorNetwork) -> None:
        """Share the network's weights, and read the only text that is ever read."""
        super().__init__()
        self.prompt_mapper = network.prompt_mapper
        with torch.no_grad():
            self.register_buffer("no_words", network.encode_empty())

    def forward(self, super_link: Tensor) -> tuple[Tensor, Tensor]:
        """Map the states of one image."""
        return (
            self.prompt_mapper(super_link.to(_dtype_of(self.prompt_mapper))),
            # An output that is a stored tensor itself would be no output of a node.
            self.no_words + 0,
        )


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


def _find_checker(network: ImageGeneratorNetwork) -> nn.Module:
    found = None if network.folder is None else load_safety_checker(network.folder)
    if found is None:
        raise ConfigError("the folder of this network has no safety checker")
    return found


_GRAPHS: Mapping[str, Callable[[ImageGeneratorNetwork], nn.Module]] = {
    "prompt_mapper": PromptMapperGraph,
    "denoiser": DenoiserGraph,
    "vae_encoder": VaeEncoderGraph,
    "vae_decoder": VaeDecoderGraph,
    SAFETY_CHECKER: _find_checker,
}


def build_diffusion_graph(name: str, network: ImageGeneratorNetwork) -> nn.Module:
    """Wrap the module of a graph; weights are shared with the network, or those of its checker.

    Args:
        name: one of `graphs.GRAPHS` that belongs to image generation or editing.
        network: in eval mode.

    Raises:
        CheckpointError: if the safety checker cannot be read.
        ConfigError: if it is another graph, or there is no safety checker.
    """
    if name not in _GRAPHS:
        raise ConfigError(f"expected one of the graphs {', '.join(_GRAPHS)}, got {name!r}")
    return _GRAPHS[name](network).eval()


def size_diffusion_axes(
    network: ImageGeneratorNetwork, image_hw: tuple[int, int] | None = None
) -> dict[str, int]:
    """Return the sizes of the axes of the graphs of a network.

    Args:
        network: of one route.
        image_hw: height and width of its images in pixels; None: those that it was trained on.

    Raises:
        ConfigError: if the latents of such an image are no whole number.
    """
    config, block = network.config, network.config.pixels_per_latent
    height, width = image_hw or (config.default_side, config.default_side)
    if height % block or width % block:
        raise ConfigError(
            f"generated images must have sides that are multiples of {block} for this model, got "
            f"{height}x{width}; change generated_hw of the profile"
        )
    return {
        "image_slots": config.num_slots,
        "llm_width": config.llm_width,
        "text_width": config.text_width,
        "latent_width": int(config.denoiser["in_channels"]),
        "latent_h": height // block,
        "latent_w": width // block,
        "height": height,
        "width": width,
    }

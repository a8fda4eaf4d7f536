"""The executable graphs of image generation and editing, as modules of `graphs.GRAPHS`.

Each takes its inputs in the order of the table and returns its outputs, in order, as a tuple.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vl2_ros.errors import ConfigError
from vl2_ros.model.diffusion.generator import ImageGeneratorNetwork


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


class SafetyCheckerGraph(nn.Module):
    """`pixels` (1, 3, S, S) of CLIP -> `concept_margins` (1, N), `special_margins` (1, M).

    A margin is the likeness to a concept less its limit; what they mean together is decided by the
    runtime.
    """

    def __init__(self, classifier: nn.Module) -> None:
        """Share the weights of diffusers' classifier."""
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Compare one image with every concept."""
        known: Any = self.classifier
        pixels = pixels.to(_dtype_of(self.classifier))
        seen = known.visual_projection(known.vision_model(pixels)[1])
        return (
            _compare(seen, known.concept_embeds, known.concept_embeds_weights),
            _compare(seen, known.special_care_embeds, known.special_care_embeds_weights),
        )


def _compare(seen: Tensor, concepts: Tensor, limits: Tensor) -> Tensor:
    """Return cosines (1, N) of an embedding (1, D) and concepts (N, D), less their limits."""
    unit = nn.functional.normalize
    return (unit(seen) @ unit(concepts).T).float() - limits.float()


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

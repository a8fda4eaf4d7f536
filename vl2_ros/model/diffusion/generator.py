"""Generate images from super-link states: a prompt mapper and Stable Diffusion's networks.

One class generates (Stable Diffusion 1.5) and edits (InstructPix2Pix); they differ in the width of
the denoiser's input and in what is trained. Steps and schedules are the runtime's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from vl2_ros.errors import ConfigError
from vl2_ros.model.diffusion.config import DiffusionConfig
from vl2_ros.model.diffusion.folder import DiffusionFolder
from vl2_ros.model.diffusion.prompt_mapper import PromptMapper


class ImageGeneratorNetwork(nn.Module):
    """Mapper, text encoder, autoencoder and denoiser of one route.

    Attributes:
        config: sizes and settings.
        folder: where the tokenizer, and a safety checker if there is one, are; None where unknown.
    """

    def __init__(self, config: DiffusionConfig, folder: DiffusionFolder | None = None) -> None:
        """Make fresh weights; only the mapper, and an editor's denoiser, are to be trained.

        Raises:
            ConfigError: if diffusers is missing, or does not know the configuration.
        """
        super().__init__()
        self.config = config
        self.folder = folder
        self.prompt_mapper = PromptMapper(config)
        self.text_encoder = CLIPTextModel(CLIPTextConfig(**config.text_encoder))
        self.vae, self.denoiser = _build_diffusion(config)
        self.text_encoder.requires_grad_(False)
        self.vae.requires_grad_(False)
        self.denoiser.requires_grad_(config.kind == "editing")

    def map_prompt(self, super_link: Tensor) -> Tensor:
        """Turn (n, Kg, C) super-link states into (n, 77, D) conditions, in the mapper's dtype."""
        return self.prompt_mapper(super_link.to(self.prompt_mapper.queries.dtype))

    def encode_text(self, input_ids: Tensor) -> Tensor:
        """Encode (n, 77) ids of the folder's tokenizer to (n, 77, D) conditions."""
        return self.text_encoder(input_ids=input_ids).last_hidden_state

    def encode_empty(self) -> Tensor:
        """Encode the empty text, which guidance compares a prompt with; (1, 77, D)."""
        device = self.text_encoder.get_input_embeddings().weight.device
        return self.encode_text(torch.tensor([self.config.unconditional_ids], device=device))

    def denoise(self, latents: Tensor, timesteps: Tensor, prompt_embeds: Tensor) -> Tensor:
        """Predict the noise in the latents.

        Args:
            latents: (B, 4, h, w) to generate; (B, 8, h, w) to edit, the unscaled latents of the
                source behind the noisy ones.
            timesteps: (B,) or (1,).
            prompt_embeds: (B, 77, D).

        Returns:
            (B, 4, h, w).
        """
        return self.denoiser(latents, timesteps, prompt_embeds, return_dict=False)[0]

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) in -1..1 to the mode of their latents, unscaled."""
        return self.vae.encode(pixels).latent_dist.mode()


def _build_diffusion(config: DiffusionConfig) -> tuple[Any, Any]:
    """Make the autoencoder and the denoiser with fresh weights."""
    try:
        from diffusers.models import AutoencoderKL, UNet2DConditionModel
    except ImportError as error:
        raise ConfigError(
            "image generation and editing need diffusers; install vl2_ros[diffusion], or exclude "
            "these parts"
        ) from error
    try:
        return (
            AutoencoderKL.from_config(dict(config.vae)),
            UNet2DConditionModel.from_config(dict(config.denoiser)),
        )
    # The library names no errors of its own.
    except Exception as error:
        raise ConfigError(f"diffusers cannot build the {config.kind} networks: {error}") from error

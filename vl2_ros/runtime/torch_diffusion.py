"""The networks that make pictures, as engines of eager torch behind one generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vl2_ros.runtime.diffusion_generator import (
    DiffusionEngines,
    DiffusionGenerator,
    DiffusionSettings,
)
from vl2_ros.runtime.torch_graph import TorchGraph
from vl2_ros.structures import Route

if TYPE_CHECKING:
    from vl2_ros.model.image_generator import ImageGeneratorNetwork


def make_torch_generator(
    network: ImageGeneratorNetwork, route: Route, device: torch.device
) -> DiffusionGenerator:
    """Wrap a network; its text encoder is freed, since "" is the only text that is ever read.

    The denoiser computes in the dtype that it has; mapper and autoencoder are widened to float32,
    where half precision would be seen and costs little time.

    Args:
        network: on `device`; the generator owns it from here on.
        route: GENERATE or EDIT.
        device: where it runs.
    """
    with torch.inference_mode():
        no_words = network.encode_empty().float()
    network.text_encoder = None
    network.prompt_mapper.float()
    network.vae.float()
    config = network.config
    engines = DiffusionEngines(
        prompt_mapper=TorchGraph("prompt_mapper", network.map_prompt, device),
        denoiser=TorchGraph("denoiser", network.denoise, device, network.denoiser.dtype),
        vae_decoder=TorchGraph("vae_decoder", network.decode_latents, device),
        vae_encoder=TorchGraph("vae_encoder", network.encode_pixels, device),
    )
    settings = DiffusionSettings(
        scheduler=config.scheduler,
        picture_hw=(config.default_side, config.default_side),
        latent_scale=config.scaling_factor,
        block=config.pixels_per_latent,
    )
    return DiffusionGenerator(route, engines, settings, no_words)

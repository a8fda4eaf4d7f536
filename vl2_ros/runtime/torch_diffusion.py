"""The networks that make pictures, as engines of eager torch behind one generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vl2_ros.model.graphs import GRAPHS
from vl2_ros.runtime.cuda_graphs import GraphReplay
from vl2_ros.runtime.diffusion_generator import (
    DiffusionEngines,
    DiffusionGenerator,
    DiffusionSettings,
)
from vl2_ros.runtime.torch_engine import TorchEngine
from vl2_ros.structures import Route

if TYPE_CHECKING:
    from vl2_ros.model.image_generator import ImageGeneratorNetwork


def make_torch_generator(
    network: ImageGeneratorNetwork,
    route: Route,
    device: torch.device,
    *,
    cuda_graphs: bool = False,
) -> DiffusionGenerator:
    """Wrap a network; its text encoder is freed, since "" is the only text that is ever read.

    The denoiser computes in the dtype that it has; mapper and autoencoder are widened to float32,
    where half precision would be seen and costs little time.

    Args:
        network: on `device`; the generator owns it from here on.
        route: GENERATE or EDIT.
        device: where it runs.
        cuda_graphs: on CUDA, record a denoising step and replay it.
    """
    with torch.inference_mode():
        no_words = network.encode_empty().float()
    network.text_encoder = None
    network.prompt_mapper.float()
    network.vae.float()
    config, dtype = network.config, network.denoiser.dtype

    def denoise(latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> tuple[Tensor]:
        # The time stays as it is: half precision cannot tell 981 from 980.
        noise = network.denoise(latents.to(dtype), timestep, prompt_embeds.to(dtype))
        return (noise.float(),)

    replayed = GraphReplay(denoise) if cuda_graphs and device.type == "cuda" else denoise
    engines = DiffusionEngines(
        prompt_mapper=make_single_engine("prompt_mapper", network.map_prompt, device),
        denoiser=TorchEngine(GRAPHS["denoiser"], replayed, device),
        vae_decoder=make_single_engine("vae_decoder", network.decode_latents, device),
        vae_encoder=make_single_engine("vae_encoder", network.encode_pixels, device),
    )
    settings = DiffusionSettings(
        scheduler=config.scheduler,
        picture_hw=(config.default_side, config.default_side),
        latent_scale=config.scaling_factor,
        block=config.pixels_per_latent,
    )
    return DiffusionGenerator(route, engines, settings, no_words)


def make_single_engine(
    graph: str, call: Callable[..., Tensor], device: torch.device
) -> TorchEngine:
    """Make an engine of a graph with one output, which takes and gives float32."""
    return TorchEngine(
        GRAPHS[graph], lambda *given: (call(*(one.float() for one in given)).float(),), device
    )

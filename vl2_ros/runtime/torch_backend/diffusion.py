"""Run the networks of image generation as engines of eager torch behind one generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vl2_ros.model.diffusion.graphs import build_diffusion_graph
from vl2_ros.model.graphs import GRAPHS
from vl2_ros.runtime.cuda_graphs import GraphReplay
from vl2_ros.runtime.diffusion.generator import (
    DiffusionEngines,
    DiffusionGenerator,
    DiffusionSettings,
)
from vl2_ros.runtime.engine import Array
from vl2_ros.runtime.torch_backend.engine import TorchEngine
from vl2_ros.structures import Route

if TYPE_CHECKING:
    from vl2_ros.model.diffusion.generator import ImageGeneratorNetwork
    from vl2_ros.model.diffusion.safety_checker import SafetyChecker

_Call = Callable[..., tuple[Tensor, ...]]


def make_torch_generator(
    network: ImageGeneratorNetwork,
    route: Route,
    device: torch.device,
    *,
    cuda_graphs: bool = False,
    safety_checker: SafetyChecker | None = None,
) -> DiffusionGenerator:
    """Wrap a network; its text encoder is freed, since "" is the only text that is ever read.

    The denoiser computes in the dtype that it has; mapper and autoencoder are widened to float32,
    where half precision would be seen and costs little time.

    Args:
        network: on `device`; the generator owns it from here on.
        route: GENERATE or EDIT.
        device: where it runs.
        cuda_graphs: on CUDA, record a denoising step and replay it.
        safety_checker: an image that it refuses becomes an error.
    """
    with torch.inference_mode():
        no_words = network.encode_empty().float()
    network.text_encoder = None
    network.prompt_mapper.float()
    network.vae.float()
    config = network.config
    denoise = _keep_time(build_diffusion_graph("denoiser", network), network.denoiser.dtype)
    if cuda_graphs and device.type == "cuda":
        denoise = GraphReplay(denoise)
    engines = DiffusionEngines(
        denoiser=TorchEngine(GRAPHS["denoiser"], denoise, device),
        **{
            name: make_float_engine(name, build_diffusion_graph(name, network), device)
            for name in ("prompt_mapper", "vae_decoder", "vae_encoder")
        },
    )
    settings = DiffusionSettings(
        scheduler=config.scheduler,
        image_hw=(config.default_side, config.default_side),
        latent_scale=config.scaling_factor,
        block=config.pixels_per_latent,
    )
    is_unsafe = None if safety_checker is None else _ask(safety_checker)
    return DiffusionGenerator(route, engines, settings, no_words, is_unsafe)


def _ask(checker: SafetyChecker) -> Callable[[Array], bool]:
    return lambda pixels: checker(torch.as_tensor(pixels)[None])[0]


def make_float_engine(graph: str, call: _Call, device: torch.device) -> TorchEngine:
    """Make an engine of a graph that computes in float32, whatever floats come."""
    return TorchEngine(GRAPHS[graph], lambda *given: call(*(one.float() for one in given)), device)


def _keep_time(denoiser: _Call, dtype: torch.dtype) -> _Call:
    """Let a denoiser compute in its own dtype, float32 outside; half precision has no time 981."""

    def denoise(latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> tuple[Tensor, ...]:
        noise = denoiser(latents.to(dtype), timestep, prompt_embeds.to(dtype))
        return tuple(one.float() for one in noise)

    return denoise

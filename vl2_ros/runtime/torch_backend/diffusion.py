"""Run the networks of image generation as engines of eager torch behind one generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vl2_ros.errors import CheckpointError
from vl2_ros.model.diffusion.graphs import build_diffusion_graph
from vl2_ros.model.graphs import GRAPHS, with_no_words
from vl2_ros.model.parts import SAFETY_CHECKER
from vl2_ros.runtime.cuda_graphs import GraphReplay
from vl2_ros.runtime.diffusion.generator import (
    DiffusionEngines,
    DiffusionGenerator,
    DiffusionSettings,
)
from vl2_ros.runtime.diffusion.safety import SafetyCheck, read_checked_images
from vl2_ros.runtime.torch_backend.engine import TorchEngine
from vl2_ros.structures import Route

if TYPE_CHECKING:
    from vl2_ros.model.diffusion.folder import DiffusionFolder
    from vl2_ros.model.diffusion.generator import ImageGeneratorNetwork
    from vl2_ros.model.diffusion.safety_checker import SafetyCheckerGraph

_Call = Callable[..., tuple[Tensor, ...]]


def make_torch_generator(
    network: ImageGeneratorNetwork,
    route: Route,
    device: torch.device,
    *,
    cuda_graphs: bool = False,
    is_unsafe: SafetyCheck | None = None,
) -> DiffusionGenerator:
    """Wrap a network; its text encoder is freed, since "" is the only text that is ever read.

    The denoiser computes in the dtype that it has; mapper and autoencoder are widened to float32,
    where half precision would be seen and costs little time.

    Args:
        network: on `device`; the generator owns it from here on.
        route: GENERATE or EDIT.
        device: where it runs.
        cuda_graphs: on CUDA, record a denoising step and replay it.
        is_unsafe: an image that it refuses becomes an error.
    """
    mapper = build_diffusion_graph("prompt_mapper", network).float()
    network.text_encoder = None
    network.vae.float()
    denoise = _keep_time(build_diffusion_graph("denoiser", network), network.denoiser.dtype)
    if cuda_graphs and device.type == "cuda":
        denoise = GraphReplay(denoise)
    engines = DiffusionEngines(
        denoiser=TorchEngine(GRAPHS["denoiser"], denoise, device),
        prompt_mapper=TorchEngine(
            with_no_words(GRAPHS["prompt_mapper"]), lambda states: mapper(states.float()), device
        ),
        **{
            name: make_float_engine(name, build_diffusion_graph(name, network), device)
            for name in ("vae_decoder", "vae_encoder")
        },
    )
    settings = DiffusionSettings.from_config(network.config)
    return DiffusionGenerator(route, engines, settings, is_unsafe)


def make_torch_check(
    checker: SafetyCheckerGraph, folder: DiffusionFolder, device: torch.device
) -> SafetyCheck:
    """Wrap a safety checker, which computes in the dtype that it has.

    Args:
        checker: from `load_safety_checker`, on `device`.
        folder: that it came from.
        device: where it runs.

    Raises:
        CheckpointError: if the settings of its images are missing or damaged.
    """
    images = read_checked_images(folder)
    if images is None:
        raise CheckpointError(f"the safety checker of {folder.path} is gone; copy it again")
    return SafetyCheck(TorchEngine(GRAPHS[SAFETY_CHECKER], checker, device), images)


def make_float_engine(graph: str, call: _Call, device: torch.device) -> TorchEngine:
    """Make an engine of a graph that computes in float32, whatever floats come."""
    return TorchEngine(GRAPHS[graph], lambda *given: call(*(one.float() for one in given)), device)


def _keep_time(denoiser: _Call, dtype: torch.dtype) -> _Call:
    """Let a denoiser compute in its own dtype, float32 outside; half precision has no time 981."""

    def denoise(latents: Tensor, timestep: Tensor, prompt_embeds: Tensor) -> tuple[Tensor, ...]:
        noise = denoiser(latents.to(dtype), timestep, prompt_embeds.to(dtype))
        return tuple(one.float() for one in noise)

    return denoise

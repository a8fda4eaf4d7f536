"""Tiny image generators with random weights: the parts of diffusers, and our generator of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn

from vl2_ros.model.graphs import GRAPHS, with_no_words
from vl2_ros.runtime.diffusion.generator import (
    DiffusionEngines,
    DiffusionGenerator,
    DiffusionSettings,
)
from vl2_ros.runtime.torch_backend.diffusion import make_float_engine
from vl2_ros.runtime.torch_backend.engine import TorchEngine
from vl2_ros.structures import Frame, ImageOptions, ProgressEvent, Route

CPU = torch.device("cpu")
SLOTS, LLM_WIDTH, TEXT_WIDTH = 6, 16, 32
LATENT_SCALE = 0.18215

#: As the folders of the released models have them.
SCHEDULES: dict[Route, dict[str, Any]] = {
    Route.GENERATE: {
        "_class_name": "PNDMScheduler",
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
        "timestep_spacing": "leading",
        "steps_offset": 1,
        "skip_prk_steps": True,
        "set_alpha_to_one": False,
        "clip_sample": False,
    },
    Route.EDIT: {
        "_class_name": "EulerAncestralDiscreteScheduler",
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
        "timestep_spacing": "linspace",
        "steps_offset": 1,
        # Not in the folder of the editor; diffusers' own defaults are those of pixels.
        "set_alpha_to_one": False,
        "clip_sample": False,
    },
}


class Mapper(nn.Module):
    """Any fixed map of (1, K, C) states to (1, 77, D) embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Linear(SLOTS, 77)
        self.columns = nn.Linear(LLM_WIDTH, TEXT_WIDTH)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return 3 * self.columns(self.rows(states.transpose(1, 2)).transpose(1, 2))


def make_unet(route: Route, **changes: Any) -> UNet2DConditionModel:
    config = {
        "sample_size": 8,
        "in_channels": 8 if route is Route.EDIT else 4,
        "out_channels": 4,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "cross_attention_dim": TEXT_WIDTH,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**(config | changes))


def make_vae() -> AutoencoderKL:
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 8),
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
    )
    # Fresh weights give grey alone, where no difference would be seen.
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(8)
    return vae


@dataclass
class Parts:
    """What a Stable Diffusion folder holds, random, and words and no words as states."""

    route: Route
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    mapper: Mapper
    no_words: torch.Tensor
    states: np.ndarray
    scheduler: dict[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> torch.Tensor:
        with torch.no_grad():
            return self.mapper(torch.from_numpy(self.states)[None])


def make_parts(route: Route, **unet: Any) -> Parts:
    torch.manual_seed(7)
    return Parts(
        route,
        make_unet(route, **unet).eval(),
        make_vae().eval(),
        Mapper().eval(),
        torch.randn(1, 77, TEXT_WIDTH),
        torch.randn(SLOTS, LLM_WIDTH).numpy(),
        SCHEDULES[route],
    )


def torch_engines(parts: Parts) -> DiffusionEngines:
    calls = {
        "prompt_mapper": lambda states: (parts.mapper(states), parts.no_words),
        "denoiser": lambda *given: parts.unet(*given, return_dict=False),
        "vae_decoder": lambda latents: (parts.vae.decode(latents).sample,),
        "vae_encoder": lambda pixels: (parts.vae.encode(pixels).latent_dist.mode(),),
    }
    mapper = TorchEngine(with_no_words(GRAPHS["prompt_mapper"]), calls.pop("prompt_mapper"), CPU)
    others = {name: make_float_engine(name, calls[name], CPU) for name in calls}
    return DiffusionEngines(prompt_mapper=mapper, **others)


def make_generator(
    parts: Parts, engines: DiffusionEngines | None = None, **settings: Any
) -> DiffusionGenerator:
    known = DiffusionSettings(parts.scheduler, (64, 64), LATENT_SCALE)
    return DiffusionGenerator(
        parts.route, engines or torch_engines(parts), replace(known, **settings)
    )


def run_to_end(generator, states, options=None, source=None):
    """Return (image, events)."""
    run = generator.generate(states, options or ImageOptions(), source)
    events: list[ProgressEvent] = []
    while True:
        try:
            events.append(next(run))
        except StopIteration as stop:
            return stop.value, events


def make_frame(height: int, width: int, seed: int = 3) -> Frame:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return Frame(coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width])

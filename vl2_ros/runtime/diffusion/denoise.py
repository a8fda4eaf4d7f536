"""Denoise latents: a scheduler and guidance around a denoiser engine, one call a step.

Calls engines by tensor name only, so that every backend is stepped alike. Latents are float32
torch tensors where the engine runs, and stay there from the first step to the last.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vl2_ros.runtime.engine import Array, Engine


@dataclass(frozen=True, slots=True, eq=False)
class Guidance:
    """The rows of a denoising step, and how their noises are combined.

    Made by `guide_generation` and `guide_editing`. P is 1 without guidance.

    Attributes:
        prompt_embeds: (P, 77, D) float32.
        image_latents: (P, 4, h, w) float32, what each row sees of the source; None to generate.
        scale: how strongly the prompt counts.
        image_scale: how strongly the source counts; read for P = 3 only.
    """

    prompt_embeds: torch.Tensor
    image_latents: torch.Tensor | None = None
    scale: float = 1.0
    image_scale: float = 1.0

    @property
    def images(self) -> int:
        """Return P."""
        return len(self.prompt_embeds)

    def combine(self, noise: torch.Tensor) -> torch.Tensor:
        """Combine the noises (P, 4, h, w) of the rows into one (1, 4, h, w)."""
        if self.images == 1:
            return noise
        if self.image_latents is None:
            without, with_words = noise.chunk(2)
            return without + self.scale * (with_words - without)
        with_both, with_image, without = noise.chunk(3)
        return (
            without
            + self.scale * (with_both - with_image)
            + self.image_scale * (with_image - without)
        )


def guide_generation(words: torch.Tensor, no_words: torch.Tensor, scale: float) -> Guidance:
    """Guide by the prompt against the empty prompt (classifier-free guidance).

    Args:
        words: (1, 77, D) float32.
        no_words: (1, 77, D) float32, the embedding of "".
        scale: up to 1 there is nothing to guide, and a step costs half.
    """
    if scale <= 1:
        return Guidance(words)
    return Guidance(torch.cat([no_words, words]), scale=scale)


def guide_editing(
    words: torch.Tensor,
    no_words: torch.Tensor,
    source: torch.Tensor,
    scale: float,
    image_scale: float,
) -> Guidance:
    """Guide by prompt and source against the source alone, and by the source against nothing.

    Args:
        words: (1, 77, D) float32.
        no_words: (1, 77, D) float32, the embedding of "".
        source: (1, 4, h, w) float32, the source's latents.
        scale: up to 1 there is no guidance, and a step costs a third.
        image_scale: the same below 1.
    """
    if scale <= 1 or image_scale < 1:
        return Guidance(words, source)
    return Guidance(
        torch.cat([words, no_words, no_words]),
        torch.cat([source, source, torch.zeros_like(source)]),
        scale,
        image_scale,
    )


def denoise(
    denoiser: Engine,
    scheduler: Any,
    guidance: Guidance,
    latents: torch.Tensor,
    generator: torch.Generator,
) -> Iterator[torch.Tensor]:
    """Denoise latents step by step.

    Nothing in the loop waits for an accelerator: the scheduler's numbers are on the CPU.

    Args:
        denoiser: the `denoiser` graph.
        scheduler: a new one from `make_scheduler`.
        guidance: from `guide_generation` or `guide_editing`.
        latents: (1, 4, h, w) float32 standard normal noise, where the guidance is.
        generator: on the CPU; schedulers that add noise at every step use it.

    Yields:
        (1, 4, h, w) latents after each of the scheduler's time steps; the last are the result.
    """
    latents = latents * scheduler.init_noise_sigma
    times = scheduler.timesteps.to(device=latents.device, dtype=torch.float32)
    for index, time in enumerate(scheduler.timesteps):
        latents = _step(
            denoiser, scheduler, guidance, latents, (time, times[index : index + 1]), generator
        )
        yield latents


@torch.inference_mode()
def _step(
    denoiser: Engine,
    scheduler: Any,
    guidance: Guidance,
    latents: torch.Tensor,
    times: tuple[torch.Tensor, torch.Tensor],
    generator: torch.Generator,
) -> torch.Tensor:
    """Take one step; `times` is the time as the scheduler and as the engine expect it."""
    rows = scheduler.scale_model_input(torch.cat([latents] * guidance.images), times[0])
    if guidance.image_latents is not None:
        rows = torch.cat([rows, guidance.image_latents], dim=1)
    inputs = {"latents": rows, "timestep": times[1], "prompt_embeds": guidance.prompt_embeds}
    output = denoiser.run({name: to_array(tensor) for name, tensor in inputs.items()})
    noise = guidance.combine(to_tensor(output["noise"], latents.device))
    return scheduler.step(noise, times[0], latents, **_extra(scheduler, generator))[0]


def _extra(scheduler: Any, generator: torch.Generator) -> dict[str, Any]:
    """Return further arguments of a scheduler's step: not every one samples noise."""
    takes_noise = "generator" in inspect.signature(scheduler.step).parameters
    return {"return_dict": False} | ({"generator": generator} if takes_noise else {})


def draw_noise(
    size_hw: tuple[int, int], generator: torch.Generator, device: torch.device
) -> torch.Tensor:
    """Sample (1, 4, h, w) float32 standard normal latents: the same for a seed on every device."""
    return torch.randn((1, 4, *size_hw), generator=generator).to(device)


def to_array(tensor: torch.Tensor) -> Array:
    """Convert a tensor for an engine: numpy on the CPU, without a copy; itself elsewhere."""
    return tensor.numpy() if tensor.device.type == "cpu" else tensor


def to_tensor(array: Array, device: torch.device) -> torch.Tensor:
    """Convert an engine's array to float32, without a copy where it is one already."""
    if not isinstance(array, np.ndarray | torch.Tensor):
        array = torch.from_dlpack(array)
    return torch.as_tensor(array).to(device=device, dtype=torch.float32)

"""Denoise latents: a scheduler and guidance around a denoiser engine, one call a step.

Calls engines by tensor name only, so that every backend is stepped alike. Latents are float32 and
stay from the first step to the last where the engine takes them without a copy: numpy arrays, or
tensors of a torch engine on an accelerator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.runtime.diffusion.noise import Noise
from vl2_ros.runtime.diffusion.schedulers import Scheduler
from vl2_ros.runtime.engine import Array, Engine, to_numpy

#: Brings an array of any engine to where steps are computed, as float32.
Place = Callable[[Array], Array]


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

    prompt_embeds: Array
    image_latents: Array | None = None
    scale: float = 1.0
    image_scale: float = 1.0

    @property
    def images(self) -> int:
        """Return P."""
        return len(self.prompt_embeds)

    def combine(self, noise: Array) -> Array:
        """Combine the noises (P, 4, h, w) of the rows into one (1, 4, h, w)."""
        if self.images == 1:
            return noise
        rows = [noise[row : row + 1] for row in range(self.images)]
        if self.image_latents is None:
            without, with_words = rows
            return without + self.scale * (with_words - without)
        with_both, with_image, without = rows
        return (
            without
            + self.scale * (with_both - with_image)
            + self.image_scale * (with_image - without)
        )


def guide_generation(words: Array, no_words: Array, scale: float) -> Guidance:
    """Guide by the prompt against the empty prompt (classifier-free guidance).

    Args:
        words: (1, 77, D) float32.
        no_words: (1, 77, D) float32, the embedding of "".
        scale: up to 1 there is nothing to guide, and a step costs half.
    """
    if scale <= 1:
        return Guidance(words)
    return Guidance(join([no_words, words]), scale=scale)


def guide_editing(
    words: Array, no_words: Array, source: Array, scale: float, image_scale: float
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
        join([words, no_words, no_words]),
        join([source, source, 0 * source]),
        scale,
        image_scale,
    )


def denoise(
    denoiser: Engine,
    scheduler: Scheduler,
    guidance: Guidance,
    latents: Array,
    noise: Noise,
    place: Place,
) -> Iterator[Array]:
    """Denoise latents step by step.

    Nothing in the loop waits for an accelerator: the scheduler's numbers are plain ones.

    Args:
        denoiser: the `denoiser` graph.
        scheduler: a new one from `make_scheduler`.
        guidance: from `guide_generation` or `guide_editing`.
        latents: (1, 4, h, w) float32 standard normal noise, where the guidance is.
        noise: schedulers that add noise at every step draw from it.
        place: brings arrays to where the latents are.

    Yields:
        (1, 4, h, w) latents after each of the scheduler's times; the last are the result.
    """
    shape = tuple(latents.shape)
    latents = latents * scheduler.initial_scale
    times = place(scheduler.times)
    for index in range(len(scheduler.times)):
        rows = join([scheduler.scale_input(index, latents)] * guidance.images)
        if guidance.image_latents is not None:
            rows = join([rows, guidance.image_latents], axis=1)
        output = denoiser.run(
            {
                "latents": rows,
                "timestep": times[index : index + 1],
                "prompt_embeds": guidance.prompt_embeds,
            }
        )
        combined = guidance.combine(place(output["noise"]))
        latents = scheduler.step(index, combined, latents, lambda: place(noise.draw(shape)))
        yield latents


def join(arrays: Sequence[Array], axis: int = 0) -> Array:
    """Concatenate arrays of one library."""
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays, axis)
    import torch

    return torch.cat(list(arrays), axis)


def place_on_host(array: Array) -> np.ndarray:
    """Bring an array of any engine to numpy, as float32."""
    return to_numpy(array).astype(np.float32, copy=False)

"""Generate an image from super-link states: mapper, denoising loop, autoencoder, by engines.

Defaults of each route are those of diffusers' pipelines, which the released models were trained
beside (docs/spec/core.md, section 8).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vl2_ros.errors import EngineError, InputError
from vl2_ros.model.diffusion.config import DiffusionConfig
from vl2_ros.processing.images.generator_images import (
    fit_edit,
    postprocess_image,
    preprocess_source,
)
from vl2_ros.runtime.diffusion.denoise import (
    Guidance,
    denoise,
    draw_noise,
    guide_editing,
    guide_generation,
    to_array,
    to_tensor,
)
from vl2_ros.runtime.diffusion.schedulers import check_scheduler, make_scheduler, name_scheduler
from vl2_ros.runtime.engine import Array, Engine, EngineInfo, to_numpy
from vl2_ros.structures import Frame, GeneratedImage, ImageOptions, ProgressEvent, Route

STAGE = "diffusion"
GUIDANCE = 7.5
IMAGE_GUIDANCE = 1.5
#: Default number of steps.
STEPS = {Route.GENERATE: 50, Route.EDIT: 100}
#: Distilled weights need few steps, and include the guidance.
DISTILLED_STEPS, DISTILLED_GUIDANCE = 4, 1.0
#: Sampled seeds are short enough to be typed, and never 0, which means none in messages.
_MAX_DRAWN_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class DiffusionSettings:
    """Settings that belong to the weights of an image generator.

    Attributes:
        scheduler: content of its scheduler_config.json.
        image_hw: default height and width of a generated image, in pixels.
        latent_scale: what the autoencoder's latents are multiplied by to have deviation 1.
        block: pixels that one latent stands for, along each side.
        is_fixed: whether the engines were built for `image_hw` alone.
    """

    scheduler: Mapping[str, Any]
    image_hw: tuple[int, int]
    latent_scale: float = 0.18215
    block: int = 8
    is_fixed: bool = False

    @classmethod
    def from_config(
        cls, config: DiffusionConfig, fixed_hw: tuple[int, int] | None = None
    ) -> DiffusionSettings:
        """Take the settings of a checkpoint.

        Args:
            config: of the part.
            fixed_hw: height and width that engines were built for; None: they take any.
        """
        return cls(
            scheduler=config.scheduler,
            image_hw=fixed_hw or (config.default_side, config.default_side),
            latent_scale=config.scaling_factor,
            block=config.pixels_per_latent,
            is_fixed=fixed_hw is not None,
        )


@dataclass(frozen=True, slots=True)
class DiffusionEngines:
    """The graphs of one image generator, as `GRAPHS` names them.

    Attributes:
        prompt_mapper: states to an embedding.
        denoiser: one step.
        vae_decoder: latents to pixels.
        vae_encoder: pixels to latents; editors only.
    """

    prompt_mapper: Engine
    denoiser: Engine
    vae_decoder: Engine
    vae_encoder: Engine | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """All options of an image, without defaults."""

    size_hw: tuple[int, int]
    seed: int
    steps: int
    guidance: float
    image_guidance: float
    scheduler: str


class DiffusionGenerator:
    """Generates images, or edits frames; an `ImageGenerator` over any backend's engines."""

    def __init__(
        self,
        route: Route,
        engines: DiffusionEngines,
        settings: DiffusionSettings,
        is_unsafe: Callable[[np.ndarray], bool] | None = None,
    ) -> None:
        """Store the parts.

        Args:
            route: GENERATE or EDIT.
            engines: execute the graphs.
            settings: those of the weights.
            is_unsafe: whether pixels (3, H, W) float32, about -1..1, must not be shown; None
                where the checkpoint has no such check.

        Raises:
            CheckpointError: if the scheduler's settings are of an unknown kind.
            EngineError: if an editor has no encoder.
        """
        if route is Route.EDIT and engines.vae_encoder is None:
            raise EngineError("an image editor needs the vae_encoder graph, got none; build it too")
        self._route = route
        self._engines = engines
        self._settings = settings
        self._is_unsafe = is_unsafe
        self._own_scheduler = name_scheduler(settings.scheduler)
        # torch may be without CUDA while engines have it; those accept arrays of the CPU.
        reachable = torch.cuda.is_available()
        self._device = torch.device(engines.denoiser.info.device if reachable else "cpu")

    @property
    def info(self) -> EngineInfo:
        """Return the info of the denoiser."""
        return self._engines.denoiser.info

    def generate(
        self, states: Array, options: ImageOptions, source: Frame | None = None
    ) -> Generator[ProgressEvent, None, GeneratedImage]:
        """Generate one image; see `ImageGenerator.generate`.

        There is an event for every call of the denoiser, which are more than the steps with some
        schedulers: PNDM evaluates the second time twice.
        """
        plan = self._plan(options, source)
        scheduler = make_scheduler(plan.scheduler, self._settings.scheduler, plan.steps)
        random = torch.Generator().manual_seed(plan.seed)
        guidance = self._guide(states, plan, source)
        height, width = (side // self._settings.block for side in plan.size_hw)
        latents = draw_noise((height, width), random, self._device)
        steps = denoise(self._engines.denoiser, scheduler, guidance, latents, random)
        calls = len(scheduler.timesteps)
        for call in range(calls):
            latents = next(steps)
            yield ProgressEvent(STAGE, call + 1, calls)
        frame_hw = source.frame_hw if source and self._route is Route.EDIT else None
        rgb = postprocess_image(self._decode(latents), frame_hw)
        return GeneratedImage(self._route, rgb, plan.seed, plan.steps, plan.scheduler)

    def _plan(self, options: ImageOptions, source: Frame | None) -> _Plan:
        if self._route is Route.EDIT and source is None:
            raise InputError("the answer edits an image, but there is none; give one to edit")
        if self._route is Route.GENERATE and options.image_guidance is not None:
            raise InputError(
                "image_guidance sets how strongly an edit keeps to its source, and the answer "
                f"generates a new image; expected none, got {options.image_guidance}"
            )
        scheduler = options.scheduler or self._own_scheduler
        check_scheduler(scheduler, self._own_scheduler)
        steps, guidance = STEPS[self._route], GUIDANCE
        if scheduler == "lcm":
            steps, guidance = DISTILLED_STEPS, DISTILLED_GUIDANCE
        seed = options.seed
        if seed is None:
            seed = 1 + secrets.randbelow(_MAX_DRAWN_SEED)
        return _Plan(
            size_hw=self._size(options, source),
            seed=seed,
            steps=steps if options.steps is None else options.steps,
            guidance=guidance if options.guidance is None else options.guidance,
            image_guidance=(
                IMAGE_GUIDANCE if options.image_guidance is None else options.image_guidance
            ),
            scheduler=scheduler,
        )

    def _size(self, options: ImageOptions, source: Frame | None) -> tuple[int, int]:
        settings = self._settings
        wanted = options.size_hw
        if wanted is None:
            if settings.is_fixed or source is None or self._route is Route.GENERATE:
                return settings.image_hw
            return fit_edit(source.frame_hw, settings.block)
        if settings.is_fixed and wanted != settings.image_hw:
            height, width = settings.image_hw
            raise InputError(
                f"the engines were built for images of {width}x{height} pixels, got size_hw "
                f"{wanted}; omit it, or build engines for it"
            )
        if wanted[0] % settings.block or wanted[1] % settings.block:
            raise InputError(
                f"size_hw must be multiples of {settings.block} for this model, got {wanted}"
            )
        return wanted

    def _guide(self, states: Array, plan: _Plan, source: Frame | None) -> Guidance:
        mapped = self._engines.prompt_mapper.run({"super_link": states[None]})
        words, no_words = (
            to_tensor(mapped[name], self._device) for name in ("prompt_embeds", "no_words")
        )
        if self._engines.vae_encoder is None or self._route is Route.GENERATE or source is None:
            return guide_generation(words, no_words, plan.guidance)
        pixels = preprocess_source(source, plan.size_hw)[None]
        encoded = self._engines.vae_encoder.run({"pixels": pixels})
        latents = to_tensor(encoded["latents"], self._device)
        return guide_editing(words, no_words, latents, plan.guidance, plan.image_guidance)

    def _decode(self, latents: torch.Tensor) -> np.ndarray:
        """Turn (1, 4, h, w) latents into (3, H, W) float32 pixels, about -1..1."""
        unscaled = to_array(latents / self._settings.latent_scale)
        decoded = self._engines.vae_decoder.run({"latents": unscaled})["pixels"]
        pixels: np.ndarray = to_numpy(decoded)[0]
        if not np.isfinite(pixels).all():
            raise EngineError(
                "the generated image is NaN or infinite; use another scheduler, a lower guidance, "
                "or a wider precision than float16"
            )
        if self._is_unsafe is not None and self._is_unsafe(pixels):
            raise InputError(
                "the safety checker of the checkpoint refuses the generated image; ask for "
                "something else, or with another seed"
            )
        return pixels

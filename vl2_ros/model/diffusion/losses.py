"""Training loss of image generation and editing: noise, captions (docs/spec/core.md, 8)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vl2_ros.errors import ConfigError, InputError
from vl2_ros.model.diffusion.config import DiffusionConfig
from vl2_ros.model.diffusion.generator import ImageGeneratorNetwork

#: Weight of the caption loss beside that of the noise.
CAPTION_WEIGHT = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class ImageTargets:
    """The training targets of n images.

    Attributes:
        target_pixels: (n, 3, H, W) in -1..1.
        source_pixels: (n, 3, H, W) in -1..1, the images to edit; None to generate.
        caption_ids: (n, 77) ids of captions, of the instruction for an edit; None trains without.
    """

    target_pixels: Tensor
    source_pixels: Tensor | None = None
    caption_ids: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DiffusionDraws:
    """The random values of one step of training.

    Attributes:
        posterior: (n, 4, h, w) normal, places the latents within what the autoencoder allows.
        noise: (n, 4, h, w) normal, to be found again.
        timesteps: (n,) int64, how much noise.
        dropout: (n,) uniform in 0..1, which conditions are dropped.
    """

    posterior: Tensor
    noise: Tensor
    timesteps: Tensor
    dropout: Tensor

    @classmethod
    def sample(
        cls, config: DiffusionConfig, pixels: Tensor, generator: torch.Generator | None = None
    ) -> DiffusionDraws:
        """Sample for images (n, 3, H, W); a generator must be of the CPU, and decides alone."""
        side = config.pixels_per_latent
        count, _, height, width = pixels.shape
        shape = (count, config.latent_channels, height // side, width // side)
        steps = config.scheduler["num_train_timesteps"]
        draws = (
            torch.randn(shape, generator=generator),
            torch.randn(shape, generator=generator),
            torch.randint(steps, (count,), generator=generator),
            torch.rand(count, generator=generator),
        )
        return cls(*(draw.to(pixels.device) for draw in draws))


@dataclass(frozen=True, slots=True, eq=False)
class DiffusionLosses:
    """Losses of one batch.

    Attributes:
        image: mean squared error of the noise.
        caption: mean squared distance of the conditions from the encoded captions, unweighted;
            None without captions.
    """

    image: Tensor
    caption: Tensor | None

    @property
    def total(self) -> Tensor:
        """The sum that is added to the language loss."""
        return self.image if self.caption is None else self.image + CAPTION_WEIGHT * self.caption


def diffusion_losses(
    network: ImageGeneratorNetwork,
    super_link: Tensor,
    targets: ImageTargets,
    draws: DiffusionDraws | None = None,
) -> DiffusionLosses:
    """Compute the losses of n images.

    Gradients reach the super link, the mapper and an editor's denoiser; the rest is frozen.

    Args:
        network: one that edits needs `source_pixels`.
        super_link: (n, Kg, C).
        targets: of the same n images.
        draws: by default fresh ones.

    Raises:
        ConfigError: if the schedule is of a kind that is not trained here.
        InputError: if sources are missing, or counts or sizes do not agree.
    """
    config = network.config
    _check_targets(config, super_link, targets)
    draws = draws or DiffusionDraws.sample(config, targets.target_pixels)
    dtype = next(network.denoiser.parameters()).dtype
    prompt_embeds = network.map_prompt(super_link)
    with torch.no_grad():
        clean = _sample_latents(network, targets.target_pixels, draws.posterior)
        level = noise_levels(config).to(clean.device)[draws.timesteps].view(-1, 1, 1, 1)
        latents = level.sqrt() * clean + (1 - level).sqrt() * draws.noise
        if targets.source_pixels is not None:
            source = network.encode_pixels(targets.source_pixels.to(dtype)).float()
            kept = ~_drops_source(draws.dropout, config.drop_rate)
            latents = torch.cat([latents, source * kept.view(-1, 1, 1, 1)], dim=1)
    dropped = (draws.dropout < 2 * config.drop_rate).view(-1, 1, 1)
    condition = torch.where(dropped, _encode_frozen(network, None), prompt_embeds)
    found = network.denoise(latents.to(dtype), draws.timesteps, condition.to(dtype))
    caption = None
    if targets.caption_ids is not None:
        wanted = _encode_frozen(network, targets.caption_ids)
        caption = F.mse_loss(prompt_embeds.float(), wanted.float())
    return DiffusionLosses(F.mse_loss(found.float(), draws.noise.float()), caption)


def noise_levels(config: DiffusionConfig) -> Tensor:
    """Return the share of a latent's variance left after each training step, (steps,) float32.

    Raises:
        ConfigError: if diffusers does not know the schedule, or noise is not what is predicted.
    """
    kind = config.scheduler.get("prediction_type") or "epsilon"
    if kind != "epsilon":
        raise ConfigError(
            f"scheduler prediction_type must be epsilon for training, got {kind!r}; use the folder "
            "of Stable Diffusion 1"
        )
    from diffusers import DDPMScheduler

    settings = {name: value for name, value in config.scheduler.items() if not name.startswith("_")}
    try:
        return DDPMScheduler.from_config(settings).alphas_cumprod.float()
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ConfigError(f"diffusers cannot make the noise schedule: {error}") from error


def _check_targets(config: DiffusionConfig, super_link: Tensor, targets: ImageTargets) -> None:
    expected = targets.target_pixels.shape
    if len(super_link) != len(targets.target_pixels):
        raise InputError(
            f"got super-link states of {len(super_link)} images for {expected[0]} targets; "
            "they must be equal"
        )
    side = config.pixels_per_latent
    if expected[2] % side or expected[3] % side:
        raise InputError(f"sides of targets must be multiples of {side}, got {tuple(expected)}")
    source = targets.source_pixels
    if (source is None) == (config.kind == "editing"):
        raise InputError(
            f"source_pixels go with a network that edits, and only with one; this is {config.kind}"
        )
    if source is not None and source.shape != expected:
        raise InputError(
            f"source_pixels must be of the targets' shape {tuple(expected)}, got "
            f"{tuple(source.shape)}"
        )


def _drops_source(dropout: Tensor, rate: float) -> Tensor:
    return (rate <= dropout) & (dropout < 3 * rate)


def _sample_latents(network: ImageGeneratorNetwork, pixels: Tensor, posterior: Tensor) -> Tensor:
    dtype = next(network.vae.parameters()).dtype
    spread = network.vae.encode(pixels.to(dtype)).latent_dist
    sample = spread.mean.float() + spread.std.float() * posterior
    return sample * network.config.scaling_factor


@torch.no_grad()
def _encode_frozen(network: ImageGeneratorNetwork, caption_ids: Tensor | None) -> Tensor:
    return network.encode_empty() if caption_ids is None else network.encode_text(caption_ids)

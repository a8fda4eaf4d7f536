"""The recipe of a training run, and the learning rate that follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vl2_ros.errors import ConfigError


@dataclass(frozen=True, slots=True)
class EmbeddedRecipe:
    """Settings of a training run.

    Attributes:
        minutes: optimisation time; the learning rate follows it.
        batch_size: images per step and worker.
        learning_rate: peak of AdamW.
        warmup_steps: linear rise from 0, after every start.
        flat_share: share of the time at the peak before the cosine.
        final_share: learning rate at the end over the peak.
        weight_decay: on matrices only.
        clip_norm: gradient norm limit, of the decoder and of the rest each.
        super_link_gradient: factor on the decoder's gradient into the LLM, which is much smaller
            than that of the language loss.
        language_every: the LLM is trained in every n-th step; in the others it only names
            the classes and the decoder sees twice as many images a second. 1 until names are
            learned.
        images: per step and worker, where the language side is trained alone.
        conversations: there, about each image.
        blind_packs: there, packs of conversations without an image.
        hold: there, the weight that keeps the slot states where the decoder expects them.
        average_decay: decay per step of the weight average that is saved.
        vocab_size: of the tokenizer, special tokens included.
        seed: seed of initialisation and sampling.
        save_every_s: seconds between resumable states.
        frames: simulator frames, seeds 0 to `frames` - 1.
    """

    minutes: float = 120.0
    batch_size: int = 4
    learning_rate: float = 7e-4
    warmup_steps: int = 200
    flat_share: float = 0.15
    final_share: float = 0.02
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    super_link_gradient: float = 2.0
    language_every: int = 1
    images: int = 2
    conversations: int = 6
    blind_packs: int = 9
    hold: float = 4.0
    average_decay: float = 0.999
    vocab_size: int = 2048
    seed: int = 0
    save_every_s: float = 300.0
    frames: int = 20_000

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in (
            "minutes",
            "batch_size",
            "learning_rate",
            "language_every",
            "images",
            "conversations",
            "blind_packs",
            "frames",
            "save_every_s",
        ):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")


def learning_rate_share(recipe: EmbeddedRecipe, step: int, elapsed_share: float) -> float:
    """Return the factor on the peak learning rate: warm-up, flat, cosine in time."""
    warmup = min(1.0, (step + 1) / recipe.warmup_steps)
    if elapsed_share <= recipe.flat_share:
        return warmup
    progress = min(1.0, (elapsed_share - recipe.flat_share) / (1.0 - recipe.flat_share))
    cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
    return warmup * (recipe.final_share + (1.0 - recipe.final_share) * cosine)

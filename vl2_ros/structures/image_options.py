"""Options of image generation and editing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vl2_ros.errors import InputError

MAX_STEPS = 1_000
MAX_GUIDANCE = 100.0
#: Sides of an image in pixels, at least and at most; the autoencoder works on blocks of 8.
SIDE_RANGE = (64, 2_048)
SIDE_MULTIPLE = 8
MAX_SEED = 2**63 - 1
#: Schedulers that can be chosen by name; "" is the checkpoint's default.
SCHEDULERS = ("", "ddim", "dpm++", "euler", "euler_ancestral", "lcm", "pndm")


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How an image is generated or edited; None means the model's default for the route.

    Attributes:
        seed: of the noise, 0..2^63-1; None samples one, which the image reports.
        steps: denoising steps, 1..1000.
        guidance: how strongly the prompt counts, 0..100; up to 1 guidance is off.
        image_guidance: how strongly an edit keeps to its source, 0..100.
        size_hw: height and width of the image in pixels, multiples of 8 in 64..2048. An edit
            works at this size and comes back at its frame's.
        scheduler: one of `SCHEDULERS`.
    """

    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    image_guidance: float | None = None
    size_hw: tuple[int, int] | None = None
    scheduler: str = ""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.seed is not None and not 0 <= self.seed <= MAX_SEED:
            raise InputError(f"seed must lie in 0..{MAX_SEED}, got {self.seed}")
        if self.steps is not None and not 1 <= self.steps <= MAX_STEPS:
            raise InputError(f"steps must lie in 1..{MAX_STEPS}, got {self.steps}")
        for name, value in (("guidance", self.guidance), ("image_guidance", self.image_guidance)):
            if value is not None and not (math.isfinite(value) and 0 <= value <= MAX_GUIDANCE):
                raise InputError(
                    f"{name} must be a number in 0..{MAX_GUIDANCE:g}, got {value}; 7.5 is usual"
                )
        for side in self.size_hw or ():
            if not SIDE_RANGE[0] <= side <= SIDE_RANGE[1] or side % SIDE_MULTIPLE:
                raise InputError(
                    f"size_hw must be multiples of {SIDE_MULTIPLE} in "
                    f"{SIDE_RANGE[0]}..{SIDE_RANGE[1]}, got {self.size_hw}"
                )
        if self.scheduler not in SCHEDULERS:
            raise InputError(
                f"unknown scheduler {self.scheduler!r}; expected one of "
                f"{', '.join(name for name in SCHEDULERS if name)}, or nothing"
            )

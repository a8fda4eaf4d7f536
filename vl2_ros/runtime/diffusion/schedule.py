"""The noise schedule of a checkpoint: how much noise a time stands for, which times are stepped.

Reads scheduler_config.json as diffusers writes it. Knows no tensor library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vl2_ros.documents import check_int, check_list, check_number, check_text, shorten
from vl2_ros.errors import CheckpointError

#: Common defaults of schedulers of latents, where a file has none; values of released files.
_LATENT_DEFAULTS: Mapping[str, Any] = {
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
#: Settings that change what a step computes -> the values that are computed here.
_SUPPORTED: Mapping[str, tuple[Any, ...]] = {
    "algorithm_type": ("dpmsolver++",),
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"),
    "euler_at_final": (False,),
    "final_sigmas_type": ("zero",),
    "interpolation_type": ("linear",),
    "lambda_min_clipped": (float("-inf"),),
    "prediction_type": ("epsilon", "sample", "v_prediction"),
    "rescale_betas_zero_snr": (False,),
    "skip_prk_steps": (True,),
    "solver_order": (1, 2),
    "solver_type": ("midpoint",),
    "thresholding": (False,),
    "timestep_spacing": ("leading", "linspace", "trailing"),
    "timestep_type": ("discrete",),
    "use_beta_sigmas": (False,),
    "use_exponential_sigmas": (False,),
    "use_flow_sigmas": (False,),
    "use_karras_sigmas": (False,),
    "use_lu_lambdas": (False,),
}
#: Most that the cosine schedule takes away in one time.
_MOST_BETA = 0.999


@dataclass(frozen=True, slots=True, eq=False)
class NoiseSchedule:
    """The settings that all schedulers share.

    Attributes:
        shares: (N,) float64, for each of the N times that the denoiser was trained on the share of
            the image in the variance of the latents, falling.
        prediction: what the denoiser gives: `epsilon`, `sample` or `v_prediction`.
        spacing: `leading`, `linspace` or `trailing`; empty where the file leaves it to the
            scheduler.
        offset: added to leading times.
        final_share: the share behind the last step.
        order: 1 or 2, of a solver that has one.
        distilled_steps: of the schedule that distilled weights were trained on.
        distilled_scaling: how steeply their steps turn from the latents to the image.
    """

    shares: np.ndarray
    prediction: str
    spacing: str
    offset: int
    final_share: float
    order: int
    distilled_steps: int
    distilled_scaling: float

    @property
    def times(self) -> int:
        """Return N."""
        return len(self.shares)

    @property
    def sigmas(self) -> np.ndarray:
        """Return (N,) float64, the deviation of the noise where the image has its own scale."""
        ratios: np.ndarray = np.sqrt((1 - self.shares) / self.shares)
        return ratios

    def space(self, steps: int, default: str) -> np.ndarray:
        """Return (steps,) float64 times, falling and maybe not whole.

        Args:
            steps: denoising steps.
            default: the spacing where the file names none.
        """
        spacing = self.spacing or default
        if spacing == "linspace":
            return np.linspace(0, self.times - 1, steps)[::-1]
        if spacing == "leading":
            rising = np.arange(steps) * float(self.times // steps)
            return rising[::-1] + self.offset
        return np.arange(self.times, 0, -self.times / steps).round() - 1

    def starts_at_noise(self, default: str) -> bool:
        """Return whether the first time is the last one of the training, where all is noise."""
        return (self.spacing or default) != "leading"


def read_noise_schedule(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> NoiseSchedule:
    """Read the content of a scheduler_config.json.

    Args:
        config: of any scheduler; settings that only others have are ignored.
        defaults: of the scheduler that steps, before those of latents.

    Raises:
        CheckpointError: naming a setting of the wrong kind, or one that is not supported.
    """
    values = {**_LATENT_DEFAULTS, **defaults}
    values |= {name: value for name, value in config.items() if value is not None}
    for name, supported in _SUPPORTED.items():
        if name in values and values[name] not in supported:
            raise CheckpointError(
                f"the scheduler settings have {name} {shorten(values[name])}; supported: "
                f"{', '.join(map(str, supported))}. Take the scheduler_config.json of another "
                "scheduler of the same model"
            )
    error = CheckpointError
    shares = _read_shares(values)
    is_one = values["set_alpha_to_one"] is True
    return NoiseSchedule(
        shares,
        check_text("prediction_type", values["prediction_type"], error=error),
        check_text("timestep_spacing", values.get("timestep_spacing", ""), error=error),
        check_int("steps_offset", values["steps_offset"], most=len(shares), error=error),
        1.0 if is_one else float(shares[0]),
        check_int("solver_order", values.get("solver_order", 2), error=error),
        check_int(
            "original_inference_steps",
            values.get("original_inference_steps", 50),
            least=1,
            most=len(shares),
            error=error,
        ),
        check_number("timestep_scaling", values.get("timestep_scaling", 10.0), error=error),
    )


def _read_shares(values: Mapping[str, Any]) -> np.ndarray:
    """Return the products of 1 - beta, in the precision that diffusers has them in."""
    error = CheckpointError
    count = check_int(
        "num_train_timesteps",
        values.get("num_train_timesteps", 1000),
        least=1,
        most=1_000_000,
        error=error,
    )
    given = values.get("trained_betas")
    if given is not None:
        listed = check_list("trained_betas", given, most=1_000_000, error=error)
        betas = np.array([check_number("a beta", one, error=error) for one in listed])
    else:
        start, end = (
            check_number(name, values[name], least=0, error=error)
            for name in ("beta_start", "beta_end")
        )
        betas = _make_betas(values["beta_schedule"], start, end, count)
    if not len(betas) or not ((betas > 0) & (betas < 1)).all():
        raise CheckpointError(
            "the scheduler settings must give betas between 0 and 1, got "
            f"{betas.min(initial=0):g} to {betas.max(initial=0):g}"
        )
    kept = np.float32(1) - betas.astype(np.float32)
    return np.cumprod(kept, dtype=np.float64).astype(np.float32).astype(np.float64)


def _make_betas(kind: str, start: float, end: float, count: int) -> np.ndarray:
    if kind == "linear":
        return np.linspace(start, end, count)
    if kind == "scaled_linear":
        return np.linspace(np.sqrt(start), np.sqrt(end), count, dtype=np.float32) ** 2
    edges = np.cos((np.arange(count + 1) / count + 0.008) / 1.008 * np.pi / 2) ** 2
    betas: np.ndarray = np.minimum(1 - edges[1:] / edges[:-1], _MOST_BETA)
    return betas

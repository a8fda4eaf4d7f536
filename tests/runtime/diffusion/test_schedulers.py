"""Our schedulers against those of diffusers: times, scales and every step."""

from __future__ import annotations

import inspect

import diffusers
import numpy as np
import pytest
import torch

from tests.runtime.diffusion.diffusion_parts import SCHEDULES
from vl2_ros.errors import CheckpointError, InputError
from vl2_ros.runtime.diffusion.noise import Noise
from vl2_ros.runtime.diffusion.schedulers import CLASSES, make_scheduler, name_scheduler
from vl2_ros.structures import Route

SETTINGS = {
    key: value
    for key, value in SCHEDULES[Route.GENERATE].items()
    if key not in ("_class_name", "timestep_spacing")
}
SHAPE = (1, 4, 8, 8)


def predict(latents: np.ndarray, time: float) -> np.ndarray:
    """Any answer of a denoiser."""
    return np.roll(np.tanh(latents * np.float32(0.5 + time / 1500)), 1, -1).astype(np.float32)


def run_ours(name, settings, steps) -> tuple[np.ndarray, np.ndarray]:
    """Return times and the latents after each."""
    scheduler, noise, seen = make_scheduler(name, settings, steps), Noise(3), []
    latents = noise.draw(SHAPE) * scheduler.initial_scale
    for index, time in enumerate(scheduler.times):
        output = predict(scheduler.scale_input(index, latents), float(time))
        latents = scheduler.step(index, output, latents, lambda: noise.draw(SHAPE))
        seen.append(latents)
    assert {one.dtype for one in seen} == {np.dtype(np.float32)}
    return scheduler.times, np.stack(seen)


def run_diffusers(name, settings, steps) -> tuple[np.ndarray, np.ndarray]:
    kind = getattr(diffusers, CLASSES[name])
    known = kind().config.keys()
    scheduler = kind(**{key: value for key, value in settings.items() if key in known})
    scheduler.set_timesteps(steps)
    generator, seen = torch.Generator().manual_seed(3), []
    latents = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma
    takes_noise = "generator" in inspect.signature(scheduler.step).parameters
    further = {"generator": generator} if takes_noise else {}
    for time in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, time)
        output = torch.from_numpy(predict(scaled.numpy(), float(time)))
        latents = scheduler.step(output, time, latents, return_dict=False, **further)[0]
        seen.append(latents.numpy())
    return scheduler.timesteps.numpy(), np.stack(seen)


CHANGES = {
    "none": {},
    "leading": {"timestep_spacing": "leading"},
    "linspace": {"timestep_spacing": "linspace", "set_alpha_to_one": True},
    "trailing": {"timestep_spacing": "trailing", "prediction_type": "v_prediction"},
    "linear": {"beta_schedule": "linear", "steps_offset": 0},
    "cosine": {"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "leading"},
    "betas": {"trained_betas": [0.001 + 0.00001 * index for index in range(1000)]},
    "sample": {"prediction_type": "sample"},
    "first order": {"solver_order": 1},
    "distilled": {"original_inference_steps": 40, "timestep_scaling": 5.0},
}
#: What diffusers does not compute.
MISSING = {("euler_ancestral", "sample"), ("pndm", "sample")}


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for name in CLASSES for change in CHANGES if (name, change) not in MISSING],
)
def test_every_step_is_diffusers(name, change):
    changes = CHANGES[change]
    for steps in (1, 2, 5, 20):
        times, ours = run_ours(name, SETTINGS | changes, steps)
        known, theirs = run_diffusers(name, SETTINGS | changes, steps)
        assert np.abs(times - known).max() < 1e-3
        assert np.abs(ours - theirs).max() < 1e-4 * max(1, np.abs(theirs).max())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_karras_sigmas": True}, "use_karras_sigmas True; supported: False"),
        ({"algorithm_type": "sde-dpmsolver++"}, r"supported: dpmsolver\+\+"),
        ({"prediction_type": "noise"}, "prediction_type .*supported: epsilon, sample"),
        ({"beta_start": "low"}, "beta_start must be a number"),
        ({"beta_end": 2.0}, "betas between 0 and 1"),
        ({"trained_betas": []}, "betas between 0 and 1"),
        ({"num_train_timesteps": 0}, "num_train_timesteps must be an int"),
        ({"timestep_spacing": ["leading"]}, "timestep_spacing"),
    ],
)
def test_settings_that_are_not_computed_are_refused_at_once(changes, message):
    with pytest.raises(CheckpointError, match=message):
        name_scheduler({"_class_name": "PNDMScheduler", **SETTINGS, **changes})


def test_more_steps_than_distilled_weights_know_are_refused():
    with pytest.raises(InputError, match=r"lcm cannot take 51 steps .*distilled for 50"):
        make_scheduler("lcm", SETTINGS, 51)

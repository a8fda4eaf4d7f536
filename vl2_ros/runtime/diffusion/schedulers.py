"""Make diffusers' schedulers by name, with the settings of a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import diffusers
from diffusers.utils import logging as diffusers_logging

from vl2_ros.errors import CheckpointError, InputError

#: Name of a scheduler -> its class; the order of the names is that of `SCHEDULERS`.
CLASSES: Mapping[str, str] = {
    "ddim": "DDIMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "lcm": "LCMScheduler",
    "pndm": "PNDMScheduler",
}
_NAMES = {class_name: name for name, class_name in CLASSES.items()}
#: Common defaults of schedulers of latents, where a file has none; values of released files.
_LATENT_DEFAULTS = {"set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1}


def name_scheduler(config: Mapping[str, Any]) -> str:
    """Return the name of the scheduler that settings are for.

    Raises:
        CheckpointError: if it is none of `CLASSES`.
    """
    class_name = config.get("_class_name")
    if class_name not in _NAMES:
        raise CheckpointError(
            f"the scheduler settings are for {class_name!r}; expected one of "
            f"{', '.join(_NAMES)} as _class_name of scheduler_config.json"
        )
    return _NAMES[class_name]


def check_scheduler(name: str, own: str) -> None:
    """Check that weights can be stepped by a scheduler.

    Any scheduler of a noise schedule fits weights that were trained on it, but "lcm" jumps to the
    end in each step, which only distilled weights can; their settings name it.

    Args:
        name: of the requested scheduler.
        own: of the scheduler that the checkpoint's settings are for.

    Raises:
        InputError: if they cannot.
    """
    if name == "lcm" and own != "lcm":
        raise InputError(
            "the scheduler lcm needs weights that were distilled for it, whose "
            f"scheduler_config.json names LCMScheduler; this checkpoint's is {own}. Use dpm++ "
            "with 15 to 25 steps to be fast"
        )


def make_scheduler(name: str, config: Mapping[str, Any], steps: int) -> Any:
    """Make a scheduler with its time steps set, on the CPU.

    There its numbers never make an accelerator wait: scalars on the CPU meet latents anywhere.

    Args:
        name: one of `CLASSES`.
        config: content of a scheduler_config.json, of any of them.
        steps: denoising steps.

    Returns:
        a fresh diffusers scheduler; it counts its steps, so it serves one image.

    Raises:
        InputError: if it cannot take this many steps.
    """
    # Settings that this class does not have are ignored.
    logger = diffusers_logging.get_logger("diffusers.configuration_utils")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        # Latents are not confined to -1..1 as pixels are.
        settings = {**_LATENT_DEFAULTS, **config, "clip_sample": False}
        scheduler = getattr(diffusers, CLASSES[name]).from_config(settings)
        scheduler.set_timesteps(steps)
    except ValueError as error:
        raise _too_many(name, steps, str(error)) from error
    finally:
        logger.setLevel(level)
    trained, times = scheduler.config.num_train_timesteps, scheduler.timesteps
    # PNDM evaluates a time twice on purpose; the others would fail on their own index.
    repeated = name != "pndm" and len(times.unique()) < len(times)
    if repeated or int(times.max()) >= trained:
        raise _too_many(name, steps, f"the model was trained on {trained} times")
    return scheduler


def _too_many(name: str, steps: int, why: str) -> InputError:
    return InputError(
        f"the scheduler {name} cannot take {steps} steps ({why}); ask for fewer, 20 to 50 are usual"
    )

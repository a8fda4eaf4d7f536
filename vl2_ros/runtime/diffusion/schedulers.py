"""The schedulers of denoising: which times a denoiser is asked about, and the step to the next.

Each is a few lines of arithmetic with plain numbers, so that latents may be arrays of any library
and never leave their device. Results are those of diffusers' schedulers of the same names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from vl2_ros.errors import CheckpointError, InputError
from vl2_ros.runtime.diffusion.schedule import NoiseSchedule, read_noise_schedule
from vl2_ros.runtime.engine import Array

#: Returns new noise of the shape of the latents, where they are.
DrawNoise = Callable[[], Array]


class Scheduler:
    """One image's way from noise; `step` is called once for each of `times`, in order.

    Latents have the deviation of their image plus noise scaled to 1 in all, except between the
    steps of `_SigmaScheduler`s, where the image has its own scale.
    """

    spacing: ClassVar[str] = "leading"
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, schedule: NoiseSchedule, steps: int) -> None:
        """Set the times.

        Args:
            schedule: of the checkpoint.
            steps: denoising steps, at most the schedule's times.
        """
        self._schedule = schedule
        self._stride = schedule.times // steps
        #: (calls,) float32, what the denoiser is asked about.
        self.times: np.ndarray = self._choose_times(steps).astype(np.float32)
        #: Deviation of the first latents.
        self.initial_scale = 1.0

    def _choose_times(self, steps: int) -> np.ndarray:
        return self._schedule.space(steps, self.spacing).round()

    def scale_input(self, index: int, latents: Array) -> Array:
        """Bring latents to the scale that the denoiser was trained on."""
        return latents

    def step(self, index: int, output: Array, latents: Array, draw: DrawNoise) -> Array:
        """Return the latents of the next time.

        Args:
            index: of the time.
            output: (1, 4, h, w) float32 of the denoiser.
            latents: (1, 4, h, w) float32 that it was asked about, before `scale_input`.
            draw: called by schedulers that add noise at every step.
        """
        raise NotImplementedError

    def _share_at(self, time: int) -> float:
        return float(self._schedule.shares[time]) if time >= 0 else self._schedule.final_share

    def _read(self, output: Array, latents: Array, share: float) -> tuple[Array, Array]:
        """Return the image and the noise that the denoiser sees in latents of deviation 1.

        Args:
            output: of the denoiser.
            latents: that it was asked about.
            share: of the image in their variance.
        """
        image, noise = math.sqrt(share), math.sqrt(1 - share)
        if self._schedule.prediction == "epsilon":
            return (latents - noise * output) / image, output
        if self._schedule.prediction == "sample":
            return output, (latents - image * output) / noise
        return image * latents - noise * output, image * output + noise * latents


def _mix(image: Array, noise: Array, share: float) -> Array:
    return math.sqrt(share) * image + math.sqrt(1 - share) * noise


class DdimScheduler(Scheduler):
    """Denoising diffusion implicit models, without new noise."""

    def step(self, index: int, output: Array, latents: Array, draw: DrawNoise) -> Array:
        """See `Scheduler.step`."""
        time = int(self.times[index])
        image, noise = self._read(output, latents, self._share_at(time))
        return _mix(image, noise, self._share_at(time - self._stride))


class PndmScheduler(Scheduler):
    """Pseudo numerical methods: a linear combination of the last four outputs.

    The second time is asked about twice: once to look ahead, then the first step is done again with
    the mean.
    """

    #: Of the outputs, the newest first, by how many there are (Adams and Bashforth).
    _WEIGHTS: ClassVar[tuple[tuple[float, ...], ...]] = (
        (1.0,),
        (3 / 2, -1 / 2),
        (23 / 12, -16 / 12, 5 / 12),
        (55 / 24, -59 / 24, 37 / 24, -9 / 24),
    )

    def __init__(self, schedule: NoiseSchedule, steps: int) -> None:
        """See `Scheduler`."""
        super().__init__(schedule, steps)
        self._outputs: list[Array] = []
        self._first: Array = None

    def _choose_times(self, steps: int) -> np.ndarray:
        times = super()._choose_times(steps)
        return np.concatenate([times[:2], times[1:2], times[2:]])

    def step(self, index: int, output: Array, latents: Array, draw: DrawNoise) -> Array:
        """See `Scheduler.step`."""
        time = int(self.times[index])
        if index == 1:
            mixed = (output + self._outputs[0]) / 2
            return self._move(mixed, self._first, time + self._stride, time)
        if index == 0:
            self._first = latents
        self._outputs = [output, *self._outputs[:3]]
        weights = self._WEIGHTS[len(self._outputs) - 1]
        mixed = sum(w * one for w, one in zip(weights, self._outputs, strict=True))
        return self._move(mixed, latents, time, time - self._stride)

    def _move(self, output: Array, latents: Array, time: int, following: int) -> Array:
        image, noise = self._read(output, latents, self._share_at(time))
        return _mix(image, noise, self._share_at(following))


class LcmScheduler(Scheduler):
    """Latent consistency models: each step jumps to the end, then goes back to the next time."""

    defaults: ClassVar[Mapping[str, Any]] = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
    }
    #: Deviation of the images in the derivation of the method.
    _DEVIATION = 0.5

    def _choose_times(self, steps: int) -> np.ndarray:
        known = self._schedule.distilled_steps
        if steps > known:
            raise InputError(
                f"the scheduler lcm cannot take {steps} steps (the weights were distilled for "
                f"{known}); ask for fewer, 4 to 8 are usual"
            )
        rising = np.arange(1, known + 1) * (self._schedule.times // known) - 1
        places = np.floor(np.linspace(0, known, steps, endpoint=False)).astype(np.int64)
        return rising[::-1][places]

    def step(self, index: int, output: Array, latents: Array, draw: DrawNoise) -> Array:
        """See `Scheduler.step`."""
        time = int(self.times[index])
        image, _ = self._read(output, latents, self._share_at(time))
        scaled = time * self._schedule.distilled_scaling
        total = scaled**2 + self._DEVIATION**2
        ahead = scaled / math.sqrt(total) * image + self._DEVIATION**2 / total * latents
        if index + 1 == len(self.times):
            return ahead
        return _mix(ahead, draw(), self._share_at(int(self.times[index + 1])))


class _SigmaScheduler(Scheduler):
    """A scheduler that counts in sigmas, which may lie between those of whole times."""

    spacing: ClassVar[str] = "linspace"

    def __init__(self, schedule: NoiseSchedule, steps: int) -> None:
        """See `Scheduler`."""
        super().__init__(schedule, steps)
        known = np.interp(self.times, np.arange(schedule.times), schedule.sigmas)
        #: (calls + 1,) float32, 0 at the end.
        self.sigmas: np.ndarray = np.append(known, 0).astype(np.float32)

    def _sigma(self, index: int) -> float:
        return float(self.sigmas[index])

    @staticmethod
    def _share_of(sigma: float) -> float:
        return 1 / (sigma**2 + 1)


class EulerScheduler(_SigmaScheduler):
    """Euler's method."""

    def __init__(self, schedule: NoiseSchedule, steps: int) -> None:
        """See `Scheduler`."""
        super().__init__(schedule, steps)
        most = float(self.sigmas.max())
        is_noise = schedule.starts_at_noise(self.spacing)
        self.initial_scale = most if is_noise else math.sqrt(most**2 + 1)

    def _choose_times(self, steps: int) -> np.ndarray:
        return self._schedule.space(steps, self.spacing)

    def scale_input(self, index: int, latents: Array) -> Array:
        """See `Scheduler.scale_input`."""
        return latents / math.sqrt(self._sigma(index) ** 2 + 1)

    def step(self, index: int, output: Array, latents: Array, draw: DrawNoise) -> Array:
        """See `Scheduler.step`."""
        return self._descend(index, output, latents, self._sigma(index + 1))

    def _descend(self, index: int, output: Array, latents: Array, target: float) -> Array:
        sigma = self._sigma(index)
        # The scaled latents are those of the share; their noise is the slope of the unscaled.
        _, noise = self._read(output, self.scale_input(index, latents), self._share_of(sigma))
        return latents + noise * (target - sigma)


class EulerAncestralScheduler(EulerScheduler):
    """Euler's method with new noise: each step goes too far down and comes back by a draw."""

    def step(self, index: int, output: Array, latents: Array, draw: DrawNoise) -> Array:
        """See `Scheduler.step`."""
        sigma, following = self._sigma(index), self._sigma(index + 1)
        added = math.sqrt(following**2 * (sigma**2 - following**2) / sigma**2)
        target = math.sqrt(following**2 - added**2)
        return self._descend(index, output, latents, target) + added * draw()


class DpmScheduler(_SigmaScheduler):
    """DPM-Solver++, multistep and of second order (midpoint), without new noise."""

    def __init__(self, schedule: NoiseSchedule, steps: int) -> None:
        """See `Scheduler`."""
        super().__init__(schedule, steps)
        self._last_image: Array = None

    def _choose_times(self, steps: int) -> np.ndarray:
        spacing = self._schedule.spacing or self.spacing
        # It stops one step short of the end, which the last step reaches.
        further = steps if spacing == "trailing" else steps + 1
        return self._schedule.space(further, self.spacing)[:steps].round()

    def step(self, index: int, output: Array, latents: Array, draw: DrawNoise) -> Array:
        """See `Scheduler.step`."""
        sigma, following = self._sigma(index), self._sigma(index + 1)
        share, next_share = self._share_of(sigma), self._share_of(following)
        image, _ = self._read(output, latents, share)
        seen = image
        is_last = index + 1 == len(self.times)
        if index and not is_last and self._schedule.order == 2:
            ahead = math.log(sigma / following)
            behind = math.log(self._sigma(index - 1) / sigma)
            seen = image + ahead / (2 * behind) * (image - self._last_image)
        self._last_image = image
        # Ratio of the noise's parts, then the share of the image that is missing to it.
        kept = math.sqrt((1 - next_share) / (1 - share))
        return kept * latents + math.sqrt(next_share) * (1 - following / sigma) * seen


#: Name of a scheduler -> its class here; the order of the names is that of `SCHEDULERS`.
_SCHEDULERS: Mapping[str, type[Scheduler]] = {
    "ddim": DdimScheduler,
    "dpm++": DpmScheduler,
    "euler": EulerScheduler,
    "euler_ancestral": EulerAncestralScheduler,
    "lcm": LcmScheduler,
    "pndm": PndmScheduler,
}
#: Name of a scheduler -> its class in scheduler_config.json.
CLASSES: Mapping[str, str] = {
    "ddim": "DDIMScheduler",
    "dpm++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "lcm": "LCMScheduler",
    "pndm": "PNDMScheduler",
}
_NAMES = {class_name: name for name, class_name in CLASSES.items()}


def name_scheduler(config: Mapping[str, Any]) -> str:
    """Return the name of the scheduler that settings are for, which are known to be usable.

    Raises:
        CheckpointError: if it is none of `CLASSES`, or a setting is not supported.
    """
    class_name = config.get("_class_name")
    if class_name not in _NAMES:
        raise CheckpointError(
            f"the scheduler settings are for {class_name!r}; expected one of "
            f"{', '.join(_NAMES)} as _class_name of scheduler_config.json"
        )
    name = _NAMES[class_name]
    read_noise_schedule(config, _SCHEDULERS[name].defaults)
    return name


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


def make_scheduler(name: str, config: Mapping[str, Any], steps: int) -> Scheduler:
    """Make a scheduler with its times set; it counts its steps, so it serves one image.

    Args:
        name: one of `CLASSES`.
        config: content of a scheduler_config.json, of any of them.
        steps: denoising steps.

    Raises:
        CheckpointError: if a setting is not supported.
        InputError: if it cannot take this many steps.
    """
    kind = _SCHEDULERS[name]
    schedule = read_noise_schedule(config, kind.defaults)
    trained = schedule.times
    if steps <= trained:
        scheduler = kind(schedule, steps)
        times = scheduler.times
        # PNDM evaluates a time twice on purpose.
        repeated = name != "pndm" and len(np.unique(times)) < len(times)
        if not repeated and times.max() < trained:
            return scheduler
    raise InputError(
        f"the scheduler {name} cannot take {steps} steps (the model was trained on {trained} "
        "times); ask for fewer, 20 to 50 are usual"
    )

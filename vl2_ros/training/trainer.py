"""One training run: optimise, average the weights, log, save, resume.

Controls the order of events; the subclass defines the loss of a step and the trained parts.
"""

from __future__ import annotations

import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from vl2_ros.errors import CheckpointError
from vl2_ros.model.checkpoint.folder import load_model, save_model
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.tokenizer import Tokenizer, load_tokenizer
from vl2_ros.training.embedded.config import embedded_model_config, embedded_processing_config
from vl2_ros.training.embedded.loss import TokenLabellers, get_decoder
from vl2_ros.training.recipe import EmbeddedRecipe, learning_rate_share
from vl2_ros.training.workers import WorkerGroup

logger = logging.getLogger(__name__)

STATE_FILE = "training_state.pt"

#: Called with (step, share of the time used, log row).
OnStep = Callable[[int, float, dict[str, float]], None]


@torch.no_grad()
def quiet_text_enhancers(model: VisionLLM, scale: float = 0.1) -> None:
    """Make the encoder's text layers start close to the identity.

    Fresh ones soon add the same large vector to every class, which helps to separate objects from
    the table but leaves the names nearly equal; learning them then takes very long.
    """
    for layer in get_decoder(model).encoder.layers:
        enhancer = layer.text_enhancer_layer
        enhancer.self_attn.out_proj.weight.mul_(scale)
        enhancer.fc2.weight.mul_(scale)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Split parameters: weight decay on matrices, none on vectors and tables of queries."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        table = "query" in name or "embed_tokens" in name or name.startswith("super_link")
        (plain if parameter.ndim < 2 or table else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def bfloat16_is_faster(repeats: int = 5) -> bool:
    """Time this CPU: where it lacks bfloat16 instructions, autocast costs ten times more, not less.

    Args:
        repeats: timed products of each kind; the best of each counts.
    """
    best = {}
    for dtype in (torch.float32, torch.bfloat16):
        rows, weights = torch.ones(512, 256, dtype=dtype), torch.ones(256, 256, dtype=dtype)
        times = []
        for _ in range(repeats + 1):
            began = time.perf_counter()
            nn.functional.linear(rows, weights)
            times.append(time.perf_counter() - began)
        best[dtype] = min(times)
    return best[torch.bfloat16] < best[torch.float32]


class Trainer(ABC):
    """One training run with its state on disk.

    Args:
        out: folder of the tokenizer, the checkpoint, the log and the resumable state.
        recipe: settings of the run.
        group: the workers that train together.
        device: where the network is trained; on `cuda` one worker trains.
    """

    def __init__(
        self,
        out: Path,
        recipe: EmbeddedRecipe,
        group: WorkerGroup | None = None,
        device: str = "cpu",
    ) -> None:
        """Build network and optimiser around the tokenizer in `out`, or read them back."""
        self._device = torch.device(device)
        self._out = out
        self._recipe = recipe
        self._group = WorkerGroup() if group is None else group
        self._processing: ProcessingConfig = embedded_processing_config()
        self._tokenizer: Tokenizer = load_tokenizer(out)
        torch.manual_seed(recipe.seed)
        config = embedded_model_config(self._tokenizer.vocab_size)
        self.model = VisionLLM(config, self._tokenizer.tokens)
        quiet_text_enhancers(self.model)
        self.model.to(self._device)
        self._average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self._labellers = TokenLabellers(config).to(self._device)
        self._optimizer = torch.optim.AdamW(
            [
                *parameter_groups(self.model, recipe.weight_decay),
                {"params": list(self._labellers.parameters()), "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
            betas=(0.9, 0.98),
        )
        self._step = 0
        self._elapsed_s = 0.0
        self._clock = time.monotonic()
        self._autocast = self._choose_autocast(self._resume())
        self._first_step = self._step

    @abstractmethod
    def compute_step(self) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Draw this worker's next batch and return its loss with the parts for the log."""

    @abstractmethod
    def trained_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Return what the next step trains, in groups that are clipped each by itself.

        The same on every worker.
        """

    @property
    def elapsed_share(self) -> float:
        """Return how much of the recipe's time is used, in 0..1."""
        return min(1.0, self._elapsed_s / (self._recipe.minutes * 60.0))

    def run(self, on_step: OnStep | None = None) -> None:
        """Optimise until the recipe's time is used, then save the averaged weights.

        Args:
            on_step: called with (step, elapsed_share, log row) every 20 steps.
        """
        self.model.train()
        self._clock = last_save = time.monotonic()
        parts: dict[str, torch.Tensor] = {}
        while self._elapsed_s < self._recipe.minutes * 60.0:
            parts |= self._optimise()
            self._step += 1
            if not self._group.is_first:
                continue
            if self._step % 20 == 0:
                row = self._log(parts)
                if on_step is not None:
                    on_step(self._step, self.elapsed_share, row)
            if time.monotonic() - last_save > self._recipe.save_every_s:
                self._save_state()
                self.save()
                last_save = time.monotonic()
        if self._group.is_first:
            self._save_state()
            self.save()

    def save(self) -> None:
        """Write the averaged weights as a checkpoint that `vl2 ask --weights` takes."""
        current = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self._average)
        save_model(self.model, self._out, dtype=torch.float16)
        self._processing.save(self._out)
        self.model.load_state_dict(current)

    def _choose_autocast(self, interrupted: bool | None) -> bool:
        """Return whether to use bfloat16, as the interrupted run did or by timing this machine."""
        if interrupted is not None:
            logger.info("autocast to bfloat16: %s, as in the interrupted run", interrupted)
            return interrupted
        if self._device.type != "cpu":
            logger.info("autocast to bfloat16: False, it is used on CPUs only")
            return False
        # The same on every worker: their gradients are averaged.
        chosen = self._group.average([], float(bfloat16_is_faster())) > 0.5
        logger.info("autocast to bfloat16: %s, by timing", chosen)
        return chosen

    def _optimise(self) -> dict[str, torch.Tensor]:
        since_start = self._step - self._first_step
        share = learning_rate_share(self._recipe, since_start, self.elapsed_share)
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * share
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._autocast):
            loss, parts = self.compute_step()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        trained = self.trained_parameters()
        self._average_over_workers([p for group in trained.values() for p in group])
        limit = self._recipe.clip_norm
        norms = {
            f"norm_{name}": nn.utils.clip_grad_norm_(group, limit)
            for name, group in trained.items()
        }
        if all(torch.isfinite(norm) for norm in norms.values()):
            self._optimizer.step()
            self._update_average()
        else:
            logger.warning("step %d skipped: gradient norms are %s", self._step, norms)
        return {"loss": loss, **norms, **parts}

    def _average_over_workers(self, trained: list[nn.Parameter]) -> None:
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        now = time.monotonic()
        # Every worker counts the same time, so that all end in the same step.
        self._elapsed_s += self._group.average([p.grad for p in trained], now - self._clock)
        self._clock = now

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self._recipe.average_decay, (1 + self._step) / (10 + self._step))
        state = self.model.state_dict()
        floats = [k for k, v in state.items() if v.is_floating_point()]
        averages = [self._average[k] for k in floats]
        torch._foreach_lerp_(averages, [state[k] for k in floats], 1 - decay)
        for key in state.keys() - set(floats):
            self._average[key].copy_(state[key])

    def _log(self, parts: dict[str, torch.Tensor]) -> dict[str, float]:
        row = {key: round(float(value.detach()), 4) for key, value in parts.items()}
        row |= {
            "step": self._step,
            "minutes": round(self._elapsed_s / 60.0, 2),
            "bfloat16": float(self._autocast),
        }
        with (self._out / "training_log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        return row

    def _save_state(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "average": self._average,
            "labellers": self._labellers.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self._step,
            "elapsed_s": self._elapsed_s,
            "autocast": self._autocast,
            "recipe": asdict(self._recipe),
        }
        part = self._out / f"{STATE_FILE}.part"
        torch.save(state, part)
        part.replace(self._out / STATE_FILE)

    def _resume(self) -> bool | None:
        """Take up an interrupted run; return its use of bfloat16, None when there is no run."""
        path = self._out / STATE_FILE
        if not path.exists():
            if (self._out / "model.safetensors").exists():
                self.model.load_state_dict(load_model(self._out).state_dict())
                self._average = {k: v.clone() for k, v in self.model.state_dict().items()}
            return None
        try:
            state = torch.load(path, weights_only=True, map_location=self._device)
            self.model.load_state_dict(state["model"])
            self._average = dict(state["average"])
            self._labellers.load_state_dict(state["labellers"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._step, self._elapsed_s = int(state["step"]), float(state["elapsed_s"])
            autocast = bool(state["autocast"])
        # Unpickling damaged bytes can raise any kind of error.
        except Exception as error:
            raise CheckpointError(
                f"cannot resume from {path} ({type(error).__name__}: {str(error)[:300]}); delete "
                "it to start from the weights beside it"
            ) from error
        logger.info("resumed at step %d, %.1f minutes", self._step, self._elapsed_s / 60.0)
        return autocast

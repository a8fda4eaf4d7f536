"""One optimisation step: gradients of its batches, their norms, the change of the weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vl2_ros.errors import TrainingError
from vl2_ros.training.loop.batches import TRAINING, BatchStream, move_batch, seed_chance
from vl2_ros.training.loop.pace import Pace
from vl2_ros.training.loop.parameters import group_norms, group_parameters
from vl2_ros.training.loop.schedule import learning_rate_share
from vl2_ros.training.loop.sharding import gather
from vl2_ros.training.objective import Objective
from vl2_ros.training.recipes.recipe import Recipe

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)

#: Steps whose gradients are not finite, in a row, after which a run ends.
MOST_SKIPPED = 20


class LossModule(nn.Module):
    """An objective whose output is made of tuples and dicts, in which wrappers look for tensors."""

    def __init__(self, objective: Objective) -> None:
        """Wrap the objective."""
        super().__init__()
        self.objective = objective

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total loss with its graph, and the parts without."""
        losses = self.objective(batch)
        return losses.total, {name: value.detach() for name, value in losses.parts.items()}


class Optimisation:
    """The optimiser of a run around its objective.

    Args:
        objective: with what is trained already chosen.
        recipe: of the run.
        accelerator: devices and processes.
        steps: of the whole run.

    Attributes:
        module: returns the losses of a batch; wrapped for several processes.
        optimizer: AdamW.
        skipped: steps whose gradients were not finite.
        skipped_in_a_row: the last ones of these.
        learning_rate: of the last step, before any multiplier.
    """

    def __init__(
        self, objective: Objective, recipe: Recipe, accelerator: Accelerator, steps: int
    ) -> None:
        """Move the objective to its device."""
        rates = recipe.rates
        optimizer = torch.optim.AdamW(
            group_parameters(objective, rates),
            lr=rates.learning_rate,
            betas=(rates.beta1, rates.beta2),
            fused=accelerator.device.type in ("cpu", "cuda"),
        )
        self.module, self._prepared = accelerator.prepare(LossModule(objective), optimizer)
        self.optimizer: torch.optim.Optimizer = self._prepared.optimizer
        self.skipped = self.skipped_in_a_row = 0
        self.learning_rate = 0.0
        self._recipe, self._accelerator, self._steps = recipe, accelerator, steps
        self._limited = group_norms(objective, rates)

    @property
    def is_sharded(self) -> bool:
        """Return whether each process holds a share of the weights only."""
        from accelerate import DistributedType

        return self._accelerator.distributed_type == DistributedType.FSDP

    def run(self, stream: BatchStream, step: int, pace: Pace) -> dict[str, Tensor]:
        """Do one step.

        Args:
            stream: batches of this process.
            step: 0 to the recipe's steps - 1.
            pace: counts the time that data is waited for.

        Returns:
            `loss`, the parts and the gradient norms, as scalars: of the batches of this process,
            averaged over those that have the part.

        Raises:
            TrainingError: if the gradients of many steps in a row are not finite.
        """
        found: dict[str, list[Tensor]] = {}
        for _ in range(self._recipe.accumulation):
            with pace.waiting():
                number, batch = stream.next()
            for name, value in self._add_gradients(number, batch).items():
                found.setdefault(name, []).append(value)
        norms = self._limit_norms()
        self._change_weights(step, norms)
        means = {
            name: torch.stack([one.float() for one in values]).mean()
            for name, values in found.items()
        }
        return means | norms

    def _add_gradients(self, number: int, batch: Any) -> dict[str, Tensor]:
        accelerator = self._accelerator
        with accelerator.accumulate(self.module):
            seed_chance(self._recipe.seed, TRAINING, number)
            total, parts = self.module(move_batch(batch, accelerator.device))
            accelerator.backward(total)
        return {"loss": total.detach(), **parts}

    def _limit_norms(self) -> dict[str, Tensor]:
        self._accelerator.unscale_gradients()
        device = self._accelerator.device
        return {
            f"norm_{name}".rstrip("_"): _limit_norm(group, self._recipe.rates.clip_norm).to(device)
            for name, group in self._limited.items()
        }

    def _change_weights(self, step: int, norms: dict[str, Tensor]) -> None:
        share = learning_rate_share(self._recipe.rates, step, self._steps)
        self.learning_rate = self._recipe.rates.learning_rate * share
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share
        is_finite = bool(torch.stack([*norms.values()]).isfinite().all())
        # The scale of float16 losses is lowered by a step that it skips itself.
        if is_finite or self._accelerator.scaler is not None:
            self._prepared.step()
        self._prepared.zero_grad(set_to_none=True)
        if is_finite:
            self.skipped_in_a_row = 0
            return
        self.skipped += 1
        self.skipped_in_a_row += 1
        logger.warning("step %d skipped: gradients are not finite", step + 1)
        if self.skipped_in_a_row == MOST_SKIPPED:
            raise TrainingError(
                f"the gradients of {MOST_SKIPPED} steps in a row, up to step {step + 1}, are not "
                "finite; expected finite ones: lower rates.learning_rate, or use another precision"
            )


def _limit_norm(parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
    """Shorten gradients that are longer than the limit, and only these; return their norm."""
    gradients = [one.grad for one in parameters if one.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    whole = gather(norm)
    if whole > limit:
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return whole

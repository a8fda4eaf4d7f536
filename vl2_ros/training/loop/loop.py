"""The order of events of a run: steps, rows of the log, evaluations, states, checkpoints.

It knows no task: an objective says what a batch is and what its loss is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vl2_ros.errors import ConfigError
from vl2_ros.model.network import VisionLLM
from vl2_ros.training.loop.adapters import merge_adapters
from vl2_ros.training.loop.averaging import WeightAverage
from vl2_ros.training.loop.batches import BatchStream, count_steps
from vl2_ros.training.loop.checkpoints import write_checkpoint
from vl2_ros.training.loop.devices import average_numbers, name_precision
from vl2_ros.training.loop.evaluation import measure_losses
from vl2_ros.training.loop.log import TrainingLog
from vl2_ros.training.loop.pace import Pace
from vl2_ros.training.loop.parameters import set_modes
from vl2_ros.training.loop.sharding import gather_tree
from vl2_ros.training.loop.signals import Interrupts
from vl2_ros.training.loop.state import (
    RunState,
    gather_tensors,
    load_optimizer,
    load_tensors,
    write_state,
)
from vl2_ros.training.loop.steps import Optimisation
from vl2_ros.training.objective import Batches, Objective
from vl2_ros.training.recipes.recipe import Recipe
from vl2_ros.training.recipes.sections import flatten

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)

LAST_FOLDER, BEST_FOLDER = "last", "best"
#: What the best checkpoint can be best by beside scores.
_LOSS = "loss"

#: Measures the network, in evaluation mode and with its averaged weights, after a step; every
#: process calls it and must get the same numbers. Higher is better.
Score = Callable[[VisionLLM, int], Mapping[str, float]]
#: Called with a line for a person.
Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a run ended.

    Attributes:
        step: steps that are done.
        steps: of the whole run; fewer were done when it was interrupted.
        best: what the best checkpoint has; None where nothing was measured.
    """

    step: int
    steps: int
    best: float | None

    @property
    def is_complete(self) -> bool:
        """Return whether every step was done."""
        return self.step == self.steps


class TrainingLoop:
    """One run with its files.

    Args:
        objective: on the CPU, with adapters and with what is trained already chosen.
        recipe: of the run.
        folder: of the state, the log and the checkpoints; one for all processes.
        accelerator: devices and processes.
        state: of the interrupted run that is resumed; None begins a new one.
        score: measures the network at every evaluation; not called where it is sharded.
        show: called with lines about the run, on the first process.

    Raises:
        CheckpointError: if the state is not that of this network.
        ConfigError: if the recipe's best checkpoint is by a score and nothing is scored.
    """

    def __init__(
        self,
        objective: Objective,
        recipe: Recipe,
        folder: Path,
        accelerator: Accelerator,
        *,
        state: RunState | None = None,
        score: Score | None = None,
        show: Show = logger.info,
    ) -> None:
        """Move the network to its device and take up the state."""
        self._recipe, self._folder, self._accelerator = recipe, folder, accelerator
        self._objective, self._score = objective, score
        self._show: Show = show if accelerator.is_main_process else (lambda line: None)
        processes = accelerator.num_processes
        batches = objective.open_batches(recipe.seed)
        self._held_out: Batches = ()  # type: ignore[assignment]
        if recipe.evaluation.batches:
            self._held_out = objective.open_batches(recipe.seed, held_out=True)
        self._steps = count_steps(
            recipe.steps, recipe.epochs, batches, processes * recipe.accumulation
        )
        self._stream = BatchStream(batches, accelerator.process_index, processes, recipe.workers)
        if recipe.gradient_checkpointing:
            objective.network.llm.gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
        self._optimisation = Optimisation(objective, recipe, accelerator, self._steps)
        self._step, self._best = 0, None if state is None else state.best
        if state is not None:
            self._step = state.step
            load_tensors(objective, state.tensors)
            load_optimizer(self._optimisation.optimizer, state.optimizer)
            if accelerator.scaler is not None:
                accelerator.scaler.load_state_dict(state.scaler)
            self._optimisation.skipped = state.skipped
            self._stream.load_state(state.batches)
        self._average = WeightAverage(objective, recipe.average_decay)
        if state is not None:
            self._average.load(state.averages)
            self._show(f"resumed at step {self._step} of {self._steps}")
        else:
            self._show(f"nothing to resume in {folder}: step 0 of {self._steps}")
        self._check_best()

    def _check_best(self) -> None:
        """Check that what the best checkpoint is best by can be measured at all."""
        name = self._recipe.evaluation.best_by
        if name == _LOSS or (self._score is not None and not self._optimisation.is_sharded):
            return
        why = "where weights are sharded" if self._score else "in this run"
        raise ConfigError(
            f"evaluation.best_by is {name!r}, but nothing is scored {why}; set it to {_LOSS}, or "
            "name labelled images with --data"
        )

    def run(self) -> RunEnd:
        """Train until the last step or an interrupt, after which the state is written.

        Raises:
            TrainingError: if gradients are not finite many times in a row.
        """
        interrupts = Interrupts()
        log = TrainingLog(self._folder, self._step) if self._accelerator.is_main_process else None
        try:
            with interrupts.noted():
                self._train(interrupts, log)
        finally:
            self._stream.close()
            if log is not None:
                log.close()
        return RunEnd(self._step, self._steps, self._best)

    def _train(self, interrupts: Interrupts, log: TrainingLog | None) -> None:
        pace = Pace(self._step, self._steps)
        saved_step = self._step
        self._set_modes()
        while self._step < self._steps and not interrupts.is_set:
            numbers = self._optimisation.run(self._stream, self._step, pace)
            if not self._optimisation.skipped_in_a_row:
                self._average.update(self._step + 1)
            self._step += 1
            if pace.is_status_due():
                self._show(pace.describe(self._step, float(numbers["loss"])))
            if self._step % self._recipe.log_every == 0 or self._step == self._steps:
                self._log_step(numbers, pace, log)
            if self._is_evaluated():
                self._evaluate(log)
            interrupts.is_set, is_due = self._agree(interrupts.is_set, pace.is_state_due())
            if is_due or interrupts.is_set or self._step == self._steps:
                with pace.saving():
                    self._save_state()
                saved_step = self._step
        if self._step < self._steps:
            if saved_step != self._step:
                self._save_state()
            self._show(
                f"interrupted at step {self._step} of {self._steps}; the same command resumes it"
            )

    def _set_modes(self) -> None:
        set_modes(self._objective)
        if self._recipe.gradient_checkpointing:
            # It is skipped in evaluation mode; a frozen LLM draws nothing in either.
            self._objective.network.llm.train()

    def _agree(self, is_interrupted: bool, is_due: bool) -> tuple[bool, bool]:
        """Return whether any process was interrupted, and whether the first wants a state."""
        accelerator = self._accelerator
        if accelerator.num_processes == 1:
            return is_interrupted, is_due
        is_due = is_due and accelerator.is_main_process
        asked = torch.tensor([is_interrupted, is_due], dtype=torch.float32)
        found: Tensor = accelerator.reduce(asked.to(accelerator.device), reduction="sum")
        first, second = (found > 0).tolist()
        return first, second

    def _log_step(self, numbers: Mapping[str, Tensor], pace: Pace, log: TrainingLog | None) -> None:
        row = average_numbers({name: float(value) for name, value in numbers.items()})
        row["learning_rate"] = self._optimisation.learning_rate
        row["skipped"] = float(self._optimisation.skipped)
        if log is not None:
            log.write({"step": self._step, **row, **pace.numbers()})

    def _is_evaluated(self) -> bool:
        every = self._recipe.evaluation.every
        return self._step == self._steps or bool(every and self._step % every == 0)

    def _evaluate(self, log: TrainingLog | None) -> None:
        """Measure the averaged weights, and write them as the last and perhaps best checkpoint."""
        network = self._objective.network
        with self._average.swapped(), torch.no_grad():
            self._objective.eval()
            # Measuring may end the run, and must not lose the weights that it is about.
            state = gather_tree(network.state_dict(), keep=log is not None)
            self._write(state, LAST_FOLDER, log)
            measured = measure_losses(
                self._optimisation.module, self._held_out, self._recipe, self._accelerator
            )
            scores: dict[str, float] = {}
            if self._score is not None and not self._optimisation.is_sharded:
                scores = dict(self._score(network, self._step))
            if self._compare(measured, scores):
                self._write(state, BEST_FOLDER, log)
            self._set_modes()
        row = {f"held_out/{name}": value for name, value in measured.items()} | scores
        if log is not None and row:
            log.write({"step": self._step, **row})
            log.plot()
            shown = ", ".join(f"{name} {value:.4g}" for name, value in row.items())
            self._show(f"step {self._step} of {self._steps}: {shown}")

    def _write(self, state: Mapping[str, Tensor], name: str, log: TrainingLog | None) -> None:
        """Write a checkpoint on the process that has the log."""
        if log is not None:
            merged = merge_adapters(state, self._recipe.lora)
            dtype = getattr(torch, self._recipe.saved_dtype)
            write_checkpoint(self._objective.network, merged, self._folder, name, dtype)

    def _compare(self, measured: Mapping[str, float], scores: Mapping[str, float]) -> bool:
        """Return whether these weights are the best so far, and keep what they reach."""
        name = self._recipe.evaluation.best_by
        if name == _LOSS:
            value, is_better = measured.get(_LOSS), lambda new, old: new < old
        else:
            value, is_better = scores.get(name), lambda new, old: new > old
            if value is None and self._accelerator.is_main_process:
                logger.warning(
                    "step %d: %s, which evaluation.best_by names, is not among what was measured "
                    "(%s), so these weights do not count as better",
                    *(self._step, name, ", ".join(scores) or "no scores"),
                )
        if value is None or (self._best is not None and not is_better(value, self._best)):
            return False
        self._best = value
        return True

    def _save_state(self) -> None:
        keep = self._accelerator.is_main_process
        scaler = self._accelerator.scaler
        state = RunState(
            recipe=flatten(self._recipe),
            processes=self._accelerator.num_processes,
            precision=name_precision(self._accelerator),
            step=self._step,
            best=self._best,
            skipped=self._optimisation.skipped,
            tensors=gather_tensors(self._objective, keep=keep),
            averages=self._average.gather(),
            optimizer=gather_tree(self._optimisation.optimizer.state_dict(), keep=keep),
            scaler={} if scaler is None else scaler.state_dict(),
            batches=self._stream.state(),
        )
        if keep:
            write_state(state, self._folder)

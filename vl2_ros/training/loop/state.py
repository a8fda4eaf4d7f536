"""The state of a run on disk: written whole or not at all, and read back strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vl2_ros.documents import write_whole
from vl2_ros.errors import CheckpointError, ConfigError
from vl2_ros.training.loop.sharding import fill, gather_tree, share_like
from vl2_ros.training.recipes.reading import list_differences
from vl2_ros.training.recipes.recipe import Recipe

STATE_FILE = "training_state.pt"


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything that the rest of a run depends on, beside its recipe and its data.

    Attributes:
        recipe: flattened.
        processes: that train together.
        precision: of the arithmetic.
        step: steps that are done.
        best: what the best checkpoint has; None before the first.
        skipped: steps whose gradients were not finite.
        tensors: trained parameters and all buffers, whole, by name.
        averages: averaged weights, whole, by name.
        optimizer: state of the optimiser with whole tensors.
        scaler: state of the loss scale; empty without one.
        batches: where the batches are.
    """

    recipe: dict[str, Any]
    processes: int
    precision: str
    step: int = 0
    best: float | None = None
    skipped: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)
    averages: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    batches: dict[str, Any] = field(default_factory=dict)


def write_state(state: RunState, folder: Path) -> None:
    """Write the state of a run in place of the one before."""
    values = {one.name: getattr(state, one.name) for one in fields(state)}
    write_whole(folder / STATE_FILE, lambda path: torch.save(values, path))


def read_state(folder: Path) -> RunState | None:
    """Read the state of a run on the CPU; None where there is none.

    Raises:
        CheckpointError: if the file is damaged or of another kind.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        return RunState(**torch.load(path, weights_only=True, map_location="cpu"))
    # Unpickling damaged bytes can raise any kind of error.
    except Exception as error:
        raise CheckpointError(
            f"cannot resume from {path} ({type(error).__name__}: {str(error)[:300]}); delete it to "
            "begin again"
        ) from error


def check_same_run(state: RunState, recipe: Recipe, processes: int, path: Path) -> None:
    """Check that an interrupted run was of this recipe.

    Raises:
        ConfigError: that lists what differs.
    """
    differences = list_differences(state.recipe, recipe)
    if state.processes != processes:
        differences.append(f"processes: {state.processes} before, {processes} now")
    if differences:
        listed = "\n".join(f"  {line}" for line in differences)
        raise ConfigError(
            f"{path} has an interrupted run of another recipe:\n{listed}\nresume it with the same "
            "recipe, or choose another --out"
        )


def gather_tensors(objective: nn.Module, *, keep: bool) -> dict[str, Tensor]:
    """Return trained parameters and all buffers, whole, as `gather_tree` does."""
    return {name: gather_tree(one, keep=keep) for name, one in _find_tensors(objective).items()}


def load_tensors(objective: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Fill trained parameters and buffers.

    Raises:
        CheckpointError: if the values are those of another network.
    """
    found = _find_tensors(objective)
    if found.keys() != values.keys():
        odd = sorted(found.keys() ^ values.keys())
        raise CheckpointError(
            f"the interrupted run has other tensors, such as {', '.join(odd[:5])}; delete "
            f"{STATE_FILE} to begin again"
        )
    for name, target in found.items():
        fill(target, values[name])


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Fill an optimiser with whole tensors, of which each process takes its share."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    shared = {
        index: {
            name: share_like(value, parameters[index])
            if isinstance(value, Tensor) and value.shape == parameters[index].shape
            else value
            for name, value in entry.items()
        }
        for index, entry in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": shared})


def _find_tensors(objective: nn.Module) -> dict[str, Tensor]:
    parameters = dict(objective.named_parameters(remove_duplicate=False))
    return {
        name: value
        for name, value in objective.state_dict(keep_vars=True).items()
        if name not in parameters or parameters[name].requires_grad
    }

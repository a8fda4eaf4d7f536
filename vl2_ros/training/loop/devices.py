"""Devices and processes of a run, which accelerate's own configuration chooses."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vl2_ros.errors import ConfigError
from vl2_ros.training.recipes.deepspeed import check_deepspeed
from vl2_ros.training.recipes.recipe import Recipe

if TYPE_CHECKING:
    from accelerate import Accelerator

#: How long processes wait for the first one, which may render frames.
PATIENCE = timedelta(hours=3)
DEVICES = ("auto", "cpu", "cuda")
#: Names of a recipe -> those of accelerate.
MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def open_accelerator(
    recipe: Recipe, device: str = "auto", precision: str | None = None
) -> Accelerator:
    """Open what trains: the device of this process, alone or among those of `accelerate launch`.

    Args:
        recipe: its precision and accumulation count.
        device: auto, cpu or cuda.
        precision: that of an interrupted run, which is kept.

    Raises:
        ConfigError: if there is no such device, or a configuration that cannot be used.
    """
    from accelerate import Accelerator, PartialState
    from accelerate.state import AcceleratorState, GradientState
    from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

    if device not in DEVICES:
        raise ConfigError(f"device must be one of {', '.join(DEVICES)}, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is cuda, but torch finds no GPU here; expected auto or cpu")
    if _is_configured("ACCELERATE_USE_DEEPSPEED"):
        _refuse_deepspeed(recipe)
    # Several processes on a CPU are found by accelerate only where it is named.
    is_cpu = device == "cpu" or not torch.accelerator.is_available()
    processes = InitProcessGroupKwargs(timeout=PATIENCE)
    state = PartialState(cpu=is_cpu, **processes.to_kwargs())
    chosen = precision or _choose_precision(recipe, state)
    # They are kept for the whole process, which may run one recipe after another.
    AcceleratorState._reset_state()
    GradientState._reset_state()
    accelerator = Accelerator(
        cpu=is_cpu,
        mixed_precision=MIXED[chosen],
        gradient_accumulation_steps=recipe.accumulation,
        kwargs_handlers=[
            processes,
            # A batch of one group of tasks leaves the decoders of the others without a gradient.
            DistributedDataParallelKwargs(find_unused_parameters=True),
        ],
    )
    if _is_configured("ACCELERATE_USE_FSDP"):
        _check_sharding(accelerator)
    return accelerator


def _refuse_deepspeed(recipe: Recipe) -> None:
    """Raise what is wrong with a configuration of DeepSpeed, and that it is not run."""
    path = os.environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "")
    if path and path != "none":
        check_deepspeed(Path(path), recipe)
    raise ConfigError(
        "runs with DeepSpeed are not supported: its sharded state cannot be resumed here. What its "
        "configuration says was compared with the recipe and fits; use FSDP2 in accelerate's "
        "configuration, which shards the same tensors"
    )


def _is_configured(name: str) -> bool:
    """Return whether `accelerate launch` has switched something on."""
    return os.environ.get(name, "").lower() in ("1", "true")


def _check_sharding(accelerator: Accelerator) -> None:
    """Check that weights are sharded by FSDP2, on CPUs as well.

    Raises:
        ConfigError: if the configuration names another version.
    """
    from accelerate import DistributedType, FullyShardedDataParallelPlugin

    state = accelerator.state
    if accelerator.distributed_type == DistributedType.MULTI_CPU:
        # accelerate would quietly copy the weights to every process instead.
        state.fsdp_plugin = FullyShardedDataParallelPlugin()
        state.distributed_type = DistributedType.FSDP
    if accelerator.distributed_type == DistributedType.FSDP and not state.is_fsdp2:
        raise ConfigError(
            "weights are sharded by FSDP2 only; set fsdp_version: 2 in accelerate's configuration"
        )


def leave_processes() -> None:
    """Leave the other processes of a run, at the end of a program.

    Its threads would otherwise end with the interpreter, which now and then aborts a finished run.
    """
    from accelerate import PartialState

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        PartialState().destroy_process_group()


def _choose_precision(recipe: Recipe, state: Any) -> str:
    """Return the precision of a new run; accelerate's configuration counts where it has one."""
    if recipe.precision != "auto":
        return recipe.precision
    configured = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    names = {short: name for name, short in MIXED.items()}
    if configured not in names:
        raise ConfigError(
            f"mixed_precision of accelerate's configuration must be one of {', '.join(names)}, got "
            f"{configured!r}"
        )
    if configured != "no":
        return names[configured]
    # The same on every process: their gradients are averaged.
    return share_value(choose_precision(state.device))


def choose_precision(device: torch.device) -> str:
    """Return bfloat16 where the device is fast in it, else float32."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if bfloat16_is_faster() else "float32"


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


def name_precision(accelerator: Accelerator) -> str:
    """Return a recipe's name of the precision that is used."""
    return {short: name for name, short in MIXED.items()}[accelerator.mixed_precision]


def share_value(value: Any) -> Any:
    """Return the value of the first process, on every process."""
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]


def gather_values(value: Any) -> list[Any]:
    """Return the values of all processes, in order."""
    from accelerate.utils import gather_object

    return list(gather_object([value]))


def average_numbers(numbers: Mapping[str, float]) -> dict[str, float]:
    """Average numbers over the processes that have them; every process must call it."""
    found: dict[str, list[float]] = {}
    for one in gather_values(dict(numbers)):
        for name, value in one.items():
            found.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}

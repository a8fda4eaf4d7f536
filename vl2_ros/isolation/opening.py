"""What a process that runs the node is told, to a perceiver: here, or in a process of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from vl2_ros import loading
from vl2_ros.errors import ConfigError
from vl2_ros.isolation.child_perceiver import ChildPerceiver, can_isolate
from vl2_ros.isolation.supervisor import Watchdog
from vl2_ros.node.parameters import ProcessParameters
from vl2_ros.node.perceiver import Perceiver


def open_perceiver(process: ProcessParameters) -> Perceiver:
    """Load the model that the parameters describe; `close_perceiver` ends it.

    Args:
        process: its device is `cpu`, `cuda`, ...; `auto` is decided before.

    Raises:
        VL2Error: as `load_pipeline` raises it.
        ConfigError: if the device is `auto`.
    """
    if process.device == "auto":
        raise ConfigError("the device must be decided before the model is loaded, got auto")
    load = partial(
        loading.load_pipeline,
        Path(process.weights) if process.weights else None,
        device=process.device,
        backend=process.backend,
        engines=Path(process.engines) if process.engines else None,
        allow_fallback=process.allow_backend_fallback,
        without=process.without,
        memory_budget_mb=process.memory_budget_mb or None,
    )
    if not is_watched(process):
        return load()
    return ChildPerceiver(load, Watchdog(stall_s=process.perceiver_stall_s))


def is_watched(process: ProcessParameters) -> bool:
    """Tell whether the perceiver gets a process of its own: `auto` is yes on a GPU."""
    if process.watchdog == "auto":
        return process.device.startswith("cuda") and can_isolate()
    return process.watchdog == "on"

"""Open the perceiver that process parameters describe: here, or in a process of its own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from vl2_ros import loading
from vl2_ros.isolation.child_perceiver import ChildPerceiver, can_isolate
from vl2_ros.isolation.supervisor import Watchdog
from vl2_ros.node.parameters import ProcessParameters
from vl2_ros.node.perceiver import Perceiver


def open_perceiver(
    process: ProcessParameters, progress: loading.LoadListener | None = None
) -> Perceiver:
    """Load the model that the parameters describe; `close_perceiver` ends it.

    Args:
        process: the parameters.
        progress: as `load_pipeline` takes it; a process of its own logs instead.

    Raises:
        VL2Error: as `load_pipeline` raises it.
    """
    process = replace(process, device=loading.choose_device(process.device))
    if not is_watched(process):
        return loading.load_pipeline(process, progress)
    load = partial(loading.load_pipeline, process)
    return ChildPerceiver(load, Watchdog(stall_s=process.perceiver_stall_s))


def is_watched(process: ProcessParameters) -> bool:
    """Return whether the perceiver gets a process of its own: `auto` is yes on a GPU.

    Args:
        process: its device is decided, not `auto`.
    """
    if process.watchdog == "auto":
        return process.device.startswith("cuda") and can_isolate()
    return process.watchdog == "on"

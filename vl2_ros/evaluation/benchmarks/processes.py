"""The processes of an evaluation that `accelerate launch` started; one where it did not."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from vl2_ros.load_options import LoadOptions

#: How long the first process may wait for the last one.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Processes:
    """One process among others.

    Attributes:
        index: 0 is the first one, which reports.
        count: number of processes.
        local_index: among those of this machine.
    """

    index: int = 0
    count: int = 1
    local_index: int = 0

    @property
    def is_first(self) -> bool:
        """Return whether this process reports."""
        return self.index == 0

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            from accelerate.utils import wait_for_everyone

            wait_for_everyone()

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in their order; every process gets them."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        return list(gather_object([value]))

    def close(self) -> None:
        """Leave the other processes."""
        if self.count > 1:
            from accelerate import PartialState

            PartialState().destroy_process_group()

    def place(self, options: LoadOptions) -> LoadOptions:
        """Return the options with a GPU of its own for each process of a machine."""
        from vl2_ros.loading import choose_device

        if self.count == 1 or choose_device(options.device) != "cuda":
            return options
        return replace(options, device=f"cuda:{self.local_index}")


def open_processes(options: LoadOptions) -> Processes:
    """Join the processes that a launcher started.

    Args:
        options: whose device says how they talk to each other.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1" or "RANK" not in os.environ:
        return Processes()
    from accelerate import PartialState

    from vl2_ros.loading import choose_device

    state = PartialState(cpu=choose_device(options.device) == "cpu", timeout=_PATIENCE)
    return Processes(state.process_index, state.num_processes, state.local_process_index)

"""Several single-threaded training processes that average their gradients.

On a few CPU cores this is faster than one process with as many threads: the small tensors of a
small model leave threads waiting for each other in every operation, workers wait once a step.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor

#: How long a worker waits for one that may have died.
PATIENCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """The rank of this process among the workers.

    Attributes:
        rank: 0 to `count` - 1; worker 0 writes logs and checkpoints.
        count: number of workers.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Return whether this worker writes files."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor], scalar: float) -> float:
        """Average tensors in place over all workers, and one number with them.

        Args:
            tensors: float32, of equal shapes on every worker.
            scalar: a number of this worker.

        Returns:
            The mean of `scalar`, equal on every worker.
        """
        if self.count == 1:
            return scalar
        sizes = [tensor.numel() for tensor in tensors]
        flat = torch.cat([*(tensor.flatten() for tensor in tensors), torch.tensor([scalar])])
        torch.distributed.all_reduce(flat)
        flat /= self.count
        for tensor, mean in zip(tensors, flat[:-1].split(sizes), strict=True):
            tensor.copy_(mean.view_as(tensor))
        return float(flat[-1])


def run_workers(
    count: int, work: Callable[..., None], *arguments: Any, first: Mapping[str, Any] | None = None
) -> None:
    """Run `work(group, *arguments)` in `count` processes of one thread each.

    Worker 0 runs in this process; the others are spawned and end with it.

    Args:
        count: number of workers.
        work: a module-level function.
        arguments: for every worker; must be picklable when there is more than one.
        first: keyword arguments for worker 0 alone, such as a progress callback.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if count == 1:
            work(WorkerGroup(), *arguments, **(first or {}))
            return
        with tempfile.TemporaryDirectory() as folder:
            meeting = (Path(folder) / "meeting").as_uri()
            others = torch.multiprocessing.spawn(
                _start_worker, args=(count, meeting, work, arguments), nprocs=count - 1, join=False
            )
            try:
                with _group(0, count, meeting) as group:
                    work(group, *arguments, **(first or {}))
                others.join()
            finally:
                for process in others.processes:
                    process.terminate()
    finally:
        torch.set_num_threads(threads)


def _start_worker(
    index: int, count: int, meeting: str, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    torch.set_num_threads(1)
    with _group(index + 1, count, meeting) as group:
        work(group, *arguments)


@contextmanager
def _group(rank: int, count: int, meeting: str) -> Iterator[WorkerGroup]:
    torch.distributed.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=count, timeout=PATIENCE
    )
    try:
        yield WorkerGroup(rank, count)
    finally:
        torch.distributed.destroy_process_group()

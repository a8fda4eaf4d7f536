"""Sample batches beside the training, in processes of their own, and move them to its device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

Batch = TypeVar("Batch")
#: Makes the sampler of one process, from the number of the process.
MakeDraw = Callable[[int], Callable[[], Batch]]
#: Batches that each process keeps ready.
READY_BATCHES = 4


def move_batch(value: Batch, device: torch.device) -> Batch:
    """Move every tensor of a batch, a dataclass of tensors, lists and dataclasses, to a device."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, list):
        return [move_batch(one, device) for one in value]  # type: ignore[return-value]
    if not is_dataclass(value):
        return value
    moved = {one.name: move_batch(getattr(value, one.name), device) for one in fields(value)}
    return replace(value, **moved)  # type: ignore[type-var]


class _Draws(IterableDataset, Generic[Batch]):
    """Endless draws of one process."""

    def __init__(self, make: MakeDraw[Batch]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        draw = self._make(0 if worker is None else worker.id)
        while True:
            yield draw()


def draw_batches(
    make: MakeDraw[Batch], *, device: torch.device, processes: int = 0
) -> Iterator[Batch]:
    """Yield batches without end.

    Args:
        make: called once in each process with its number; must be picklable where there is one.
        device: where the tensors go.
        processes: sampling processes; 0 samples in this one, when a batch is requested.
    """
    loader = DataLoader(
        _Draws(make),
        batch_size=None,
        num_workers=processes,
        prefetch_factor=READY_BATCHES if processes else None,
        multiprocessing_context="spawn" if processes else None,
    )
    for batch in loader:
        yield move_batch(batch, device)

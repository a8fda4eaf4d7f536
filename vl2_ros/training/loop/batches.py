"""Batches of a run by number: made beside the training, moved to its device, resumed exactly."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator, Mapping, Sized
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from vl2_ros.errors import ConfigError
from vl2_ros.training.loop.signals import INTERRUPTS
from vl2_ros.training.objective import Batches

Batch = TypeVar("Batch")
#: Batches that each process keeps ready.
READY_BATCHES = 4
#: Streams of chance: that of training, and that of measuring.
TRAINING, MEASURING = 0, 1


def move_batch(value: Batch, device: torch.device) -> Batch:
    """Move every tensor of a batch, in dataclasses, tuples, lists and dicts, to a device."""
    moved: Any = value
    if isinstance(value, torch.Tensor):
        moved = value.to(device, non_blocking=True)
    elif isinstance(value, list | tuple):
        entries = [move_batch(one, device) for one in value]
        moved = entries if isinstance(value, list) else tuple(entries)
    elif isinstance(value, Mapping):
        moved = {key: move_batch(one, device) for key, one in value.items()}
    elif is_dataclass(value):
        names = [one.name for one in fields(value)]
        moved = replace(
            value,  # type: ignore[type-var]
            **{name: move_batch(getattr(value, name), device) for name in names},
        )
    return moved


def seed_chance(seed: int, stream: int, number: int) -> None:
    """Seed torch for one batch, so that its noise depends on the run's seed and its number alone.

    A resumed run, and one divided among other processes, then draw what the whole run draws.
    """
    sequence = np.random.SeedSequence((seed, stream, number))
    torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))


class _Share(Dataset):
    """The batches of one process, as pairs of number and batch."""

    def __init__(self, batches: Batches, rank: int, processes: int) -> None:
        self._batches, self._rank, self._processes = batches, rank, processes

    def __getitem__(self, index: int) -> tuple[int, Any]:
        number = index * self._processes + self._rank
        return number, self._batches[number]


class _Count(Sampler[int]):
    """Numbers without end, from where it was."""

    def __init__(self) -> None:
        self._next = 0

    def __iter__(self) -> Iterator[int]:
        while True:
            self._next += 1
            yield self._next - 1

    def state_dict(self) -> dict[str, int]:
        return {"next": self._next}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self._next = state["next"]


def _ignore_interrupts(worker: int) -> None:
    """Leave Ctrl-C, and SIGTERM to the whole group, to the training process.

    It still needs the batch of its step, and ends its workers itself.
    """
    for one in INTERRUPTS:
        signal.signal(one, signal.SIG_IGN)


class BatchStream:
    """The batches of one training process.

    Args:
        batches: of the run.
        rank: of this process among `processes`.
        processes: that divide the batches among them.
        workers: processes that make the batches; 0 makes each when it is asked for.
    """

    def __init__(self, batches: Batches, rank: int, processes: int, workers: int) -> None:
        """Open the loader; processes start with the first batch."""
        from torchdata.stateful_dataloader import StatefulDataLoader

        with warnings.catch_warnings():
            # torchdata 0.11 calls what torch 2.13 deprecates.
            warnings.filterwarnings("ignore", message="'set_vital' is deprecated")
            self._loader = StatefulDataLoader(
                _Share(batches, rank, processes),
                batch_size=None,
                sampler=_Count(),
                num_workers=workers,
                prefetch_factor=READY_BATCHES if workers else None,
                multiprocessing_context="spawn" if workers else None,
                worker_init_fn=_ignore_interrupts,
            )
        self._iterator: Iterator[tuple[int, Any]] | None = None

    def next(self) -> tuple[int, Any]:
        """Return the next batch of this process with its number."""
        if self._iterator is None:
            self._iterator = iter(self._loader)
        return next(self._iterator)

    def state(self) -> dict[str, Any]:
        """Return where it is: after the last batch that `next` returned, whatever is ready."""
        return self._loader.state_dict()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of equally many workers, before the first batch."""
        self._loader.load_state_dict(dict(state))

    def close(self) -> None:
        """End the processes; the stream cannot be used any more."""
        self._iterator = None
        del self._loader


def count_steps(steps: int, epochs: float, batches: Batches, batches_per_step: int) -> int:
    """Return the steps of a run.

    Raises:
        ConfigError: if it is given in epochs and the batches have no end.
    """
    if steps:
        return steps
    if not isinstance(batches, Sized):
        raise ConfigError("this objective's data has no end; expected steps, got epochs")
    return max(1, round(epochs * len(batches) / batches_per_step))

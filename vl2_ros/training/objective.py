"""What a run optimises: batches in, loss out. The loop knows no more of the task than this."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from vl2_ros.model.network import VisionLLM


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """Losses of one batch.

    Attributes:
        total: scalar that is optimised.
        parts: scalars for the log, by name.
    """

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


class Batches(Protocol):
    """The batches of a run, by number.

    A batch is a function of the run's seed and its number alone. With W processes and
    accumulation over A batches, step n uses the numbers n * W * A to (n + 1) * W * A - 1, so that
    both divide the same work, and a resumed run continues with the next number. Data that ends
    has a length as well, which is that of an epoch; the numbers go on beyond it.
    """

    def __getitem__(self, number: int) -> Any:
        """Return a batch: tensors on the CPU in (nested) dataclasses, tuples, lists or dicts."""


class Objective(nn.Module, ABC):
    """The network with what is trained beside it, and the loss of a batch.

    Its parameters are those of the run: `network`, whose averaged weights become the checkpoint,
    and modules of its own, such as heads for extra labels, which are kept for resuming only.

    Args:
        network: what is trained.
    """

    def __init__(self, network: VisionLLM) -> None:
        """Store the network."""
        super().__init__()
        self.network = network

    @abstractmethod
    def forward(self, batch: Any) -> Losses:
        """Compute the losses of a batch that lies on the network's device."""

    @abstractmethod
    def open_batches(self, seed: int, *, held_out: bool = False) -> Batches:
        """Return the batches of a run.

        Args:
            seed: of the run.
            held_out: those for measuring, which are never trained on.
        """

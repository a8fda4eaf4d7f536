"""The average of the weights over the steps, which is measured and saved in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vl2_ros.training.loop.sharding import fill, gather_like, local_part, share_like


class WeightAverage:
    """Averages of what is trained, and of the running statistics.

    Args:
        objective: whose trained parameters and floating-point buffers are averaged.
        decay: per step; smaller in the first ones. 0 keeps no average.
    """

    def __init__(self, objective: nn.Module, decay: float) -> None:
        """Begin with the present values."""
        self._decay = decay
        self._sources = _find_sources(objective) if decay else {}
        self._values = {name: local_part(one).clone() for name, one in self._sources.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the present values, after step number `step`, the first one being 1."""
        if self._values:
            decay = min(self._decay, (1 + step) / (10 + step))
            present = [local_part(one) for one in self._sources.values()]
            torch._foreach_lerp_(list(self._values.values()), present, 1 - decay)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Put the averages in place of the present values while the body runs."""
        present = {name: local_part(one).clone() for name, one in self._sources.items()}
        self._put(self._values)
        try:
            yield
        finally:
            self._put(present)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            local_part(self._sources[name]).copy_(value)

    def gather(self) -> dict[str, Tensor]:
        """Return the whole averages on the CPU; every process must call it."""
        return {
            name: gather_like(value, self._sources[name]).cpu()
            for name, value in self._values.items()
        }

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Continue from gathered averages of the same names."""
        for name, value in self._values.items():
            fill(value, local_part(share_like(values[name], self._sources[name])))


def _find_sources(objective: nn.Module) -> dict[str, Tensor]:
    trained = {name: one for name, one in objective.named_parameters() if one.requires_grad}
    buffers = {name: one for name, one in objective.named_buffers() if one.is_floating_point()}
    return trained | buffers

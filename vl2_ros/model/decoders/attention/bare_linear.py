"""Linear layers whose weights are read, and which are never called."""

from __future__ import annotations

from torch import nn


class BareLinear(nn.Linear):  # type: ignore[misc]  # torch is not typed here
    """A linear layer that others multiply by in their own way.

    What wraps the call of a linear layer, as low-rank adapters do, would have no effect here; being
    of another type, it is not offered.
    """

    def __init__(self, layer: nn.Linear) -> None:
        """Take over weight and bias."""
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias


def lay_bare(module: nn.Module, *names: str) -> None:
    """Replace linear layers of a module, by name."""
    for name in names:
        setattr(module, name, BareLinear(getattr(module, name)))

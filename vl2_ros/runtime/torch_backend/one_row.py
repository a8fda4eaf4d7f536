"""Multiply a single row by bfloat16 weights on a CPU as fast as memory gives them.

A token after the prompt is one row. torch's linear layer takes twice as long for it in bfloat16 as
its product of a matrix and a vector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OneRowLinear(nn.Linear):  # type: ignore[misc]  # torch is not typed here
    """A linear layer that shares the weights of another one."""

    def __init__(self, layer: nn.Linear) -> None:
        """Take over weight and bias."""
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, rows: Tensor) -> Tensor:
        """Return (..., out_features) of (..., in_features)."""
        if rows.numel() != self.in_features:
            return super().forward(rows)
        product = torch.mv(self.weight, rows.reshape(-1))
        if self.bias is not None:
            product = product + self.bias
        return product.reshape(*rows.shape[:-1], self.out_features)


def speed_up_single_rows(network: nn.Module) -> None:
    """Put a `OneRowLinear` in the place of each linear layer of a network."""
    layers = {name: one for name, one in network.named_modules() if type(one) is nn.Linear}
    for name, layer in layers.items():
        network.set_submodule(name, OneRowLinear(layer))

"""Small tensors of known values, made once per device.

Making one from Python numbers copies them to the device and waits for it; in a CUDA graph that
cannot be recorded at all.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

Values = tuple[int, ...] | tuple[tuple[int, ...], ...]


def make_constant(values: Values, *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return a tensor of these values, shared by all callers: it must not be written to."""
    if torch.compiler.is_exporting():
        return _follow(values, device, dtype)
    if torch.compiler.is_compiling():
        # While a program is traced, what is made belongs to that program.
        return torch.tensor(values, device=device, dtype=dtype)
    return _make(values, device, dtype)


def _follow(values: Values | int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Make it number by number: sizes that are open in an exported graph stay open."""
    if isinstance(values, tuple):
        return torch.stack([_follow(one, device, dtype) for one in values])
    return torch.full((), values, device=device, dtype=dtype)


@lru_cache(maxsize=256)
def _make(values: Values, device: torch.device, dtype: torch.dtype) -> Tensor:
    # A tensor made in inference mode could not be used in training later.
    with torch.inference_mode(False):
        return torch.tensor(values, device=device, dtype=dtype)

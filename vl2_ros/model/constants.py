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
    if torch.compiler.is_compiling():
        # While a program is traced, what is made belongs to that program.
        return torch.tensor(values, device=device, dtype=dtype)
    return _make(values, device, dtype)


@lru_cache(maxsize=256)
def _make(values: Values, device: torch.device, dtype: torch.dtype) -> Tensor:
    # A tensor made in inference mode could not be used in training later.
    with torch.inference_mode(False):
        return torch.tensor(values, device=device, dtype=dtype)

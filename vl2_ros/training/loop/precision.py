"""Choose the precision of a run's arithmetic."""

from __future__ import annotations

import time

import torch
from torch import nn

#: Names of a recipe -> those of accelerate.
MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def choose_precision(device: torch.device) -> str:
    """Return bfloat16 where the device is fast in it, else float32."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if bfloat16_is_faster() else "float32"


def bfloat16_is_faster(repeats: int = 5) -> bool:
    """Time this CPU: where it lacks bfloat16 instructions, autocast costs ten times more, not less.

    Args:
        repeats: timed products of each kind; the best of each counts.
    """
    best = {}
    for dtype in (torch.float32, torch.bfloat16):
        rows, weights = torch.ones(512, 256, dtype=dtype), torch.ones(256, 256, dtype=dtype)
        times = []
        for _ in range(repeats + 1):
            began = time.perf_counter()
            nn.functional.linear(rows, weights)
            times.append(time.perf_counter() - began)
        best[dtype] = min(times)
    return best[torch.bfloat16] < best[torch.float32]

"""Host memory in place of a device's, for engines that take addresses."""

from __future__ import annotations

import contextlib

import torch


class HostMemory:
    device = "cpu"
    name = "Testing GPU sm_87"
    compute_capability = (8, 7)

    def __init__(self) -> None:
        self.depth = 0

    @contextlib.contextmanager
    def on_stream(self):
        self.depth += 1
        yield
        self.depth -= 1

    def stream_handle(self) -> int:
        return 40 + self.depth

    def upload(self, array):
        return torch.as_tensor(array)

    def empty(self, shape, dtype):
        count = max(1, torch.Size(shape).numel())
        return torch.empty(count, dtype=dtype)[: torch.Size(shape).numel()].view(shape)

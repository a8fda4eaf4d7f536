"""Tensors of which each process may hold a share: gather them whole, fill them from whole ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def local_part(tensor: Tensor) -> Tensor:
    """Return the share of this process, sharing its memory."""
    tensor = tensor.detach()
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gather(tensor: Tensor) -> Tensor:
    """Return the whole tensor; every process must call it, in the same order."""
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gather_like(part: Tensor, whole: Tensor) -> Tensor:
    """Return the whole of a share that is divided as another tensor is."""
    if isinstance(whole, DTensor):
        part = DTensor.from_local(part, whole.device_mesh, whole.placements)
    return gather(part)


def share_like(value: Tensor, whole: Tensor) -> Tensor:
    """Divide a whole tensor as another one is; it is returned as it is where that is not."""
    if not isinstance(whole, DTensor):
        return value
    return distribute_tensor(value.to(whole.device), whole.device_mesh, whole.placements)


@torch.no_grad()
def fill(target: Tensor, value: Tensor) -> None:
    """Copy a whole tensor, or the share of it that belongs to this process, into another one."""
    local_part(target).copy_(local_part(share_like(value, target)))


def gather_tree(value: Any, *, keep: bool) -> Any:
    """Gather every tensor in dicts and lists and copy it to the CPU; every process must call it.

    Args:
        value: of dicts, lists, tensors and others.
        keep: False on processes that do not need it: they have empty tensors in place of the whole.
    """
    if isinstance(value, Tensor):
        whole = gather(value)
        return whole.cpu() if keep else torch.empty(0)
    if isinstance(value, dict):
        return {key: gather_tree(one, keep=keep) for key, one in value.items()}
    return [gather_tree(one, keep=keep) for one in value] if isinstance(value, list) else value

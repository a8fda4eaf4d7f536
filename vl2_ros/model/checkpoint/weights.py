"""Build networks without weights, and fill in single weights with their values checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vl2_ros.errors import CheckpointError, ConfigError, VL2Error
from vl2_ros.model.checkpoint.plan import Place
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM, build_part


def build_empty_model(config: ModelConfig, tokens: TokenIds) -> VisionLLM:
    """Make a network whose weights take no memory and whose computed buffers are real.

    Weights are on the meta device. Tables that are computed at construction and never stored,
    such as rotary frequencies and window indices, have their values.
    """
    with _mapped_errors(), _WeightsOnMeta():
        return VisionLLM(config, tokens)


def build_fresh_model(config: ModelConfig, tokens: TokenIds) -> VisionLLM:
    """Make a network with fresh weights."""
    with _mapped_errors():
        return VisionLLM(config, tokens)


def build_empty_part(config: ModelConfig, part: str) -> nn.Module:
    """Make one part of a network in the same way."""
    with _mapped_errors(), _WeightsOnMeta():
        return build_part(config, part)


@contextmanager
def _mapped_errors() -> Iterator[None]:
    """Raise ConfigError for a network that cannot be built, as transformers raises anything."""
    try:
        yield
    except VL2Error:
        raise
    except Exception as error:
        raise ConfigError(
            f"the network that config.json describes cannot be built ({type(error).__name__}: "
            f"{str(error)[:300]}); expected the config.json of a complete checkpoint"
        ) from error


#: Names of torch's fills, and of the wrappers that transformers puts in their place. They write
#: nothing to a weight on the meta device, but take half of the time that the network is made in.
_FILLS = frozenset({"normal_", "uniform_", "kaiming_uniform_"})


class _WeightsOnMeta(TorchFunctionMode):
    """Make `torch.empty`, which modules call for weights only, allocate nothing.

    The device context of torch would empty computed tables as well.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = dict(kwargs or {})
        if getattr(func, "__name__", "") in _FILLS:
            weight = args[0] if args else kwargs["tensor"]
            if weight.is_meta:
                return weight
        if func is torch.empty and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def copy_checked(
    name: str, source: Tensor, dtype: torch.dtype | None, device: str | torch.device
) -> Tensor:
    """Copy a tensor to memory of its own, converting floats, and check the values on the way.

    Args:
        name: for the message.
        source: may be a view of a mapped file.
        dtype: of the copy where `source` is floating-point; None keeps its own.
        device: of the copy.

    Raises:
        CheckpointError: if a value is NaN, infinite or too large for `dtype`.
    """
    wanted = _choose_dtype(source, dtype)
    value = torch.empty(source.shape, dtype=wanted, device=device).copy_(source)
    _check_finite(name, value)
    return value


def keep_checked(name: str, source: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a tensor as it is where it has the dtype already, else a copy, its values checked.

    Raises:
        CheckpointError: as `copy_checked` does.
    """
    if source.dtype != _choose_dtype(source, dtype) or not source.is_contiguous():
        return copy_checked(name, source, dtype, "cpu")
    _check_finite(name, source)
    return source


def _choose_dtype(source: Tensor, dtype: torch.dtype | None) -> torch.dtype:
    return dtype if dtype is not None and source.is_floating_point() else source.dtype


def _check_finite(name: str, value: Tensor) -> None:
    if not value.is_floating_point() or not value.numel():
        return
    # Two numbers and no temporary tensor; one NaN makes both NaN.
    low, high = value.aminmax()
    if not (low.isfinite() and high.isfinite()):
        raise CheckpointError(
            f"{name} contains NaN or infinity as {str(value.dtype).removeprefix('torch.')}; "
            "expected finite weights, copy the checkpoint again or choose a wider dtype"
        )


def fill_place(model: nn.Module, place: Place, value: Tensor) -> None:
    """Put a tensor at its place in the network, under every name that shares it."""
    shared: Tensor | None = None
    for name in place.names:
        path, _, leaf = name.rpartition(".")
        owner = model.get_submodule(path)
        old = getattr(owner, leaf)
        if shared is None:
            is_weight = isinstance(old, nn.Parameter)
            shared = nn.Parameter(value, requires_grad=old.requires_grad) if is_weight else value
        setattr(owner, leaf, shared)


def move_computed_buffers(model: nn.Module, device: str | torch.device) -> None:
    """Bring the buffers that no file contains to the device of the weights, in their own dtype."""
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))

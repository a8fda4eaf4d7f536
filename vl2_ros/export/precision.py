"""The float32 and the float16 form of a graph's module.

The float16 form is strongly typed, as TensorRT 11 requires: the graph itself says where it is
narrow. Weights and products are float16; normalisations, softmax, boxes, class logits and
deformable sampling stay float32, where float16 would move boxes by pixels. Tensors at the edge
have the dtypes of the table (`TensorSpec.dtype_at`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from vl2_ros.errors import ConfigError
from vl2_ros.model.decoders.prediction_heads import ClassLogits, FloatMLP
from vl2_ros.model.graphs import GraphSpec

PRECISIONS = ("float32", "float16")
#: Parts that declare that they compute in float32; their weights also stay wide.
_WIDE_MODULES = (ClassLogits, FloatMLP, nn.GroupNorm, nn.LayerNorm)
_WIDE_FUNCTIONS = (
    *(torch.softmax, Tensor.softmax, nn.functional.softmax),
    *(nn.functional.layer_norm, nn.functional.group_norm),
)


class GraphForm(nn.Module):
    """A graph's module in one precision, with the dtypes of the table at its edge.

    Making the float16 form narrows the weights of the module that is given, in place.
    """

    def __init__(self, module: nn.Module, spec: GraphSpec, precision: str) -> None:
        """Set the precision of the weights.

        Args:
            module: accepts and returns tensors in the order of `spec`; float32.
            spec: row of the table.
            precision: one of `PRECISIONS`.

        Raises:
            ConfigError: if the precision is another one.
        """
        super().__init__()
        if precision not in PRECISIONS:
            raise ConfigError(f"precision must be {' or '.join(PRECISIONS)}, got {precision!r}")
        self.module = module
        self._is_narrow = precision == "float16"
        self._dtypes = [getattr(torch, one.dtype_at(precision)) for one in spec.outputs]
        if self._is_narrow:
            narrow_weights(module)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the module; see `GraphSpec`."""
        if not self._is_narrow:
            return self._convert(self.module(*inputs))
        with _WideFunctions():
            return self._convert(self.module(*inputs))

    def _convert(self, outputs: Iterable[Tensor]) -> tuple[Tensor, ...]:
        pairs = zip(outputs, self._dtypes, strict=True)
        return tuple(output.to(dtype) for output, dtype in pairs)


def narrow_weights(module: nn.Module) -> None:
    """Make the weights of a module float16 but for the parts that compute in float32, in place.

    Rotary frequencies keep every digit: they are multiplied by positions, and those of float16 are
    off by half a radian after some thousand.
    """
    frequencies = {
        part: dict(part.named_buffers())
        for part in module.modules()
        if isinstance(part, LlamaRotaryEmbedding)
    }
    module.half()
    for part in module.modules():
        if isinstance(part, _WIDE_MODULES):
            part.float()
    for part, buffers in frequencies.items():
        for name, buffer in buffers.items():
            setattr(part, name, buffer)


class _WideFunctions(TorchFunctionMode):
    """Runs `_WIDE_FUNCTIONS` in float32 and gives back what came in."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _WIDE_FUNCTIONS or not args or args[0].dtype != torch.float16:
            return func(*args, **kwargs)
        wide = [one.float() if isinstance(one, Tensor) else one for one in args]
        named = {
            name: one.float() if isinstance(one, Tensor) else one for name, one in kwargs.items()
        }
        result = func(*wide, **named)
        # A dtype that is named is used.
        return result if kwargs.get("dtype") is not None else result.to(torch.float16)

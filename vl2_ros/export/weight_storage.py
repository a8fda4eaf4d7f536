"""Weights of an ONNX model stored small: at half their size, or as a reference to a checkpoint.

A checkpoint that was saved as float16 has values that float16 represents exactly. They are stored
so, each with one node that widens it; ONNX Runtime does that once, when it loads the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir
import torch
from torch import Tensor, nn

#: Smaller ones are not worth a node.
_LEAST_VALUES = 256
_DTYPES: Mapping[str, np.dtype] = {"F16": np.dtype(np.float16), "F32": np.dtype(np.float32)}
_ONNX_DTYPES = {"F16": onnx_ir.DataType.FLOAT16, "F32": onnx_ir.DataType.FLOAT}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies in a safetensors file.

    Attributes:
        dtype: the file's word for it, F16 or F32.
        shape: as it is stored.
        offset: of its first byte in the file.
        length: in bytes.
        is_turned: whether it is looked for by the values of its transpose.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int
    is_turned: bool


class StoredWeights:
    """The tensors of a safetensors file, found by their values.

    Args:
        path: the file; graphs that refer to it must lie beside it.
    """

    def __init__(self, path: Path) -> None:
        """Read the file."""
        self.path = path
        self._known: dict[bytes, StoredTensor] = {}
        content = np.memmap(path, np.uint8, mode="r")
        start = 8 + int.from_bytes(content[:8].tobytes(), "little")
        for entry in json.loads(content[8:start].tobytes()).values():
            if entry.get("dtype") in _DTYPES:
                self._add(content, start, entry["dtype"], entry["shape"], *entry["data_offsets"])

    def _add(
        self, content: np.ndarray, start: int, dtype: str, shape: list[int], begin: int, end: int
    ) -> None:
        values = content[start + begin : start + end].view(_DTYPES[dtype]).reshape(shape)
        if values.size < _LEAST_VALUES:
            return
        place = (tuple(shape), start + begin, end - begin)
        self._known.setdefault(_digest(values), StoredTensor(dtype, *place, is_turned=False))
        if values.ndim == 2:
            self._known.setdefault(_digest(values.T), StoredTensor(dtype, *place, is_turned=True))

    def find(self, values: np.ndarray) -> StoredTensor | None:
        """Return the tensor with these values, in another layout or narrower maybe, or None."""
        for form in (values, _to_exact_half(values)):
            found = None if form is None else self._known.get(_digest(form))
            if found is not None and (
                not found.is_turned or found.shape[::-1] == tuple(values.shape)
            ):
                return found
        return None


class ChannelScale(nn.Module):
    """What a batch norm of fixed statistics does, as one scale and one shift of each channel."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        """Take over the statistics."""
        super().__init__()
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.register_buffer("scale", scale.detach()[:, None, None])
        shift = norm.bias - norm.running_mean * scale
        self.register_buffer("shift", shift.detach()[:, None, None])

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (B, C, H, W) of the same shape."""
        scaled: Tensor = maps * self.scale + self.shift
        return scaled


def spread_batch_norms(module: nn.Module) -> None:
    """Replace the batch norms of a module by `ChannelScale`, in place.

    The exporter would fold a batch norm into the convolution before it, whose weights then are
    none of the checkpoint. ONNX Runtime does the same folding when it loads the graph.
    """
    for part in list(module.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(part, name, ChannelScale(child))


def refer_to_weights(model: onnx_ir.Model, weights: StoredWeights) -> None:
    """Replace initializers by references to the same values in a file beside the graph, in place.

    A node turns a value that is stored in another layout, and one widens it where it is stored as
    float16; ONNX Runtime does both once, when it loads the graph.
    """
    for name, value in _list_weights(model):
        found = weights.find(value.const_value.numpy())  # type: ignore[union-attr]
        if found is None:
            continue
        shape = found.shape if found.is_turned else _shape_of(value)
        dtype = _ONNX_DTYPES[found.dtype]
        tensor = onnx_ir.ExternalTensor(
            location=weights.path.name,
            offset=found.offset,
            length=found.length,
            dtype=dtype,
            shape=onnx_ir.Shape(shape),
            name=f"{name}.stored",
            base_dir=weights.path.parent,
        )
        stored = onnx_ir.Value(
            name=tensor.name,
            type=onnx_ir.TensorType(dtype),
            shape=onnx_ir.Shape(shape),
            const_value=tensor,
        )
        nodes = []
        if found.is_turned:
            nodes.append(onnx_ir.node("Transpose", [stored], {"perm": [1, 0]}, name=f"{name}.turn"))
            _describe(nodes[0].outputs[0], f"{name}.turned", value, dtype)
        if dtype != value.dtype:
            narrow = nodes[0].outputs[0] if nodes else stored
            nodes.append(
                onnx_ir.node("Cast", [narrow], {"to": onnx_ir.DataType.FLOAT}, name=f"{name}.widen")
            )
        _replace(model, value, stored, nodes)


def store_exact_halves(model: onnx_ir.Model) -> None:
    """Narrow the float32 initializers of a model that float16 holds exactly, in place."""
    for _, value in _list_weights(model):
        narrow = _to_exact_half(value.const_value.numpy())  # type: ignore[union-attr]
        if narrow is None:
            continue
        store_narrow(model, value, onnx_ir.Tensor(narrow))


def store_narrow(
    model: onnx_ir.Model, value: onnx_ir.Value, narrow: onnx_ir.TensorProtocol
) -> None:
    """Replace a float32 initializer by a narrower one and a node that widens it, in place."""
    name = str(value.name)
    narrow.name = f"{name}.half"
    stored = onnx_ir.Value(
        name=narrow.name,
        type=onnx_ir.TensorType(narrow.dtype),
        shape=value.shape,
        const_value=narrow,
    )
    widen = onnx_ir.node("Cast", [stored], {"to": onnx_ir.DataType.FLOAT}, name=f"{name}.widen")
    _replace(model, value, stored, [widen])


def _list_weights(model: onnx_ir.Model) -> Iterator[tuple[str, onnx_ir.Value]]:
    """Yield the initializers that are worth a node and have their values already."""
    kinds = (onnx_ir.DataType.FLOAT, onnx_ir.DataType.FLOAT16)
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or isinstance(tensor, onnx_ir.ExternalTensor | onnx_ir.LazyTensor):
            continue
        if tensor.dtype in kinds and tensor.size >= _LEAST_VALUES:
            yield name, value


def _replace(
    model: onnx_ir.Model, value: onnx_ir.Value, stored: onnx_ir.Value, nodes: list[onnx_ir.Node]
) -> None:
    """Put another initializer in the place of one, with the nodes that make the old one of it."""
    graph, name = model.graph, str(value.name)
    result = nodes[-1].outputs[0] if nodes else stored
    value.replace_all_uses_with(result, replace_graph_outputs=True)
    del graph.initializers[name]
    if nodes:
        _describe(result, name, value, value.dtype)
        graph.insert_before(next(iter(graph)), nodes)
    graph.register_initializer(stored)


def _describe(
    output: onnx_ir.Value, name: str, like: onnx_ir.Value, dtype: onnx_ir.DataType | None
) -> None:
    assert dtype is not None
    output.name, output.shape, output.type = name, like.shape, onnx_ir.TensorType(dtype)


def _shape_of(value: onnx_ir.Value) -> tuple[int, ...]:
    assert value.const_value is not None
    return tuple(value.const_value.shape.numpy())


def _digest(values: np.ndarray) -> bytes:
    content = np.ascontiguousarray(values)
    return hashlib.sha256(str(content.dtype).encode() + content.tobytes()).digest()


def _to_exact_half(wide: np.ndarray) -> np.ndarray | None:
    """Return float32 values as float16, or None if they are no such or one would change."""
    if wide.dtype != np.float32:
        return None
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float16)
    return narrow if np.array_equal(narrow.astype(np.float32), wide) else None

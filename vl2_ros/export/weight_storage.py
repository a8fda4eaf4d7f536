"""Weights of an ONNX model stored at half their size where that loses nothing.

A checkpoint that was saved as float16 has values that float16 holds exactly. They are stored so,
each with one node that widens it; ONNX Runtime does that once, when it loads the file.
"""

from __future__ import annotations

import numpy as np
import onnx_ir

#: Smaller ones are not worth a node.
_LEAST_VALUES = 256


def store_exact_halves(model: onnx_ir.Model) -> None:
    """Narrow the float32 initializers of a model that float16 holds exactly, in place."""
    graph = model.graph
    first = next(iter(graph))
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != onnx_ir.DataType.FLOAT or tensor.size < _LEAST_VALUES:
            continue
        wide = tensor.numpy()
        narrow = _to_exact_half(wide)
        if narrow is None:
            continue
        stored = onnx_ir.Value(
            name=f"{name}.half",
            type=onnx_ir.TensorType(onnx_ir.DataType.FLOAT16),
            shape=value.shape,
            const_value=onnx_ir.Tensor(narrow, name=f"{name}.half"),
        )
        widen = onnx_ir.node("Cast", [stored], {"to": onnx_ir.DataType.FLOAT}, name=f"{name}.widen")
        output = widen.outputs[0]
        output.type, output.shape = value.type, value.shape
        value.replace_all_uses_with(output, replace_graph_outputs=True)
        del graph.initializers[name]
        output.name = name
        graph.register_initializer(stored)
        graph.insert_before(first, widen)


def _to_exact_half(wide: np.ndarray) -> np.ndarray | None:
    """Return float32 values as float16, or None if one of them would change."""
    with np.errstate(over="ignore"):
        narrow = wide.astype(np.float16)
    return narrow if np.array_equal(narrow.astype(np.float32), wide) else None

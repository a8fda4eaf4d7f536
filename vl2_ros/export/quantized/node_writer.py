"""Write new nodes in front of one that they replace, with names derived from its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir

#: Domain of ONNX Runtime's own operators.
OWN = "com.microsoft"


class NodeWriter:
    """Nodes and constants in front of one node of a graph.

    Args:
        model: of the graph; it is changed in place.
        node: in front of which nodes are written.
        name: what all new names begin with.
    """

    def __init__(self, model: onnx_ir.Model, node: onnx_ir.Node, name: str) -> None:
        """Store the place."""
        self._model, self._graph, self._node, self._name = model, model.graph, node, name
        self._steps = 0

    def add(
        self,
        operator: str,
        *inputs: onnx_ir.Value,
        domain: str = "",
        **attributes: int | float | str | Sequence[int],
    ) -> onnx_ir.Value:
        """Write a node with one output, and return that."""
        self._steps += 1
        name = f"{self._name}.{operator.lower()}{self._steps}"
        node = onnx_ir.node(operator, list(inputs), attributes, domain=domain, name=name)
        node.outputs[0].name = name
        self._graph.insert_before(self._node, node)
        if domain:
            self._model.opset_imports.setdefault(domain, 1)
        return node.outputs[0]

    def store(self, content: np.ndarray | float | list[int]) -> onnx_ir.Value:
        """Store a constant: an array, a float32 number or a list of int64."""
        self._steps += 1
        if not isinstance(content, np.ndarray):
            dtype = np.float32 if isinstance(content, float) else np.int64
            content = np.array(content, dtype)
        tensor = onnx_ir.Tensor(content, name=f"{self._name}.number{self._steps}")
        value = onnx_ir.Value(
            name=tensor.name,
            type=onnx_ir.TensorType(tensor.dtype),
            shape=onnx_ir.Shape(tensor.shape),
            const_value=tensor,
        )
        self._graph.register_initializer(value)
        return value

    def replace(self, result: onnx_ir.Value) -> None:
        """Let all that reads the node's output read another value, which takes over its name."""
        output = self._node.outputs[0]
        result.type, result.shape = output.type, output.shape
        output.replace_all_uses_with(result, replace_graph_outputs=True)
        self._graph.remove(self._node, safe=True)
        name = output.name
        output.name, result.name = f"{name}.replaced", name


def read_constant(value: onnx_ir.Value | None) -> np.ndarray | None:
    """Return the content of a constant; None for what is computed."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    return np.asarray(value.const_value.numpy())


def find_maker(value: onnx_ir.Value | None, operator: str) -> onnx_ir.Node | None:
    """Return the node that makes a value, if it is of that operator."""
    maker = None if value is None else value.producer()
    return maker if maker is not None and maker.op_type == operator else None


def remove_unused(model: onnx_ir.Model) -> None:
    """Remove the nodes and weights that nothing reads any more."""
    graph = model.graph
    kept = set(graph.outputs)
    for node in reversed(list(graph)):
        if all(not one.uses() and one not in kept for one in node.outputs):
            graph.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and value not in kept:
            del graph.initializers[name]

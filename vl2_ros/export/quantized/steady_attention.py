"""Rewrite masked attention for ONNX Runtime so that a position reads the same bits in every call.

The last bit of a float32 sum depends on its order, and that of ONNX Runtime's kernels on how many
positions go through a call: a product of one row adds in another order than one of several, a
softmax adds by lanes that shift with the positions in front. In a graph of bytes such a bit rounds
a value to the next step now and then, and two words that are nearly as likely change places.
Written here are products and sums that add one position after the other, whatever shares the call
or the cache, masked positions in between included (of which up to 256 positions may be mixed).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_ir

from vl2_ros.export.quantized.node_writer import OWN, NodeWriter, find_maker, read_constant

#: Exponents below this leave shares of a softmax that float32 cannot add to those of the largest,
#: and become numbers (denormal ones) with which processors take a hundred times as long.
_LEAST_EXPONENT = -80.0
#: Masked scores are at least as low.
_MASKED = -1e30
#: Products that are scaled have the same kernel for one row as for many (1.32). A power of two
#: changes no digit, and the quotient has none of it.
_SCALE = 2.0


class _Parts(NamedTuple):
    """What an attention reads: softmax(scale queries keys + mask) values, and its last node."""

    queries: onnx_ir.Value
    keys: onnx_ir.Value
    scale: float
    mask: onnx_ir.Value
    values: onnx_ir.Value
    last: onnx_ir.Node


class SteadyAttention:
    """Rewrites the attentions of one graph.

    Args:
        model: it is changed in place.
    """

    def __init__(self, model: onnx_ir.Model) -> None:
        """Store the graph."""
        self._model = model
        #: Mask -> a column of ones, one for each position that it masks.
        self._ones: dict[onnx_ir.Value, onnx_ir.Value] = {}

    def rewrite(self, softmax: onnx_ir.Node) -> None:
        """Rewrite the attention of a softmax; one that is not masked is left as it is."""
        parts = _find_parts(softmax)
        if parts is None:
            return
        writer = NodeWriter(self._model, parts.last, f"{parts.last.outputs[0].name}.steady")
        product = {"domain": OWN, "alpha": parts.scale, "transB": 1}
        scores = writer.add("FusedMatMul", parts.queries, parts.keys, **product)  # type: ignore[arg-type]
        scores = writer.add("Add", scores, parts.mask)
        most = writer.add("ReduceMax", scores, writer.store([-1]), keepdims=1)
        below = writer.add("Sub", scores, most)
        weights = writer.add("Exp", writer.add("Clip", below, writer.store(_LEAST_EXPONENT)))
        if parts.mask not in self._ones:
            self._ones[parts.mask] = _write_ones(writer, parts.mask)
        read, total = (
            writer.add("FusedMatMul", weights, column, domain=OWN, alpha=_SCALE)
            for column in (parts.values, self._ones[parts.mask])
        )
        writer.replace(writer.add("Div", read, total))


def _write_ones(writer: NodeWriter, mask: onnx_ir.Value) -> onnx_ir.Value:
    count = writer.add("Shape", mask, start=-1)
    shape = writer.add("Concat", count, writer.store([1]), axis=0)
    return writer.add("Expand", writer.store(np.ones((1, 1), np.float32)), shape)


def _find_parts(softmax: onnx_ir.Node) -> _Parts | None:
    """Return what a masked attention reads; None for any other softmax."""
    uses = [use.node for use in softmax.outputs[0].uses()]
    total = find_maker(softmax.inputs[0], "Add")
    if total is None or len(uses) != 1 or uses[0].op_type != "MatMul":
        return None
    for scaled, mask in (total.inputs, total.inputs[::-1]):
        product = find_maker(scaled, "Mul")
        if product is None or mask is None or not _is_mask(mask):
            continue
        scores, scale = find_maker(product.inputs[0], "MatMul"), read_constant(product.inputs[1])
        turned = None if scores is None else find_maker(scores.inputs[1], "Transpose")
        if scores is None or scale is None or scale.size != 1 or turned is None:
            continue
        queries, keys, values = scores.inputs[0], turned.inputs[0], uses[0].inputs[1]
        order = turned.attributes["perm"].as_ints()
        if (*order[:-2], order[-1], order[-2]) == tuple(range(len(order))):
            assert queries is not None and keys is not None and values is not None
            return _Parts(queries, keys, float(scale.item()), mask, values, uses[0])
    return None


def _is_mask(value: onnx_ir.Value | None) -> bool:
    """Return whether a value is 0, or far below any score, as it is for each position by itself."""
    shape = None if value is None else value.shape
    if shape is None or len(shape) < 2 or shape[-2] == 1:
        return False
    while (reshaped := find_maker(value, "Unsqueeze")) is not None:
        value = reshaped.inputs[0]
    choice = find_maker(value, "Where")
    numbers = [] if choice is None else [read_constant(one) for one in choice.inputs[1:]]
    return any(one is not None and bool(np.all(one <= _MASKED)) for one in numbers)

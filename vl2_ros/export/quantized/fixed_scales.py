"""Rewrite the ONNX graph of a small network with int8 weights and activations of fixed scales.

For ONNX Runtime on the CPU. The range of each activation is measured beforehand, on calls of the
float32 graph, so a number depends on nothing else that goes through the same call: the states of a
position are the same with and without a draft behind it, the boxes of a command with and without
another one beside it. Scales that are measured in each call (DynamicQuantizeLinear) change with
both, and cost a pass over the activations. Where few positions have values far beyond all others,
as between the two matrices of a language model's feed-forward, each position has its own scale.

Matrices and convolutions of the file are rounded, with a scale for each output channel; products of
activations, norms, softmax, positions and sampling stay as they are. Maps stay bytes from one
convolution to the next, by way of sums, pools and Relu. A convolution that makes an output of the
graph stays float32: nothing after it would average its steps out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx_ir

from vl2_ros.errors import EngineError
from vl2_ros.export.quantized.calls import Spread, measure_spreads
from vl2_ros.export.quantized.node_writer import OWN, remove_unused
from vl2_ros.export.quantized.resized_maps import multiply_resizes
from vl2_ros.export.quantized.rounding import round_columns

_LEVELS, _MIDDLE_LEVELS = 255, 127
#: Root mean square error of rounding, in steps, and the share of an activation's that is too much.
_STEP_ERROR, _MOST_ERROR = 0.289, 0.03
#: A tensor of zeros may have any scale.
_LEAST_SCALE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class _Coding:
    """How floats are bytes: (byte - zero) * scale."""

    scale: onnx_ir.Value
    zero: onnx_ir.Value
    scale_number: float


def quantise_fixed(source: Path, out: Path, calls: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Write a graph whose matrices and convolutions multiply bytes.

    Args:
        source: float32 ONNX file, constants folded, that holds its weights.
        out: the new file.
        calls: inputs of the graph by name, as they come in use; the ranges are theirs.

    Raises:
        EngineError: if nothing of the graph can be rounded, or it cannot be run.
    """
    model = onnx_ir.load(source)
    found = _Found(model)
    if not found.products and not found.convolutions:
        raise EngineError(
            f"{source} has neither a matrix nor a convolution, so nothing of it can be rounded to "
            "int8; give the graph the precision float32"
        )
    rewriter = _Rewriter(model, measure_spreads(source, found.list_measured(), calls))
    multiply_resizes(model)
    for node in found.maps:
        rewriter.rewrite_map(node, found)
    for node in found.products:
        rewriter.rewrite_product(node)
    remove_unused(model)
    onnx_ir.save(model, out)


class _Found:
    """The nodes of a graph that are rewritten, in the order of the graph.

    Attributes:
        products: MatMul by a matrix of the file.
        convolutions: Conv with weights of the file.
        maps: what makes maps of bytes: these, and sums and pools of nothing but such.
    """

    def __init__(self, model: onnx_ir.Model) -> None:
        self.products: list[onnx_ir.Node] = []
        self.convolutions: list[onnx_ir.Node] = []
        self.maps: list[onnx_ir.Node] = []
        coded: set[onnx_ir.Value] = set()
        for node in model.graph:
            if node.op_type == "MatMul" and _holds(node.inputs[1], 2):
                self.products.append(node)
            elif node.op_type == "Conv" and _holds(node.inputs[1], 4):
                if result_of(node).is_graph_output():
                    continue
                self.convolutions.append(node)
                self.maps.append(node)
                coded.add(result_of(node))
            elif node.op_type in ("Add", "MaxPool") and coded.issuperset(node.inputs):
                self.maps.append(node)
                coded.add(result_of(node))

    def list_measured(self) -> set[str]:
        """Return the names of the activations whose ranges are needed."""
        read = [node.inputs[0] for node in (*self.products, *self.convolutions)]
        made = [result_of(node) for node in self.maps]
        return {str(value.name) for value in (*read, *made) if value is not None}


def result_of(node: onnx_ir.Node) -> onnx_ir.Value:
    """Return what the rest of a graph reads of a node: its output, or that cut off at zero."""
    output = node.outputs[0]
    uses = [use.node for use in output.uses()]
    is_cut = len(uses) == 1 and uses[0].op_type == "Relu" and not output.is_graph_output()
    return uses[0].outputs[0] if is_cut else output


def _holds(value: onnx_ir.Value | None, rank: int) -> bool:
    """Return whether a value is weights of the file."""
    tensor = None if value is None else value.const_value
    return (
        value is not None
        and tensor is not None
        and value.is_initializer()
        and tensor.dtype == onnx_ir.DataType.FLOAT
        and len(tensor.shape) == rank
    )


class _Rewriter:
    """Puts bytes in the place of floats, node by node.

    Args:
        model: it is changed in place.
        spreads: of every activation that is rounded.
    """

    def __init__(self, model: onnx_ir.Model, spreads: Mapping[str, Spread]) -> None:
        self._model, self._graph, self._spreads = model, model.graph, spreads
        #: Activation -> how it is coded.
        self._codings: dict[onnx_ir.Value, _Coding] = {}
        #: Activation -> its bytes.
        self._bytes: dict[onnx_ir.Value, onnx_ir.Value] = {}
        #: Activation -> its bytes by rows, and the unit of each row.
        self._rows: dict[onnx_ir.Value, tuple[onnx_ir.Value, onnx_ir.Value]] = {}
        self._stored: dict[str, onnx_ir.Value] = {}
        model.opset_imports.setdefault(OWN, 1)

    def rewrite_product(self, node: onnx_ir.Node) -> None:
        """Multiply bytes by bytes, and add the bias where one follows."""
        activations, weights = node.inputs
        assert activations is not None and weights is not None
        if activations not in self._bytes and self._has_outliers(activations):
            self._multiply_rows(node, activations, weights)
            return
        coding = self._code(activations)
        last, bias = _find_bias(node)
        content = self._encode(activations, node)
        self._replace(last, [self._multiply(node, content, coding, weights, bias)])

    def _has_outliers(self, value: onnx_ir.Value) -> bool:
        """Return whether one scale for all positions would round most values to nothing."""
        spread = self._spreads[str(value.name)]
        step = (spread.high - spread.low) / _LEVELS
        return step * _STEP_ERROR > _MOST_ERROR * spread.rms

    def _multiply_rows(
        self, node: onnx_ir.Node, activations: onnx_ir.Value, weights: onnx_ir.Value
    ) -> None:
        """Multiply bytes of which each position has the scale of its own largest value."""
        if activations not in self._rows:
            name = str(activations.name)
            last = self._store("rows.axis", np.array([-1], np.int64))
            least = self._store("rows.least", np.array(_LEAST_SCALE, np.float32))
            size = onnx_ir.node("Abs", [activations], name=f"{name}.size")
            most = onnx_ir.node(
                "ReduceMax", [size.outputs[0], last], {"keepdims": 1}, name=f"{name}.most"
            )
            unit = onnx_ir.node("Max", [most.outputs[0], least], name=f"{name}.unit")
            shares = onnx_ir.node("Div", [activations, unit.outputs[0]], name=f"{name}.shares")
            places = [self._row_coding.scale, self._row_coding.zero]
            content = onnx_ir.node(
                "QuantizeLinear", [shares.outputs[0], *places], name=f"{name}.row_bytes"
            )
            steps = [size, most, unit, shares, content]
            for step in steps:
                step.outputs[0].name = step.name
            self._graph.insert_before(node, steps)
            self._rows[activations] = content.outputs[0], unit.outputs[0]
        content_of, unit_of = self._rows[activations]
        product = self._multiply(node, content_of, self._row_coding, weights, None)
        product.outputs[0].name = product.name
        scaled = onnx_ir.node(
            "Mul", [product.outputs[0], unit_of], name=f"{node.outputs[0].name}.scaled"
        )
        self._replace(node, [product, scaled])

    @cached_property
    def _row_coding(self) -> _Coding:
        """Return how shares of a row's largest value are coded, -1 to 1."""
        scale = np.array(1 / _MIDDLE_LEVELS, np.float32)
        zero = np.array(_MIDDLE_LEVELS + 1, np.uint8)
        return _Coding(
            self._store("rows.scale", scale), self._store("rows.zero", zero), float(scale)
        )

    def _multiply(
        self,
        node: onnx_ir.Node,
        content: onnx_ir.Value,
        coding: _Coding,
        weights: onnx_ir.Value,
        bias: onnx_ir.Value | None,
    ) -> onnx_ir.Node:
        """Make the node that multiplies bytes by a matrix."""
        values, scales = self._round_matrix(weights)
        zero = self._store("weights.zero", np.zeros((), np.int8))
        inputs = [content, values, coding.scale, scales, coding.zero, zero]
        return onnx_ir.node(
            "MatMulIntegerToFloat",
            inputs if bias is None else [*inputs, bias],
            domain=OWN,
            name=f"{node.outputs[0].name}.product",
        )

    def rewrite_map(self, node: onnx_ir.Node, found: _Found) -> None:
        """Let a convolution, sum or pool read and write bytes; their range cuts off at zero."""
        result = result_of(node)
        if node in found.convolutions:
            self._widen_convolution(node)
        source = node.inputs[0]
        assert source is not None
        coding = self._codings[source] if node.op_type == "MaxPool" else self._code(result)
        output = node.outputs[0]
        places = [coding.scale, coding.zero]
        narrow = onnx_ir.node("QuantizeLinear", [output, *places], name=f"{result.name}.narrow")
        wide = onnx_ir.node(
            "DequantizeLinear", [narrow.outputs[0], *places], name=f"{result.name}.wide"
        )
        _describe(narrow, onnx_ir.DataType.UINT8, result.shape)
        _describe(wide, onnx_ir.DataType.FLOAT, result.shape)
        if result.is_graph_output():
            result.name, wide.outputs[0].name = f"{result.name}.cut", result.name
        result.replace_all_uses_with(wide.outputs[0], replace_graph_outputs=True)
        for use in tuple(wide.outputs[0].uses()):
            # For the shape alone all bytes would be widened.
            if use.node.op_type == "Shape":
                use.node.replace_input_with(use.idx, narrow.outputs[0])
        self._graph.insert_after(node, [narrow, wide])
        # The uses of the output itself were replaced as well, where nothing is cut off.
        narrow.replace_input_with(0, output)
        self._codings[wide.outputs[0]] = coding
        self._bytes[wide.outputs[0]] = narrow.outputs[0]

    def _widen_convolution(self, node: onnx_ir.Node) -> None:
        """Give a convolution coded pixels, rounded weights and a rounded bias."""
        pixels, weights = node.inputs[:2]
        assert pixels is not None and weights is not None and weights.const_value is not None
        coding = self._code(pixels)
        if pixels.producer() is None or pixels.producer().op_type != "DequantizeLinear":  # type: ignore[union-attr]
            places = [self._encode(pixels, node), coding.scale, coding.zero]
            wide = onnx_ir.node("DequantizeLinear", places, name=f"{node.outputs[0].name}.pixels")
            _describe(wide, onnx_ir.DataType.FLOAT, pixels.shape)
            self._graph.insert_before(node, wide)
            node.replace_input_with(0, wide.outputs[0])
        kernel = weights.const_value.numpy()
        rounded = round_columns(kernel.reshape(len(kernel), -1).T)
        values = rounded.values.T.reshape(kernel.shape)
        zeros = np.zeros(len(kernel), np.int8)
        self._widen(node, 1, f"{weights.name}", values, rounded.scales, zeros)
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        if bias is not None and bias.const_value is not None:
            scales = (rounded.scales * np.float32(coding.scale_number)).astype(np.float32)
            steps = np.rint(bias.const_value.numpy().astype(np.float64) / scales)
            whole = np.clip(steps, -(2**31), 2**31 - 1).astype(np.int32)
            name = f"{bias.name}.{node.outputs[0].name}"
            self._widen(node, 2, name, whole, scales, np.zeros(len(kernel), np.int32))

    def _widen(
        self,
        node: onnx_ir.Node,
        index: int,
        name: str,
        values: np.ndarray,
        scales: np.ndarray,
        zeros: np.ndarray,
    ) -> None:
        """Put rounded weights and the node that widens them in the place of an input."""
        parts = (("steps", values), ("scales", scales), ("zeros", zeros))
        inputs = [self._store(f"{name}.{label}", part) for label, part in parts]
        wide = onnx_ir.node("DequantizeLinear", inputs, {"axis": 0}, name=f"{name}.widen")
        _describe(wide, onnx_ir.DataType.FLOAT, onnx_ir.Shape(values.shape))
        self._graph.insert_before(node, wide)
        node.replace_input_with(index, wide.outputs[0])

    def _code(self, value: onnx_ir.Value) -> _Coding:
        """Return how an activation is coded: its range in 256 steps, zero among them."""
        if value not in self._codings:
            spread = self._spreads[str(value.name)]
            scale = np.float32(max((spread.high - spread.low) / _LEVELS, _LEAST_SCALE))
            zero = np.uint8(np.clip(np.rint(-spread.low / scale), 0, _LEVELS))
            self._codings[value] = _Coding(
                self._store(f"{value.name}.scale", np.array(scale)),
                self._store(f"{value.name}.zero", np.array(zero)),
                float(scale),
            )
        return self._codings[value]

    def _encode(self, value: onnx_ir.Value, reader: onnx_ir.Node) -> onnx_ir.Value:
        """Return the bytes of an activation, made in front of the first node that reads them."""
        if value not in self._bytes:
            coding = self._code(value)
            node = onnx_ir.node(
                "QuantizeLinear", [value, coding.scale, coding.zero], name=f"{value.name}.bytes"
            )
            _describe(node, onnx_ir.DataType.UINT8, value.shape)
            self._graph.insert_before(reader, node)
            self._bytes[value] = node.outputs[0]
        return self._bytes[value]

    def _round_matrix(self, weights: onnx_ir.Value) -> tuple[onnx_ir.Value, onnx_ir.Value]:
        """Return the bytes of a matrix and the scale of each column; several nodes may read it."""
        name = str(weights.name)
        if f"{name}.steps" not in self._stored:
            assert weights.const_value is not None
            rounded = round_columns(weights.const_value.numpy())
            self._store(f"{name}.steps", rounded.values)
            self._store(f"{name}.scales", rounded.scales)
        return self._stored[f"{name}.steps"], self._stored[f"{name}.scales"]

    def _store(self, name: str, content: np.ndarray) -> onnx_ir.Value:
        """Make an initializer, once."""
        if name not in self._stored:
            tensor = onnx_ir.Tensor(np.array(content, order="C"), name=name)
            value = onnx_ir.Value(
                name=name,
                type=onnx_ir.TensorType(tensor.dtype),
                shape=onnx_ir.Shape(content.shape),
                const_value=tensor,
            )
            self._graph.register_initializer(value)
            self._stored[name] = value
        return self._stored[name]

    def _replace(self, old: onnx_ir.Node, new: list[onnx_ir.Node]) -> None:
        """Put nodes, the last with one output, in the place of another."""
        was, now = old.outputs[0], new[-1].outputs[0]
        now.type, now.shape = was.type, was.shape
        self._graph.insert_before(old, new)
        was.replace_all_uses_with(now, replace_graph_outputs=True)
        was.name, now.name = f"{was.name}.replaced", was.name
        self._graph.remove(old, safe=True)


def _find_bias(node: onnx_ir.Node) -> tuple[onnx_ir.Node, onnx_ir.Value | None]:
    """Return the node that ends a product, and the bias that it adds."""
    output = node.outputs[0]
    uses = [use.node for use in output.uses()]
    if len(uses) == 1 and uses[0].op_type == "Add" and not output.is_graph_output():
        for value in uses[0].inputs:
            if value is not output and _holds(value, 1):
                return uses[0], value
    return node, None


def _describe(node: onnx_ir.Node, dtype: onnx_ir.DataType, shape: onnx_ir.Shape | None) -> None:
    output = node.outputs[0]
    output.name, output.type, output.shape = node.name, onnx_ir.TensorType(dtype), shape

"""Rewrite the ONNX graph of a language model with int8 or int4 weights.

One matrix is in memory at a time: weights are read from where the source keeps them, and written
to a file beside the result. The head, whose numbers choose the words, and the norms stay as they
are; so do embeddings, which are no part of the graph.

Which nodes multiply depends on the library (`WeightForm`). TensorRT multiplies in float16 by
weights that it widens in its kernels (DequantizeLinear; int4 in blocks). ONNX Runtime turns such
int4 nodes into its own kernel when it loads the graph; for int8 its products of whole numbers are
faster, most of all for prompts, so activations are rounded as well, each position by its own
largest value. One scale for all positions would be simpler (DynamicQuantizeLinear), but the first
position of language models is hundreds of times larger than others, which then round to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_ir
from onnxscript import version_converter

from vl2_ros.errors import EngineError
from vl2_ros.export.quantized.node_writer import remove_unused
from vl2_ros.export.quantized.rounding import (
    LEAST_BLOCK,
    RoundedWeights,
    choose_block,
    pack_int4,
    round_blocks,
    round_columns,
    round_compensated,
)
from vl2_ros.model.graphs import QUANTISED
from vl2_ros.runtime.files.engine_files import WEIGHTS_SUFFIX

#: The first one that has int4 and blocks.
OPSET = 21
_IR_VERSION = 10
#: `widened`: DequantizeLinear in front of the product. `integer`: a product of whole numbers.
WeightForm = Literal["widened", "integer"]
#: Smaller matrices are not worth a node.
_LEAST_VALUES = 1024
#: Larger tensors start at pages, so that they can be mapped.
_PAGE, _WORD, _MAPPED = 4096, 64, 1 << 20
_CHUNK = 1 << 24
#: Largest magnitude of a rounded activation, and what is added to make it unsigned: the products of
#: unsigned by signed bytes are the ones that processors have.
_LEVELS, _MIDDLE = 127, 128
_LEAST_SCALE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class _Product:
    """A node that multiplies by a matrix of the file.

    Attributes:
        node: MatMul of activations and weights.
        stored: initializer that the weights come from.
        is_turned: it holds their transpose.
    """

    node: onnx_ir.Node
    stored: onnx_ir.Value
    is_turned: bool

    def read(self) -> np.ndarray:
        """Return the (K, N) weights, in the dtype in which they are stored."""
        assert self.stored.const_value is not None
        values = self.stored.const_value.numpy()
        return values.T if self.is_turned else values


def quantise_graph(
    source: Path,
    out: Path,
    precision: str,
    *,
    form: WeightForm,
    most_inline_bytes: int,
    moments: Sequence[np.ndarray] = (),
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> None:
    """Write a graph whose matrices are rounded.

    Args:
        source: ONNX file of a language model, float32 or float16, with weights inside or beside it.
        out: the new file, in another folder or of another name; weights over the limit go into a
            second one beside it, `<name>.data`.
        precision: `int8` or `int4`.
        form: nodes that multiply; see the module.
        most_inline_bytes: largest weights that stay in the file itself.
        moments: (K, K) mean products of the activations of each matrix, in the order of the graph;
            int4 rounding then makes up for its errors. None: each weight is rounded alone.
        progress: called with the number of matrices that are done, and of all.

    Raises:
        EngineError: if the precision is unknown, the graph has no matrices, or the width of one
            cannot be cut into blocks.
    """
    if precision not in QUANTISED:
        raise EngineError(
            f"weights can be rounded to {' or '.join(QUANTISED)}, got {precision!r}; change the "
            "precision in the profile"
        )
    model = onnx_ir.load(source)
    if model.opset_imports.get("", 0) < OPSET:
        version_converter.convert_version(model, OPSET)
    model.ir_version = max(model.ir_version, _IR_VERSION)
    products = list(_find_products(model))
    if not products:
        raise EngineError(
            f"{source} has no product with a matrix of weights, so nothing of it can be rounded to "
            f"{precision}; give the graph the precision float16 or float32"
        )
    if moments and len(moments) != len(products):
        raise EngineError(
            f"expected activations of {len(products)} matrices, got those of {len(moments)}; "
            "change the module behind the graph so that it multiplies by each matrix once"
        )
    data = out.with_name(out.name + WEIGHTS_SUFFIX)
    with _DataFile(data) as file:
        writer = _Rewriter(model, file, precision, form)
        for index, product in enumerate(products):
            writer.rewrite(product, moments[index] if moments else None)
            progress(index + 1, len(products))
        remove_unused(model)
        file.take_over(model)
        is_small = file.size <= most_inline_bytes
    if is_small:
        onnx_ir.external_data.load_to_model(model)
        onnx_ir.save(model, out)
        data.unlink()
    else:
        onnx_ir.save(model, out)


def _find_products(model: onnx_ir.Model) -> Iterator[_Product]:
    """Yield the products by matrices, without the head's."""
    for node in model.graph:
        if node.op_type != "MatMul" or node.inputs[1] is None or _is_head(node):
            continue
        stored, is_turned = node.inputs[1], False
        while (maker := stored.producer()) is not None and maker.op_type in ("Cast", "Transpose"):
            is_turned ^= maker.op_type == "Transpose"
            (source,) = maker.inputs
            assert source is not None
            stored = source
        tensor = stored.const_value
        if not stored.is_initializer() or tensor is None or len(tensor.shape) != 2:
            continue
        if tensor.size >= _LEAST_VALUES:
            yield _Product(node, stored, is_turned)


def _is_head(node: onnx_ir.Node) -> bool:
    """Return whether a product makes the logits, maybe by way of a Cast."""
    output = node.outputs[0]
    casts = [use.node.outputs[0] for use in output.uses() if use.node.op_type == "Cast"]
    return any(one.name == "logits" for one in (output, *casts))


class _DataFile:
    """A file of tensors, written one after the other."""

    def __init__(self, path: Path) -> None:
        self._path, self.size = path, 0

    def __enter__(self) -> _DataFile:
        self._file = self._path.open("wb")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._file.close()
        # What is left would look like the weights of a graph.
        if kind is not None:
            self._path.unlink()

    def add(
        self, name: str, content: np.ndarray, dtype: onnx_ir.DataType, shape: tuple[int, ...]
    ) -> onnx_ir.ExternalTensor:
        """Append the bytes of an array and return a reference to them."""
        step = _PAGE if content.nbytes >= _MAPPED else _WORD
        self._file.write(b"\0" * (-self.size % step))
        offset = self.size + -self.size % step
        flat = np.ascontiguousarray(content).reshape(-1)
        each = max(1, _CHUNK // max(1, flat.itemsize))
        for start in range(0, flat.size, each):
            self._file.write(flat[start : start + each].tobytes())
        self.size = offset + content.nbytes
        return onnx_ir.ExternalTensor(
            location=self._path.name,
            offset=offset,
            length=content.nbytes,
            dtype=dtype,
            shape=onnx_ir.Shape(shape),
            name=name,
            base_dir=self._path.parent,
        )

    def take_over(self, model: onnx_ir.Model) -> None:
        """Copy the initializers of a model that lie in other files."""
        for name, value in model.graph.initializers.items():
            tensor = value.const_value
            if isinstance(tensor, onnx_ir.ExternalTensor) and Path(tensor.path) != self._path:
                shape = tuple(tensor.shape.numpy())
                value.const_value = self.add(name, tensor.numpy(), tensor.dtype, shape)
                tensor.release()
        self._file.flush()


class _Rewriter:
    """Puts rounded weights in the place of a graph's own, product by product."""

    def __init__(
        self,
        model: onnx_ir.Model,
        file: _DataFile,
        precision: str,
        form: WeightForm,
    ) -> None:
        self._graph, self._file = model.graph, file
        self._precision, self._form = precision, form
        self._rounded_rows: dict[str, tuple[onnx_ir.Value, onnx_ir.Value]] = {}
        self._constants: dict[str, onnx_ir.Value] = {}

    def rewrite(self, product: _Product, moments: np.ndarray | None) -> None:
        """Round the weights of one product and let it multiply by them."""
        node = product.node
        name = str(node.inputs[1].name)  # type: ignore[union-attr]
        is_integer = self._form == "integer" and self._precision == "int8"
        rounded = self._round(product, moments)
        dtype = node.inputs[1].dtype or node.outputs[0].dtype  # type: ignore[union-attr]
        assert dtype is not None
        values = self._store_values(name, rounded)
        scales = self._store(f"{name}.scales", rounded.scales.astype(dtype.numpy()), dtype)
        if is_integer:
            self._multiply_integers(node, values, scales)
        else:
            self._widen(node, name, values, scales, rounded.block, dtype)
        if isinstance(product.stored.const_value, onnx_ir.ExternalTensor):
            product.stored.const_value.release()

    def _round(self, product: _Product, moments: np.ndarray | None) -> RoundedWeights:
        weights = product.read()
        if self._precision == "int8":
            return round_columns(weights)
        block = choose_block(len(weights))
        if not block:
            raise EngineError(
                f"{product.node.inputs[1].name}: a width of {len(weights)} has no blocks "  # type: ignore[union-attr]
                f"of {LEAST_BLOCK} or more for int4; give the graph the precision int8"
            )
        if moments is None:
            return round_blocks(weights, block)
        return round_compensated(weights, block, moments)

    def _store_values(self, name: str, rounded: RoundedWeights) -> onnx_ir.Value:
        shape = rounded.values.shape
        if self._precision == "int8":
            return self._store(f"{name}.int8", rounded.values, onnx_ir.DataType.INT8)
        packed = pack_int4(rounded.values)
        return self._store(f"{name}.int4", packed, onnx_ir.DataType.INT4, shape)

    def _store(
        self,
        name: str,
        content: np.ndarray,
        dtype: onnx_ir.DataType,
        shape: tuple[int, ...] | None = None,
    ) -> onnx_ir.Value:
        """Make an initializer, kept in the file of weights."""
        shape = content.shape if shape is None else shape
        tensor = self._file.add(name, content, dtype, shape)
        return self._register(name, tensor, dtype, shape)

    def _constant(self, name: str, content: np.ndarray) -> onnx_ir.Value:
        """Make a small initializer once."""
        if name not in self._constants:
            tensor = onnx_ir.Tensor(content, name=name)
            value = self._register(name, tensor, tensor.dtype, content.shape)
            self._constants[name] = value
        return self._constants[name]

    def _register(
        self,
        name: str,
        tensor: onnx_ir.TensorProtocol,
        dtype: onnx_ir.DataType,
        shape: tuple[int, ...],
    ) -> onnx_ir.Value:
        value = onnx_ir.Value(
            name=name,
            type=onnx_ir.TensorType(dtype),
            shape=onnx_ir.Shape(shape),
            const_value=tensor,
        )
        self._graph.register_initializer(value)
        return value

    def _widen(
        self,
        node: onnx_ir.Node,
        name: str,
        values: onnx_ir.Value,
        scales: onnx_ir.Value,
        block: int,
        dtype: onnx_ir.DataType,
    ) -> None:
        """Put a DequantizeLinear in the place of the weights of a product."""
        where = {"axis": 0, "block_size": block} if block else {"axis": 1}
        wide = onnx_ir.node("DequantizeLinear", [values, scales], where, name=f"{name}.dequantize")
        _describe(wide.outputs[0], f"{name}.wide", dtype, values.shape)
        self._graph.insert_before(node, wide)
        node.replace_input_with(1, wide.outputs[0])

    def _multiply_integers(
        self, node: onnx_ir.Node, values: onnx_ir.Value, scales: onnx_ir.Value
    ) -> None:
        """Replace a product by one of whole numbers; all of the same activations round them once.

        With s the scales of positions (T, 1) and c those of columns (N,): x W is about
        s (rounded(x / s) V) c.
        """
        activations, output = node.inputs[0], node.outputs[0]
        assert activations is not None
        rows, row_scales = self._round_rows(node, activations)
        name = str(output.name)
        middle = self._constant("rounding.middle", np.array(_MIDDLE, np.uint8))
        floats = {"to": onnx_ir.DataType.FLOAT}
        whole = _node("MatMulInteger", [rows, values, middle], {}, f"{name}.whole")
        _describe(whole.outputs[0], f"{name}.whole", onnx_ir.DataType.INT32, output.shape)
        steps = [whole, _node("Cast", [whole.outputs[0]], floats, f"{name}.cast")]
        steps.append(_node("Mul", [steps[-1].outputs[0], scales], {}, f"{name}.columns"))
        steps.append(_node("Mul", [steps[-1].outputs[0], row_scales], {}, f"{name}.rows"))
        for step in steps[1:]:
            _describe(step.outputs[0], str(step.name), onnx_ir.DataType.FLOAT, output.shape)
        self._graph.insert_before(node, steps)
        output.replace_all_uses_with(steps[-1].outputs[0], replace_graph_outputs=True)
        self._graph.remove(node, safe=True)
        output.name, steps[-1].outputs[0].name = f"{name}.replaced", name

    def _round_rows(
        self, node: onnx_ir.Node, activations: onnx_ir.Value
    ) -> tuple[onnx_ir.Value, onnx_ir.Value]:
        """Return activations as bytes around 128, and the scale of each position."""
        name = str(activations.name)
        if name in self._rounded_rows:
            return self._rounded_rows[name]
        last = self._constant("rounding.last_axis", np.array([-1], np.int64))
        share = self._constant("rounding.share", np.array(1 / _LEVELS, np.float32))
        least = self._constant("rounding.least", np.array(_LEAST_SCALE, np.float32))
        one = self._constant("rounding.one", np.array(1, np.float32))
        middle = self._constant("rounding.middle", np.array(_MIDDLE, np.uint8))
        steps = [_node("Abs", [activations], {}, f"{name}.size")]
        for operator, others, label in (
            ("ReduceMax", [last], "largest"),
            ("Mul", [share], "share"),
            ("Max", [least], "scale"),
        ):
            attributes = {"keepdims": 1} if operator == "ReduceMax" else {}
            inputs = [steps[-1].outputs[0], *others]
            steps.append(_node(operator, inputs, attributes, f"{name}.{label}"))
        scale = steps[-1].outputs[0]
        steps.append(_node("Div", [activations, scale], {}, f"{name}.scaled"))
        inputs = [steps[-1].outputs[0], one, middle]
        steps.append(_node("QuantizeLinear", inputs, {}, f"{name}.bytes"))
        for step in steps:
            step.outputs[0].name = step.name
        self._graph.insert_before(node, steps)
        self._rounded_rows[name] = steps[-1].outputs[0], scale
        return self._rounded_rows[name]


def _node(
    operator: str, inputs: list[onnx_ir.Value], attributes: dict[str, Any], name: str
) -> onnx_ir.Node:
    return onnx_ir.node(operator, inputs, attributes, name=name)


def _describe(
    value: onnx_ir.Value, name: str, dtype: onnx_ir.DataType, shape: onnx_ir.Shape | None
) -> None:
    value.name, value.shape, value.type = name, shape, onnx_ir.TensorType(dtype)

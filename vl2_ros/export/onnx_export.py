"""A graph's module to an ONNX file that ONNX Runtime and TensorRT take.

Opset 18: with opset 20 the mode of GridSample is called `linear`, which parsers of TensorRT 10 do
not know and take for `nearest`, without a word.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx_ir
import torch
from torch import Tensor, nn

from vl2_ros.errors import ConfigError, EngineError
from vl2_ros.export.full_size.mapped_network import TracedWeights
from vl2_ros.export.operator_check import check_operators
from vl2_ros.export.precision import GraphForm
from vl2_ros.export.weight_storage import (
    StoredWeights,
    refer_to_weights,
    spread_batch_norms,
    store_exact_halves,
)
from vl2_ros.model.decoders.attention.deformable_sampling import exports_for_cpu
from vl2_ros.model.graphs import GraphSpec, TensorSpec
from vl2_ros.runtime.files.engine_files import WEIGHTS_SUFFIX

OPSET = 18
#: Larger weights go into a file beside the graph: writing them inside takes four times their size,
#: and protocol buffers end at 2 GB.
MOST_INLINE_BYTES = 1 << 28

#: Size of an axis: a number, or least, best and most where it changes from call to call.
AxisSize = int | tuple[int, int, int]


def export_onnx(
    module: nn.Module,
    spec: GraphSpec,
    axes: Mapping[str, AxisSize],
    path: Path,
    *,
    precision: str = "float32",
    is_compact: bool = False,
    is_checked: bool = True,
    most_inline_bytes: int = MOST_INLINE_BYTES,
    weights: StoredWeights | None = None,
    traced: TracedWeights | None = None,
) -> None:
    """Write one graph.

    Args:
        module: from `build_graph`; for float16 its weights are narrowed in place.
        spec: row of the graph table.
        axes: size of every named axis of the inputs. One that is a range stays open in the file,
            and is not bounded by it. The graph is traced with the best size; where a map inside
            has a side of 1 then, the tracer treats that as a rule and other sizes fail when run.
        path: the file; weights over the limit go into a second one beside it.
        precision: `float32` or `float16`.
        is_compact: store float32 weights as float16 where that loses nothing.
        is_checked: refuse nodes that TensorRT does not take, outside of `export_for_cpu`.
        most_inline_bytes: largest weights that stay in the file itself.
        weights: of the folder that `path` is in; what is there the graph refers to. Batch norms of
            the module are then replaced in place.
        traced: zeros that the module has in the place of its weights.

    Raises:
        ConfigError: if the size of an axis is missing.
        EngineError: if the module cannot be exported, or has a node outside of the table.
    """
    if weights is not None:
        spread_batch_norms(module)
    form = GraphForm(module, spec, precision).eval()
    model = _trace(form, spec, axes, precision)
    _clean(model)
    if traced is not None:
        traced.put_back(model, is_compact=is_compact)
    if weights is not None:
        refer_to_weights(model, weights)
    if is_compact:
        store_exact_halves(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.name + WEIGHTS_SUFFIX if _count_bytes(model) > most_inline_bytes else None
    onnx_ir.save(model, path, external_data=data)
    if not is_checked or exports_for_cpu():
        return
    try:
        check_operators(path)
    except EngineError:
        # What is left would look like an engine.
        path.unlink()
        path.with_name(path.name + WEIGHTS_SUFFIX).unlink(missing_ok=True)
        raise


def _count_bytes(model: onnx_ir.Model) -> int:
    """Return the bytes of the weights that lie in no other file."""
    tensors = (one.const_value for one in model.graph.initializers.values())
    return sum(
        tensor.nbytes
        for tensor in tensors
        if tensor is not None and not isinstance(tensor, onnx_ir.ExternalTensor)
    )


def make_example(
    spec: GraphSpec, axes: Mapping[str, AxisSize], precision: str = "float32"
) -> tuple[Tensor, ...]:
    """Return inputs of the shapes that a graph is tuned for: noise, all true, the first tile.

    Raises:
        ConfigError: if the size of an axis is missing.
    """
    generator = torch.Generator().manual_seed(0)

    def fill(tensor: TensorSpec) -> Tensor:
        shape = [_example_size(spec, axis, axes) for axis in tensor.axes]
        if tensor.dtype == "bool":
            return torch.ones(shape, dtype=torch.bool)
        if tensor.dtype == "int64":
            return torch.zeros(shape, dtype=torch.int64)
        noise = torch.randn(shape, generator=generator)
        return noise.to(getattr(torch, tensor.dtype_at(precision)))

    return tuple(fill(tensor) for tensor in spec.inputs)


def _example_size(spec: GraphSpec, axis: int | str, axes: Mapping[str, AxisSize]) -> int:
    if isinstance(axis, int):
        return axis
    if axis not in axes:
        raise ConfigError(
            f"{spec.name} needs the size of the axis {axis!r}; got those of {', '.join(axes)}"
        )
    size = axes[axis]
    if isinstance(size, int):
        return size
    # Sizes of 0 and 1 would be treated as fixed ones.
    return max(2, size[1]) if _is_open(size) else size[1]


def _is_open(size: AxisSize) -> bool:
    return not isinstance(size, int) and size[0] != size[2]


def _open_axes(spec: GraphSpec, axes: Mapping[str, AxisSize]) -> tuple[dict[int, Any], ...]:
    """Return for each input: index of an axis that stays open -> its value for the tracer."""
    open_ones = {axis for axis, size in axes.items() if _is_open(size)}
    # Not bounded: a bound that the tracer cannot prove would be an error.
    dynamic = torch.export.Dim.DYNAMIC
    return tuple(
        {index: dynamic for index, axis in enumerate(tensor.axes) if axis in open_ones}
        for tensor in spec.inputs
    )


def _trace(
    form: GraphForm, spec: GraphSpec, axes: Mapping[str, AxisSize], precision: str
) -> onnx_ir.Model:
    inputs = make_example(spec, axes, precision)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                form,
                inputs,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(spec.input_names),
                output_names=list(spec.output_names),
                dynamic_shapes=(_open_axes(spec, axes),),
                optimize=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise EngineError(
            f"the graph {spec.name} cannot be exported with the axes {dict(axes)}: "
            f"{error.__cause__ or error}; change the module behind the graph"
        ) from error
    assert program is not None
    _check_open_axes(program.model, spec, axes)
    _name_axes(program.model, _symbols(program.model, spec))
    return program.model


def _check_open_axes(model: onnx_ir.Model, spec: GraphSpec, axes: Mapping[str, AxisSize]) -> None:
    """Check that no axis was closed: the tracer falls back to that without an error."""
    for value, tensor, wanted in zip(
        model.graph.inputs, spec.inputs, _open_axes(spec, axes), strict=True
    ):
        for index in wanted:
            size = (value.shape or ())[index]
            if isinstance(size, int):
                raise EngineError(
                    f"{spec.name}: the axis {tensor.axes[index]!r} of {tensor.name} must stay "
                    f"open, but the module makes the constant {size} of it; change the module"
                )


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's notes about packages that are not needed here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _symbols(model: onnx_ir.Model, spec: GraphSpec) -> dict[str, str]:
    """Return the tracer's symbol of a size -> the axis of the table."""
    names: dict[str, str] = {}
    for value, tensor in zip(model.graph.inputs, spec.inputs, strict=True):
        for dim, axis in zip(value.shape or (), tensor.axes, strict=True):
            if isinstance(dim, onnx_ir.SymbolicDim) and dim.value:
                names[str(dim.value)] = str(axis)
    return names


def _name_axes(model: onnx_ir.Model, names: Mapping[str, str]) -> None:
    """Name open axes as in the table, in place of the tracer's symbols."""

    def rename(dim: Any) -> Any:
        if not isinstance(dim, onnx_ir.SymbolicDim) or not dim.value:
            return dim
        found = re.sub(r"\w+", lambda word: names.get(word[0], word[0]), str(dim.value))
        return onnx_ir.SymbolicDim(found)

    for value in _values(model):
        if value.shape is not None:
            value.shape = onnx_ir.Shape([rename(dim) for dim in value.shape])


def _clean(model: onnx_ir.Model) -> None:
    """Take out where the graph came from: stack traces, paths, module names."""
    model.metadata_props.clear()
    model.doc_string = None
    functions: list[Any] = [model.graph, *model.functions.values()]
    for function in functions:
        function.metadata_props.clear()
        function.doc_string = None
        for node in onnx_ir.traversal.RecursiveGraphIterator(function):
            node.metadata_props.clear()
            node.doc_string = None
    for value in _values(model):
        value.metadata_props.clear()
        value.doc_string = None


def _values(model: onnx_ir.Model) -> Iterator[onnx_ir.Value]:
    yield from model.graph.inputs
    yield from model.graph.initializers.values()
    for node in onnx_ir.traversal.RecursiveGraphIterator(model.graph):
        yield from node.outputs

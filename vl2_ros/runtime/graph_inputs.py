"""Check the inputs of engines against the graph table.

Reads names, dtypes and shapes only, so arrays of any library work.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from functools import cache

from vl2_ros.errors import EngineError
from vl2_ros.geometry import CanvasRange
from vl2_ros.model.graphs import GraphSpec, TensorSpec
from vl2_ros.runtime.engine import Array

#: One kind: the caller does not know an engine's precision.
_FLOATS = ("float16", "bfloat16", "float32")
_SIDES = ("height", "width")
#: Far more pixels of a side than any image has.
_ANY_SIDE = 1 << 20


def find_canvases(
    spec: GraphSpec, ranges: Iterable[Mapping[str, tuple[int, int]]]
) -> tuple[CanvasRange, ...]:
    """Return the canvas sizes of a graph whose padding is given by a pixel mask.

    Args:
        spec: row of the table.
        ranges: for each range of shapes that the engine accepts, name of an axis -> least and
            most; an axis that is not there may have any size.

    Returns:
        one for each range; none where the graph has no pixel mask or accepts any size.
    """
    if "pixel_mask" not in spec.input_names:
        return ()
    sides = [[one.get(side, (1, _ANY_SIDE)) for side in _SIDES] for one in ranges]
    if any(one == [(1, _ANY_SIDE)] * 2 for one in sides):
        return ()
    canvases = (CanvasRange((h[0], w[0]), (h[1], w[1])) for h, w in sides)
    return tuple(dict.fromkeys(canvases))


def check_graph_inputs(
    spec: GraphSpec, inputs: Mapping[str, Array], sizes: Mapping[str, int] | None = None
) -> None:
    """Check that the inputs of a graph are there and fit the table and each other.

    Args:
        spec: row of the table.
        inputs: arrays by name; others than the graph's are ignored.
        sizes: name of an axis -> its size in the engine, where that is known and fixed.

    Raises:
        EngineError: naming the input, what was expected and what came.
    """
    missing = [name for name in spec.input_names if name not in inputs]
    if missing:
        raise EngineError(
            f"{spec.name} needs the inputs {', '.join(spec.input_names)}; missing: "
            f"{', '.join(missing)}"
        )
    known = {axis: (size, "this engine") for axis, size in (sizes or {}).items()}
    for tensor in spec.inputs:
        _check_dtype(spec.name, tensor, _name_dtype(inputs[tensor.name].dtype))
        _check_shape(spec.name, tensor, tuple(inputs[tensor.name].shape), known)


@cache
def _name_dtype(dtype: Hashable) -> str:
    """Return the name of a dtype of any library; numpy makes it anew each time."""
    return str(dtype).removeprefix("torch.")


def _check_dtype(graph: str, tensor: TensorSpec, dtype: str) -> None:
    both_floats = dtype in _FLOATS and tensor.dtype in _FLOATS
    if dtype != tensor.dtype and not both_floats:
        raise EngineError(
            f"{graph} takes {tensor.name} as {tensor.dtype}, got {dtype}; convert it first"
        )


def _check_shape(
    graph: str, tensor: TensorSpec, shape: tuple[int, ...], known: dict[str, tuple[int, str]]
) -> None:
    """Check one shape; sizes of new axes, and their source, are added to `known`."""
    if len(shape) != len(tensor.axes):
        raise EngineError(f"{graph} takes {_describe(tensor)}, got {shape}")
    for axis, size in zip(tensor.axes, shape, strict=True):
        wanted, where = (
            (axis, "the graph")
            if isinstance(axis, int)
            else known.setdefault(axis, (size, tensor.name))
        )
        if size != wanted:
            raise EngineError(
                f"{graph} takes {_describe(tensor)}, where {where} has {wanted} for {axis}; got "
                f"{shape}"
            )


def _describe(tensor: TensorSpec) -> str:
    return f"{tensor.name} of shape ({', '.join(map(str, tensor.axes))})"

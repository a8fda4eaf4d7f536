"""Shapes of TensorRT as plain tuples."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorrt as trt

Shape = tuple[int, ...]


def read_sizes(dims: trt.Dims) -> Shape:
    """Return the sizes of the axes; -1 where one changes."""
    return tuple(int(dims[index]) for index in range(len(dims)))

"""Rewrite float graphs for ONNX Runtime on the CPU: the same numbers from fewer, faster nodes.

Each rewrite stands for a pattern that torch exports, and leaves everything else as it is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir

from vl2_ros.export.quantized.node_writer import (
    OWN,
    NodeWriter,
    find_maker,
    read_constant,
    remove_unused,
)
from vl2_ros.export.quantized.steady_attention import SteadyAttention

#: Most channels of pixels, as opposed to maps.
_MOST_COLOURS = 4


def rewrite_file(path: Path) -> None:
    """Apply all rewrites of this module to a file whose constants are folded, in place."""
    model = onnx_ir.load(path)
    rewrite_for_cpu(model)
    onnx_ir.save(model, path)


def rewrite_for_cpu(model: onnx_ir.Model) -> None:
    """Apply all rewrites of this module to a graph whose constants are folded, in place."""
    rotations, attention = _Rotations(model), SteadyAttention(model)
    for node in list(model.graph):
        if node.op_type == "Conv":
            _fold_stride(model, node)
        elif node.op_type == "Mul":
            _fuse_norm(model, node)
        elif node.op_type == "Add":
            rotations.fuse(node)
        elif node.op_type == "Reshape":
            _fix_shape(model, node)
        elif node.op_type == "Softmax":
            attention.rewrite(node)
    remove_unused(model)


def _fold_stride(model: onnx_ir.Model, node: onnx_ir.Node) -> None:
    """Let a convolution of pixels at stride 2 read blocks of 2x2 pixels at stride 1.

    Pixels of three channels are slow to gather: a convolution of 7x7 takes more than twice as long.
    The sides of images have to be even.
    """
    pixels, weights = node.inputs[:2]
    kernel = read_constant(weights)
    pads = _read_ints(node, "pads", (0, 0, 0, 0))
    if pixels is None or kernel is None or kernel.ndim != 4 or kernel.shape[1] > _MOST_COLOURS:
        return
    automatic = node.attributes.get("auto_pad")
    is_plain = automatic is None or automatic.as_string() == "NOTSET"
    is_plain &= _read_ints(node, "dilations", (1, 1)) == (1, 1)
    if not is_plain or _read_ints(node, "strides", (1, 1)) != (2, 2):
        return
    sizes = kernel.shape[2:]
    # A row of zeros where the first pixel of a kernel is the second one of a block.
    front = [pad % 2 for pad in pads[:2]]
    behind = [(size + extra) % 2 for size, extra in zip(sizes, front, strict=True)]
    padded = np.pad(kernel, ((0, 0), (0, 0), *zip(front, behind, strict=True)))
    outputs, colours, height, width = padded.shape
    blocks = padded.reshape(outputs, colours, height // 2, 2, width // 2, 2)
    # In the order in which SpaceToDepth lays out the pixels of a block.
    folded = blocks.transpose(0, 3, 5, 1, 2, 4).reshape(outputs, -1, height // 2, width // 2)
    starts = [(pad + extra) // 2 for pad, extra in zip(pads[:2], front, strict=True)]
    # As many outputs as there were.
    ends = [
        (pads[axis] + pads[axis + 2] - sizes[axis]) // 2 - starts[axis] + folded.shape[axis + 2]
        for axis in range(2)
    ]
    if min(ends) < 0:
        return
    writer = NodeWriter(model, node, f"{node.outputs[0].name}.blocks")
    node.replace_input_with(0, writer.add("SpaceToDepth", pixels, blocksize=2))
    node.replace_input_with(1, writer.store(np.ascontiguousarray(folded)))
    for name, value in (
        ("strides", (1, 1)),
        ("pads", (*starts, *ends)),
        ("kernel_shape", folded.shape[2:]),
    ):
        node.attributes[name] = onnx_ir.AttrInt64s(name, value)


def _fix_shape(model: onnx_ir.Model, node: onnx_ir.Node) -> None:
    """Give a Reshape a constant shape, in the place of one that is computed from open sizes.

    A 0 stands for the same size as before, -1 for one other; neither is for what may be empty.
    """
    source, output = node.inputs[0], node.outputs[0]
    if read_constant(node.inputs[1]) is not None or source is None:
        return
    if source.shape is None or output.shape is None or not output.shape.rank():
        return
    before, shape = [str(size) for size in source.shape], []
    for axis, size in enumerate(output.shape):
        is_kept = axis < len(before) and str(size) == before[axis] != "None"
        shape.append(size if isinstance(size, int) else 0 if is_kept else -1)
    if shape.count(-1) > 1 or (-1 in shape and any("past" in size for size in before)):
        return
    writer = NodeWriter(model, node, f"{output.name}.fixed")
    node.replace_input_with(1, writer.store(shape))
    node.attributes.pop("allowzero", None)


def _fuse_norm(model: onnx_ir.Model, node: onnx_ir.Node) -> None:
    """Put one node in the place of x / sqrt(mean(x^2) + e), times a weight for each channel."""
    for scaled, weight in (node.inputs, node.inputs[::-1]):
        if read_constant(weight) is None or len(weight.shape or ()) != 1:  # type: ignore[union-attr]
            continue
        x, epsilon = _find_mean_square(scaled)
        if x is None or weight is None:
            continue
        writer = NodeWriter(model, node, f"{node.outputs[0].name}.norm")
        writer.replace(
            writer.add("SimplifiedLayerNormalization", x, weight, axis=-1, epsilon=epsilon)
        )
        return


def _find_mean_square(value: onnx_ir.Value | None) -> tuple[onnx_ir.Value | None, float]:
    """Return x and e of x * (1 / sqrt(mean(x^2) + e)); None where a value is another one."""
    product = find_maker(value, "Mul")
    for x, share in () if product is None else (product.inputs, product.inputs[::-1]):
        total = find_maker(_only_input(_only_input(share, "Reciprocal"), "Sqrt"), "Add")
        if total is None:
            continue
        mean, power = find_maker(total.inputs[0], "ReduceMean"), None
        if mean is not None:
            power = find_maker(mean.inputs[0], "Pow")
        epsilon = read_constant(total.inputs[1])
        if mean is None or power is None or epsilon is None or power.inputs[0] is not x:
            continue
        axes, exponent = read_constant(mean.inputs[1]), read_constant(power.inputs[1])
        if exponent == 2 and axes is not None and axes.tolist() == [-1]:
            return x, float(epsilon)
    return None, 0.0


class _Rotations:
    """Rotary positions: x cos + turned(x) sin, of the heads of (B, S, width) side by side.

    Args:
        model: it is changed in place.
    """

    def __init__(self, model: onnx_ir.Model) -> None:
        self._model = model
        #: Angles (B, S, n) -> positions (B, S), cosines and sines (B S, n).
        self._tables: dict[onnx_ir.Value, tuple[onnx_ir.Value, ...]] = {}

    def fuse(self, node: onnx_ir.Node) -> None:
        """Put one node in the place of a sum that turns; others are left as they are."""
        straight, turned = (find_maker(value, "Mul") for value in node.inputs)
        if straight is None or turned is None:
            return
        x, angles = straight.inputs[0], _find_angles(straight.inputs[1], "Cos")
        if angles is None or x is None or _find_angles(turned.inputs[1], "Sin") is not angles:
            return
        if not _is_turned(turned.inputs[0], x):
            return
        order = find_maker(x, "Transpose")
        by_head = find_maker(x if order is None else order.inputs[0], "Reshape")
        if by_head is None or by_head.outputs[0].shape is None:
            return
        heads = by_head.outputs[0].shape[2]
        flat, shape = by_head.inputs
        assert flat is not None and shape is not None and isinstance(heads, int)
        if angles not in self._tables:
            self._tables[angles] = self._tabulate(straight, angles)
        writer = NodeWriter(self._model, node, f"{node.outputs[0].name}.rotated")
        result = writer.add(
            "RotaryEmbedding", flat, *self._tables[angles], domain=OWN, num_heads=heads
        )
        result = writer.add("Reshape", result, shape)
        if order is not None:
            result = writer.add("Transpose", result, perm=(0, 2, 1, 3))
        writer.replace(result)

    def _tabulate(self, node: onnx_ir.Node, angles: onnx_ir.Value) -> tuple[onnx_ir.Value, ...]:
        """Return a table with a row for every position of the call, and which row each reads."""
        writer = NodeWriter(self._model, node, f"{angles.name}.table")
        assert angles.shape is not None
        rows = writer.add("Reshape", angles, writer.store([-1, int(angles.shape[2])]))  # type: ignore[arg-type]
        sizes = writer.add("Shape", angles, end=2)
        count = writer.add("ReduceProd", sizes, keepdims=0)
        zero, one = (writer.store(np.array(number)) for number in (0, 1))
        index = writer.add("Range", zero, count, one)
        index = writer.add("Reshape", index, sizes)
        return index, writer.add("Cos", rows), writer.add("Sin", rows)


def _find_angles(value: onnx_ir.Value | None, function: str) -> onnx_ir.Value | None:
    """Return angles (B, S, n), twice side by side, of cosines or sines for all heads."""
    while (moved := find_maker(value, "Unsqueeze") or find_maker(value, "Transpose")) is not None:
        value = moved.inputs[0]
    doubled = find_maker(_only_input(value, function), "Concat")
    if doubled is None or len(doubled.inputs) != 2 or doubled.inputs[0] is not doubled.inputs[1]:
        return None
    return doubled.inputs[0]


def _is_turned(value: onnx_ir.Value | None, x: onnx_ir.Value) -> bool:
    """Return whether a value is the second half of x, negated, and then the first."""
    joined = find_maker(value, "Concat")
    if joined is None or len(joined.inputs) != 2:
        return False
    halves = (
        find_maker(_only_input(joined.inputs[0], "Neg"), "Slice"),
        find_maker(joined.inputs[1], "Slice"),
    )
    if any(half is None or half.inputs[0] is not x for half in halves):
        return False
    second, first = (None if half is None else read_constant(half.inputs[1]) for half in halves)
    return second is not None and first is not None and bool(second > 0 and first == 0)


def _only_input(value: onnx_ir.Value | None, operator: str) -> onnx_ir.Value | None:
    """Return the first input of the node that makes a value, if it is of that operator."""
    maker = find_maker(value, operator)
    return None if maker is None else maker.inputs[0]


def _read_ints(node: onnx_ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    attribute = node.attributes.get(name)
    return default if attribute is None else tuple(attribute.as_ints())

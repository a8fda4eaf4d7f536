"""The restrictions of TensorRT's table of operators that can be seen in a file, one rule each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, helper

_MOST_TOP = 3840
#: Operators that do not change a number.
_PASSING = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze")
_RESIZE = {
    "coordinate_transformation_mode": (
        *("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn"),
        *("asymmetric", "align_corners"),
    ),
    "mode": ("nearest", "linear"),
    "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
}
#: Defaults of ONNX for the attributes above; a mode that is not nearest has no nearest_mode.
_RESIZE_DEFAULTS = {
    "coordinate_transformation_mode": "half_pixel",
    "mode": "nearest",
    "nearest_mode": "round_prefer_floor",
}


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node, and known properties of the values around it.

    Attributes:
        node: the node.
        shapes: name of a value -> sizes, None where one is not known.
        constants: name of a constant -> its value; None when it is not in the file.
        producers: name of a value -> the node that computes it.
    """

    node: NodeProto
    shapes: Mapping[str, tuple[int | None, ...]]
    constants: Mapping[str, np.ndarray | None]
    producers: Mapping[str, NodeProto]

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute, texts as `str`."""
        for one in self.node.attribute:
            if one.name == name:
                value = helper.get_attribute_value(one)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def has_input(self, index: int) -> bool:
        """Return whether an optional input is given."""
        return len(self.node.input) > index and bool(self.node.input[index])

    def is_constant(self, index: int) -> bool:
        """Return whether an input is a constant."""
        return self.node.input[index] in self.constants

    def value(self, index: int) -> np.ndarray | None:
        """Return the value of a constant input that the file contains."""
        return self.constants.get(self.node.input[index])

    def bound(self, name: str) -> int | None:
        """Return an upper bound of a value, if the nodes before it give one."""
        known = self.constants.get(name)
        if known is not None:
            return int(known.max())
        maker = self.producers.get(name)
        if maker is None or maker.op_type not in (*_PASSING, "Min"):
            return None
        # Of those that only pass it on, further inputs are axes and shapes.
        sources = maker.input if maker.op_type == "Min" else maker.input[:1]
        bounds = [one for one in map(self.bound, sources) if one is not None]
        return min(bounds, default=None)

    def rank(self, index: int) -> int | None:
        """Return how many axes an input has, if known."""
        shape = self.shapes.get(self.node.input[index])
        return None if shape is None else len(shape)

    def uses_output(self, index: int) -> bool:
        """Return whether an optional output is used."""
        return len(self.node.output) > index and bool(self.node.output[index])


#: Returns what is wrong with a node, or an empty text.
Rule = Callable[[NodeView], str]


def _needs_constant(index: int, what: str) -> Rule:
    def rule(view: NodeView) -> str:
        if view.has_input(index) and not view.is_constant(index):
            return f"{what} {view.node.input[index]!r} is computed"
        return ""

    return rule


def _check_top(view: NodeView) -> str:
    if view.attribute("sorted", 1) != 1:
        return "sorted is 0"
    most = view.bound(view.node.input[1])
    if most is None:
        return f"K {view.node.input[1]!r} is computed, and nothing bounds it"
    return "" if most < _MOST_TOP else f"K is {most}"


def _check_grid_sample(view: NodeView) -> str:
    if view.rank(0) != 4:
        return f"its input has {view.rank(0) or 'an unknown number of'} axes"
    # Opset 20 renamed bilinear to linear. Parsers of TensorRT 10 do not know that name, and sample
    # the nearest pixel without an error.
    mode = view.attribute("mode", "bilinear")
    return "" if mode in ("bilinear", "nearest") else f"mode is {mode!r}, expected bilinear"


def _check_resize(view: NodeView) -> str:
    given = {name: view.attribute(name, default) for name, default in _RESIZE_DEFAULTS.items()}
    if given["mode"] != "nearest":
        given.pop("nearest_mode")
    wrong = [f"{name} is {value}" for name, value in given.items() if value not in _RESIZE[name]]
    if view.attribute("antialias", 0):
        wrong.append("antialias is 1")
    return ", ".join(wrong)


def _check_pool(view: NodeView) -> str:
    if view.rank(0) not in (4, 5):
        return f"its input has {view.rank(0) or 'an unknown number of'} axes"
    if any(one != 1 for one in view.attribute("dilations", ())):
        return f"dilations are {list(view.attribute('dilations'))}"
    return "its second output is used" if view.uses_output(1) else ""


def _check_layer_norm(view: NodeView) -> str:
    used = [index for index in (1, 2) if view.uses_output(index)]
    return f"outputs {used} are used" if used else ""


def _check_scatter(view: NodeView) -> str:
    reduction = view.attribute("reduction", "none")
    return "" if reduction == "none" else f"reduction is {reduction}"


def _check_eye(view: NodeView) -> str:
    shape = view.shapes.get(view.node.input[0])
    return "" if shape and None not in shape else "the size of its input is not known"


def _check_constant(view: NodeView) -> str:
    kinds = ("sparse_value", "value_string", "value_strings")
    return ", ".join(one.name for one in view.node.attribute if one.name in kinds)


def _check_loop(view: NodeView) -> str:
    body = view.attribute("body")
    scanned = len(body.output) - 1 - (len(view.node.input) - 2)
    if scanned and not (view.has_input(0) and view.is_constant(0)):
        return f"{scanned} outputs grow with each turn, and the number of turns is computed"
    return ""


def _check_if(view: NodeView) -> str:
    branches = [view.attribute(name) for name in ("then_branch", "else_branch")]
    for one, other in zip(branches[0].output, branches[1].output, strict=True):
        ranks = [len(value.type.tensor_type.shape.dim) for value in (one, other)]
        if ranks[0] != ranks[1]:
            return f"its branches give {ranks[0]} and {ranks[1]} axes"
        if one.name == other.name:
            return f"both branches call their output {one.name!r}"
    return ""


def _check_dropout(view: NodeView) -> str:
    if not view.has_input(2):
        return ""
    training = view.value(2)
    return "" if training is not None and not training.any() else "it may be in training mode"


def _check_zero_point(view: NodeView) -> str:
    if not view.has_input(2):
        return ""
    point = view.value(2)
    return "" if point is not None and not point.any() else "the zero point is not 0"


_REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
)

RULES: Mapping[str, Rule] = {
    "AveragePool": _check_pool,
    "Constant": _check_constant,
    "CumSum": _needs_constant(1, "axis"),
    "DequantizeLinear": _check_zero_point,
    "Dropout": _check_dropout,
    "EyeLike": _check_eye,
    "GridSample": _check_grid_sample,
    "If": _check_if,
    "LayerNormalization": _check_layer_norm,
    "Loop": _check_loop,
    "MaxPool": _check_pool,
    "OneHot": _needs_constant(1, "depth"),
    "Pad": _needs_constant(3, "axes"),
    "QuantizeLinear": _check_zero_point,
    "Resize": _check_resize,
    "ScatterElements": _check_scatter,
    "ScatterND": _check_scatter,
    "Slice": _needs_constant(3, "axes"),
    "Squeeze": _needs_constant(1, "axes"),
    "TopK": _check_top,
    "Unsqueeze": _needs_constant(1, "axes"),
    **{name: _needs_constant(1, "axes") for name in _REDUCTIONS},
}

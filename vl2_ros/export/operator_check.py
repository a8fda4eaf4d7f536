"""Check an ONNX file against TensorRT 10's table of operators, before it is built on a robot.

The table is that of TensorRT 10.0 and 10.1 (onnx-tensorrt 10.1, docs/operators.md, Apache-2.0). It
stands for the parser of JetPack 6 (10.3), which runs on a Jetson only; the newer one of TensorRT
for RTX takes more and is asked itself, by a build and by the tests. Every node is checked, also in
branches, loops and local functions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from vl2_ros.errors import EngineError
from vl2_ros.export.operator_rules import RULES, NodeView

TABLE_FILE = Path(__file__).parent / "tensorrt_operators.json"
#: Most nodes that are named in one error.
_NAMED = 12
_TYPE_NAMES: Mapping[int, str] = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.DOUBLE: "FP64",
    TensorProto.FLOAT8E4M3FN: "FP8",
    TensorProto.INT4: "INT4",
}
#: Operators whose type is not that of their first input: names of the schema's type variables.
_TYPE_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "Cast": ("T1", "T2"),
    "ConstantOfShape": ("T2",),
    "If": ("V",),
    "Loop": ("V",),
    "OneHot": ("T3",),
    "Where": ("T",),
}


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """The row of one operator in the table.

    Attributes:
        is_supported: whether the parser knows it.
        types: such as FP16 and INT64.
        restrictions: in the table's words; may be empty.
    """

    is_supported: bool
    types: frozenset[str]
    restrictions: str


@dataclass(frozen=True, slots=True)
class OperatorProblem:
    """One node outside of the table.

    Attributes:
        operator: such as TopK.
        node: name of the node.
        output: name of its first output.
        types: types that the operator works on there.
        reason: the table's entry.
    """

    operator: str
    node: str
    output: str
    types: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        types = ", ".join(self.types) or "no known type"
        return f"{self.operator} {self.node!r} (output {self.output!r}, {types}): {self.reason}"


@cache
def read_operator_table() -> Mapping[str, OperatorRow]:
    """Read the table that comes with the package: operator -> row."""
    document = json.loads(TABLE_FILE.read_text(encoding="utf-8"))
    return {
        # Misprinted once in the source.
        name: OperatorRow(
            row["supported"],
            frozenset(one.replace("INF64", "INT64") for one in row["types"] if one),
            row["restrictions"],
        )
        for name, row in document["operators"].items()
    }


def check_operators(path: Path) -> None:
    """Check that TensorRT's parser accepts every node of a file.

    Args:
        path: an ONNX file; weights beside it are not read.

    Raises:
        EngineError: naming the nodes outside of the table and the table's entries.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
        problems = list(find_problems(model))
    except (DecodeError, OSError, ValueError, onnx.shape_inference.InferenceError) as error:
        raise EngineError(f"cannot read {path} as an ONNX file: {error}; export again") from error
    if problems:
        more = len(problems) - _NAMED
        named = [str(one) for one in problems[:_NAMED]] + ([f"and {more} more"] if more > 0 else [])
        raise EngineError(
            f"{path.name} has nodes outside of TensorRT's table of operators: {'; '.join(named)}; "
            "change the module behind the graph"
        )


def find_problems(model: ModelProto) -> Iterator[OperatorProblem]:
    """Yield the nodes of a model that the table does not allow."""
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    model = onnx.shape_inference.infer_shapes(model)
    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    yield from _check_graph(model.graph, _Scope(), opset)


@dataclass(slots=True)
class _Scope:
    """Known properties of the values that a graph can see, by name."""

    types: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    constants: dict[str, np.ndarray | None] = field(default_factory=dict)
    producers: dict[str, NodeProto] = field(default_factory=dict)

    def extend(self, graph: GraphProto) -> _Scope:
        """Add the definitions of a graph; a subgraph sees those around it."""
        known = (self.types, self.shapes, self.constants, self.producers)
        scope = _Scope(*(dict(one) for one in known))  # type: ignore[arg-type]
        for value in (*graph.input, *graph.output, *graph.value_info):
            tensor = value.type.tensor_type
            if tensor.elem_type:
                scope.types[value.name] = tensor.elem_type
            if tensor.HasField("shape"):
                dims = tensor.shape.dim
                scope.shapes[value.name] = tuple(
                    one.dim_value if one.HasField("dim_value") else None for one in dims
                )
        for tensor in graph.initializer:
            scope.add_constant(tensor.name, tensor)
        for node in graph.node:
            scope.producers.update(dict.fromkeys(node.output, node))
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    scope.add_constant(node.output[0], attribute)
        return scope

    def add_constant(self, name: str, source: TensorProto | AttributeProto) -> None:
        """Keep a constant; one that lies in another file has no value here."""
        if isinstance(source, AttributeProto) and source.type != AttributeProto.TENSOR:
            self.constants[name] = np.asarray(helper.get_attribute_value(source))
            return
        tensor = source.t if isinstance(source, AttributeProto) else source
        self.types[name] = tensor.data_type
        self.shapes[name] = tuple(tensor.dims)
        is_outside = tensor.data_location == TensorProto.EXTERNAL
        self.constants[name] = None if is_outside else onnx.numpy_helper.to_array(tensor)


def _check_graph(graph: GraphProto, around: _Scope, opset: int) -> Iterator[OperatorProblem]:
    scope = around.extend(graph)
    for node in graph.node:
        types = _find_types(node, scope, opset)
        reason = _judge(node, types, scope)
        if reason:
            output = node.output[0] if node.output else ""
            yield OperatorProblem(node.op_type, node.name, output, types, reason)
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _check_graph(inner, scope, opset)


def _judge(node: NodeProto, types: tuple[str, ...], scope: _Scope) -> str:
    """Return why the table does not allow a node, or nothing."""
    if node.domain not in ("", "ai.onnx"):
        return f"the table has no operators of the domain {node.domain!r}"
    row = read_operator_table().get(node.op_type)
    if row is None or not row.is_supported:
        return "the table says that it is not supported"
    outside = sorted(set(types) - row.types)
    if outside or not types:
        allowed = ", ".join(sorted(row.types))
        return f"the table allows {allowed}, not {', '.join(outside) or 'an unknown type'}"
    rule = RULES.get(node.op_type)
    found = rule(NodeView(node, scope.shapes, scope.constants, scope.producers)) if rule else ""
    return f"{found}; the table says: {row.restrictions}" if found else ""


def _find_types(node: NodeProto, scope: _Scope, opset: int) -> tuple[str, ...]:
    """Return the types that count for the table's column, sorted."""
    if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type, opset):
        known = [scope.types[name] for name in node.output if name in scope.types]
        return tuple(sorted({_name_type(one) for one in known}))
    schema = onnx.defs.get_schema(node.op_type, opset)
    first = (schema.inputs or schema.outputs)[0].type_str
    variables = _TYPE_VARIABLES.get(node.op_type, (first,))
    found = set()
    for names, formals in ((node.input, schema.inputs), (node.output, schema.outputs)):
        for index, name in enumerate(names):
            formal: Any = formals[min(index, len(formals) - 1)]
            if name in scope.types and formal.type_str in variables:
                found.add(_name_type(scope.types[name]))
    return tuple(sorted(found))


def _name_type(number: int) -> str:
    return _TYPE_NAMES.get(number) or TensorProto.DataType.Name(number)

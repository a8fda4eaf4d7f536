"""The check against TensorRT's table: what is outside of it is named, wherever it hides."""

from __future__ import annotations

import json
import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.conftest import REPOSITORY
from vl2_ros.errors import EngineError
from vl2_ros.export.operator_check import (
    TABLE_FILE,
    check_operators,
    find_problems,
    read_operator_table,
)

FLOAT, HALF, INT64, BOOL = (
    *(TensorProto.FLOAT, TensorProto.FLOAT16),
    *(TensorProto.INT64, TensorProto.BOOL),
)


def constant(name: str, values) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values), name)


def make_file(
    nodes, *, inputs, outputs=(), constants=(), opset: int = 18, functions=(), domains=()
) -> onnx.ModelProto:
    """Make a model; inputs and outputs are (name, type, shape)."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        list(constants),
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(one, 1) for one in domains)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=9)


def check(model: onnx.ModelProto) -> list[str]:
    return [str(one) for one in find_problems(model)]


def one_node(operator: str, inputs, *, constants=(), outputs=("y",), opset=18, **attributes):
    node = helper.make_node(
        operator,
        [one[0] for one in inputs] + [one.name for one in constants],
        list(outputs),
        name="planted",
        **attributes,
    )
    return make_file([node], inputs=inputs, constants=constants, opset=opset)


def test_the_table_that_ships_is_the_one_that_was_studied():
    studied = REPOSITORY.parent / "shared" / "tensorrt_onnx_operators.json"
    table = json.loads(TABLE_FILE.read_text())
    assert table["source"].startswith("onnx/onnx-tensorrt 10.1-GA docs/operators.md")
    if studied.is_file():
        assert table == json.loads(studied.read_text())


def test_misprints_of_the_table_are_read_as_meant():
    assert "INT64" in read_operator_table()["ConstantOfShape"].types
    assert "" not in read_operator_table()["Selu"].types


def test_an_unsupported_operator_is_named_with_node_output_and_type(tmp_path):
    path = tmp_path / "planted.onnx"
    onnx.save(one_node("Det", [("x", FLOAT, [2, 2])]), path)
    expected = (
        r"planted\.onnx has nodes outside of TensorRT's table of operators: "
        r"Det 'planted' \(output 'y', FP32\): the table says that it is not supported"
    )
    with pytest.raises(EngineError, match=expected):
        check_operators(path)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (one_node("NonZero", [("x", INT64, [4])]), "INT64.*allows FP16, FP32, not INT64"),
        (one_node("NonZero", [("x", BOOL, [4])]), "not BOOL"),
        (one_node("Equal", [("a", BOOL, [4]), ("b", BOOL, [4])]), "not BOOL"),
        (one_node("Cast", [("x", FLOAT, [4])], to=TensorProto.DOUBLE), "not FP64"),
        (
            one_node("CumSum", [("x", INT64, [4])], constants=[constant("axis", np.int64(0))]),
            "not INT64",
        ),
        (one_node("Where", [("c", BOOL, [4]), ("a", BOOL, [4]), ("b", BOOL, [4])]), ""),
        (one_node("Xor", [("a", BOOL, [4]), ("b", BOOL, [4])]), ""),
        (one_node("Gather", [("x", HALF, [4]), ("i", INT64, [2])]), ""),
        (
            one_node(
                "TopK",
                [("x", FLOAT, [1, 9000])],
                constants=[constant("k", np.array([3840]))],
                outputs=("values", "indices"),
            ),
            r"K is 3840; the table says: .*less than 3840",
        ),
        (
            one_node("TopK", [("x", FLOAT, [1, 9]), ("k", INT64, [1])], outputs=("v", "i")),
            "K 'k' is computed, and nothing bounds it",
        ),
        (
            one_node("GridSample", [("x", FLOAT, [1, 2, 3, 4, 5]), ("g", FLOAT, [1, 3, 4, 5, 3])]),
            "its input has 5 axes; the table says: Input must be 4D",
        ),
        (
            one_node(
                "GridSample",
                [("x", FLOAT, [1, 2, 3, 4]), ("g", FLOAT, [1, 3, 4, 2])],
                opset=20,
                mode="linear",
            ),
            "mode is 'linear', expected bilinear",
        ),
        (
            one_node("ReduceSum", [("x", FLOAT, [2, 2]), ("axes", INT64, [1])]),
            "axes 'axes' is computed",
        ),
        (
            one_node(
                "ScatterND",
                [("x", FLOAT, [4]), ("i", INT64, [1, 1]), ("u", FLOAT, [1])],
                reduction="add",
            ),
            "reduction is add",
        ),
        (
            one_node("LayerNormalization", [("x", FLOAT, [2, 4]), ("s", FLOAT, [4])]),
            "",
        ),
        (
            one_node(
                "LayerNormalization",
                [("x", FLOAT, [2, 4]), ("s", FLOAT, [4])],
                outputs=("y", "", "deviation"),
            ),
            r"outputs \[2\] are used",
        ),
        (
            one_node(
                "Resize",
                [("x", FLOAT, [1, 1, 4, 4])],
                constants=[
                    *(constant("roi", np.zeros(0, np.float32)), constant("by", np.float32([1] * 4)))
                ],
                mode="cubic",
            ),
            "mode is cubic",
        ),
    ],
)
def test_types_and_restrictions_of_the_table_are_looked_at(model, expected):
    problems = check(model)
    assert bool(problems) == bool(expected), problems
    for problem in problems:
        assert "'planted'" in problem
        assert re.search(expected, problem), problem


def test_a_number_of_best_ones_that_is_computed_may_be_bounded():
    nodes = [
        helper.make_node("Min", ["tokens", "most"], ["smaller"]),
        helper.make_node("Unsqueeze", ["smaller", "axes"], ["k"]),
        helper.make_node("TopK", ["x", "k"], ["values", "indices"], name="best"),
    ]

    def check_bounded(most: int) -> list[str]:
        return check(
            make_file(
                nodes,
                inputs=[("x", FLOAT, [1, "n"]), ("tokens", INT64, [])],
                constants=[constant("most", np.int64(most)), constant("axes", np.array([0]))],
            )
        )

    assert check_bounded(50) == []
    assert "K is 5000" in check_bounded(5000)[0]


def branch(name: str, operator: str):
    node = helper.make_node(operator, ["x"], [name], name=f"inner_{operator}")
    output = helper.make_tensor_value_info(name, FLOAT, [2, 2])
    return helper.make_graph([node], name, [], [output])


def test_nodes_in_branches_are_looked_at():
    node = helper.make_node(
        *("If", ["c"], ["y"]),
        then_branch=branch("then_y", "Relu"),
        else_branch=branch("else_y", "Bernoulli"),
        name="choice",
    )
    model = make_file([node], inputs=[("c", BOOL, []), ("x", FLOAT, [2, 2])])
    (problem,) = check(model)
    assert problem.startswith("Bernoulli 'inner_Bernoulli' (output 'else_y', FP32)")


def test_nodes_in_local_functions_are_looked_at_with_their_types():
    inner = helper.make_node("NonZero", ["a"], ["b"], name="inside")
    function = helper.make_function(
        "local", "Find", ["a"], ["b"], [inner], [helper.make_opsetid("", 18)]
    )
    call = helper.make_node("Find", ["x"], ["y"], domain="local", name="call")
    model = make_file([call], inputs=[("x", INT64, [4])], functions=[function], domains=["local"])
    (problem,) = check(model)
    assert problem.startswith("NonZero") and "INT64" in problem


def test_other_domains_are_refused():
    node = helper.make_node("FusedMatMul", ["x", "x"], ["y"], domain="com.microsoft", name="fused")
    (problem,) = check(make_file([node], inputs=[("x", FLOAT, [2, 2])], domains=["com.microsoft"]))
    assert problem.startswith("FusedMatMul 'fused'") and "domain 'com.microsoft'" in problem


def test_a_loop_whose_output_grows_without_bound_is_refused():
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["more"], ["go_on"]),
            helper.make_node("Identity", ["state"], ["next"]),
            helper.make_node("Identity", ["state"], ["row"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", INT64, []),
            helper.make_tensor_value_info("more", BOOL, []),
            helper.make_tensor_value_info("state", FLOAT, [2]),
        ],
        [
            helper.make_tensor_value_info("go_on", BOOL, []),
            helper.make_tensor_value_info("next", FLOAT, [2]),
            helper.make_tensor_value_info("row", FLOAT, [2]),
        ],
    )
    node = helper.make_node("Loop", ["turns", "", "x"], ["end", "rows"], body=body, name="grow")
    model = make_file([node], inputs=[("turns", INT64, []), ("x", FLOAT, [2])])
    (problem,) = check(model)
    assert "1 outputs grow with each turn" in problem
    known = make_file([node], inputs=[("x", FLOAT, [2])], constants=[constant("turns", 3)])
    assert check(known) == []


def test_a_file_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(EngineError, match="cannot read .*missing.onnx"):
        check_operators(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(EngineError, match="cannot read .*text.onnx"):
        check_operators(tmp_path / "text.onnx")

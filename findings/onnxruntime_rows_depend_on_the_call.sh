#!/bin/sh
# onnxruntime 1.32.0, CPU provider on x86-64, float32: a row of a MatMul with one row has other last bits
# than the same row among several, so a token read alone differs from the same token in a longer prompt,
# and a graph that rounds afterwards (int8) can answer with other words. The contrib operator FusedMatMul
# with an alpha other than 1 takes one kernel for every number of rows and gives the same bits.
#
# Seen: "rows that differ of 64: MatMul 64, FusedMatMul with alpha 2 0". Exit code 1 when FusedMatMul
# differs anywhere or MatMul nowhere.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'EOF'
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

ROWS, INNER, COLUMNS = 64, 96, 64


def open_session(node):
    graph = helper.make_graph(
        [node],
        "product",
        [
            helper.make_tensor_value_info("a", TensorProto.FLOAT, ["rows", INNER]),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, [INNER, COLUMNS]),
        ],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, ["rows", COLUMNS])],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=8)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def count_differing(node):
    session = open_session(node)
    rng = np.random.default_rng(0)
    a = rng.standard_normal((ROWS, INNER), np.float32)
    b = rng.standard_normal((INNER, COLUMNS), np.float32)
    together = session.run(None, {"a": a, "b": b})[0]
    alone = np.concatenate([session.run(None, {"a": row[None], "b": b})[0] for row in a])
    return int((together != alone).any(axis=1).sum())


plain = count_differing(helper.make_node("MatMul", ["a", "b"], ["c"]))
scaled = count_differing(
    helper.make_node("FusedMatMul", ["a", "b"], ["c"], domain="com.microsoft", alpha=2.0)
)
print(f"rows that differ of {ROWS}: MatMul {plain}, FusedMatMul with alpha 2 {scaled}")
sys.exit(scaled != 0 or plain == 0)
EOF

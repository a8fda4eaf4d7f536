#!/bin/sh
# ONNX Runtime fuses a sum and its layer norm into a kernel that takes several times as long.
#
# Seen with onnxruntime 1.32.0 on x86-64 (AVX-512). At the extended level of optimisation, which the
# default includes, Add and LayerNormalization become SkipLayerNormalization. For 240 rows of 128
# floats and one thread that takes 230 us on the CPU, the two nodes 34 us; a detection decoder with
# 16 such pairs lost a tenth of its time to it. The session option
# `optimization.disable_specified_optimizers` switches the fusion off.
#
# Needs python3 with venv, and a network; no GPU. Exit 0: still so; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx
OMP_NUM_THREADS=1 "$folder/venv/bin/python" - <<'PYTHON'
import statistics
import sys
import time

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

WIDTH, ROWS, RUNS = 128, 240, 300
shape = [1, ROWS, WIDTH]
nodes = [
    helper.make_node("Add", ["x", "y"], ["sum"]),
    helper.make_node("LayerNormalization", ["sum", "scale", "bias"], ["z"]),
]
graph = helper.make_graph(
    nodes,
    "main",
    [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")],
    [helper.make_tensor_value_info("z", TensorProto.FLOAT, shape)],
    [numpy_helper.from_array(np.ones(WIDTH, np.float32), name) for name in ("scale", "bias")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def start(disabled: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if disabled:
        options.add_session_config_entry("optimization.disable_specified_optimizers", disabled)
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


sessions = {"fused": start(""), "apart": start("SkipLayerNormFusion")}
feed = {name: np.random.default_rng(0).standard_normal(shape, np.float32) for name in "xy"}
times = {name: [] for name in sessions}
for _ in range(RUNS):
    for name, session in sessions.items():
        begin = time.thread_time()
        session.run(None, feed)
        times[name].append((time.thread_time() - begin) * 1e6)
medians = {name: statistics.median(values) for name, values in times.items()}
print(", ".join(f"{name} {value:.0f} us" for name, value in medians.items()))
sys.exit(medians["fused"] < 2 * medians["apart"])
PYTHON

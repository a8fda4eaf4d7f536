#!/bin/sh
# TensorRT for RTX takes VERSION_COMPATIBLE, optimises the whole network, and then has no plan.
#
# Seen with tensorrt-rtx-cu13 1.7.1.116. The flag is there, `set_flag` accepts it and
# `is_network_supported` says yes. The build runs to its end, for large networks minutes; the last
# step looks for libnvinfer_lean.so.1, which no package of TensorRT for RTX has. Its documentation
# says that plans do not load in other releases, not that the flag fails. Who lets users set the flag
# for either library refuses it before the build.
#
# Needs python3 (3.9 to 3.13) with venv, and a network; no GPU. Exit 0: still so; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorrt-rtx-cu13==1.7.1.116
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import tensorrt_rtx as trt


class Log(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.lines = []

    def log(self, severity, message):
        self.lines.append(message)


def build(log, *flags):
    builder = trt.Builder(log)
    network, config = builder.create_network(), builder.create_builder_config()
    given = network.add_input("given", trt.float32, (1, 8))
    network.mark_output(network.add_unary(given, trt.UnaryOperation.EXP).get_output(0))
    for flag in flags:
        config.set_flag(flag)
    supported = builder.is_network_supported(network, config)
    return supported, builder.build_serialized_network(network, config)


log = Log()
plain = build(log)
begin = len(log.lines)
compatible = build(log, trt.BuilderFlag.VERSION_COMPATIBLE)
said = log.lines[begin:]
finished = any("Engine generation completed" in line for line in said)
lean = [line for line in said if "nvinfer_lean" in line]
print(f"tensorrt_rtx {trt.__version__}: plain: supported {plain[0]}, plan {plain[1] is not None}")
print(f"with the flag: supported {compatible[0]}, plan {compatible[1] is not None}")
print(f"optimised to the end: {finished}; then: {lean[-1] if lean else 'nothing'}")
is_so = plain[1] is not None and compatible[0] and compatible[1] is None and finished and lean
sys.exit(not is_so)
PYTHON

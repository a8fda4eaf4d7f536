"""Compile graphs with TensorRT for RTX and print layers, seconds, plan size and peak memory.

    python benchmarks/engines/tensorrt_plans.py [--graphs vision_encoder ...]
        [--precision float32 float16] [--released] [--compute-capability 8.6 ...] [--json FILE]

Without --released the graphs of the embedded model, a minute or two on idle cores; with it those
of the released size with random weights and the ranges of `engines/discrete.yaml`, two of the 32
layers of the language model: up to 6 GB of memory. Needs no GPU. A process exports a graph, another
one, without torch, parses and compiles it; its memory and CPU seconds are printed. Wall seconds
belong to a machine and its load, which is printed as well.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from vl2_ros.errors import EngineError
from vl2_ros.export.engine_profile import EngineProfile, list_shipped_profiles, load_profile
from vl2_ros.runtime.tensorrt_backend.build import PlanOrder, build_plan
from vl2_ros.runtime.tensorrt_backend.library import TENSORRT_RTX
from vl2_ros.runtime.tensorrt_backend.library_log import open_log

EMBEDDED = ("vision_encoder", "language_model", "detection_backbone", "detection_decoder")
RELEASED = (*EMBEDDED, "pose_backbone", "pose_decoder")
COLUMNS = (
    *("graph", "precision", "layers", "parse_s", "build_s", "build_cpu_s"),
    *("onnx_mb", "plan_mb", "peak_mb", "load"),
)


def export(graph: str, precision: str, folder: Path, *, released: bool) -> None:
    """Write the ONNX file of one graph; runs in a process of its own, with torch."""
    if released:
        import torch
        from released_graphs import make_network, write_graph

        model = make_network(graph, dtype=getattr(torch, precision))
        write_graph(model, graph, precision, find_profile(released=True), folder)
        return
    from vl2_ros.export.engine_folder import PlainRequest, export_engines
    from vl2_ros.loading import EMBEDDED_WEIGHTS

    requests = {graph: PlainRequest(precision)}
    export_engines(EMBEDDED_WEIGHTS, folder, requests, is_compact=False)


def compile_graph(onnx: Path, released: bool, targets: tuple[str, ...]) -> dict[str, Any]:
    """Parse and build one file; runs in a process of its own, without torch."""
    began = time.perf_counter()
    layers = count_layers(onnx)
    parsed = time.perf_counter()
    profile, plan = find_profile(released=released), onnx.with_suffix(".plan")
    shapes = profile.graphs[onnx.stem].shapes
    order = PlanOrder(onnx.stem, shapes, profile.workspace_bytes, compute_capabilities=targets)
    starts: list[tuple[float, float]] = []

    def listen(_: object) -> None:
        # The first progress comes when the file is parsed again and the build begins.
        if not starts:
            starts.append((time.perf_counter(), time.process_time()))

    build_plan(onnx, plan, order, TENSORRT_RTX, progress=listen)
    weights = onnx.with_name(onnx.name + ".data")
    size = onnx.stat().st_size + (weights.stat().st_size if weights.is_file() else 0)
    return {
        "layers": layers,
        "parse_s": round(parsed - began, 1),
        "build_s": round(time.perf_counter() - starts[0][0], 1),
        "build_cpu_s": round(time.process_time() - starts[0][1], 1),
        "onnx_mb": round(size / 1e6),
        "plan_mb": round(plan.stat().st_size / 1e6, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "load": round(os.getloadavg()[0], 1),
    }


def count_layers(onnx: Path) -> int:
    """Return the layers of the network that the parser makes of a file.

    Raises:
        EngineError: naming the node that it refuses.
    """
    trt = TENSORRT_RTX.load()
    log = cast(Any, open_log(trt))
    network = trt.Builder(log).create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        raise EngineError("; ".join(f"{one.node_name()}: {one.desc()}" for one in errors))
    return network.num_layers


def find_profile(*, released: bool) -> EngineProfile:
    """Return the profile whose ranges are built."""
    return load_profile(list_shipped_profiles()["discrete" if released else "cpu"])


def measure(graph: str, precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """Export and compile one graph in two processes; a failure is a row as well."""
    row = {"graph": graph, "precision": precision}
    with tempfile.TemporaryDirectory() as folder:
        own = [sys.executable, __file__, *(["--released"] if options.released else [])]
        own += ["--graphs", graph, "--precision", precision, "--in", folder]
        if options.compute_capability:
            own += ["--compute-capability", *options.compute_capability]
        for step in ("export", "compile"):
            done = subprocess.run([*own, "--step", step], capture_output=True, text=True)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                return row | {"failed": f"{step}: {last}"}
        return row | json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print a row for every graph and precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--released", action="store_true", help="the released size")
    parser.add_argument("--graphs", nargs="+", choices=RELEASED)
    parser.add_argument("--precision", nargs="+", default=["float32", "float16"])
    parser.add_argument("--compute-capability", nargs="+", default=[], metavar="8.6")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--step", choices=("export", "compile"), help=argparse.SUPPRESS)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    graphs = options.graphs or (RELEASED if options.released else EMBEDDED)
    if options.step == "export":
        export(graphs[0], options.precision[0], options.folder, released=options.released)
        return
    if options.step == "compile":
        onnx, targets = options.folder / f"{graphs[0]}.onnx", tuple(options.compute_capability)
        print(json.dumps(compile_graph(onnx, options.released, targets)))
        return
    print(f"{TENSORRT_RTX.find_runtime()}, {os.cpu_count()} cores")
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    rows = []
    for graph in graphs:
        for precision in options.precision:
            rows.append(row := measure(graph, precision, options))
            shown = [row.get("failed")] if "failed" in row else [row[name] for name in COLUMNS[2:]]
            print("| " + " | ".join(map(str, [graph, precision, *shown])) + " |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    sys.exit(any("failed" in row for row in rows))


if __name__ == "__main__":
    main()

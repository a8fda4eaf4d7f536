"""Compare ONNX Runtime, eager torch and optionally torch.compile, graph by graph on the CPU.

    python benchmarks/engines/speed.py [--weights FOLDER] [--repeat 15] [--compile]
        [--only GRAPH ...]

All run in one process on one thread, in turns, so that a busy machine slows all alike; a ratio is
the median of the ratios of the turns. Without --weights the embedded model is measured. Engines are
taken from the checkpoint's folder `engines`, or exported to a temporary one.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import onnxruntime
import torch

from vl2_ros.export.engine_folder import export_engines, fixed_axes
from vl2_ros.export.onnx_export import AxisSize, make_example
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.model.graph_modules import build_graph, list_graphs, spec_of
from vl2_ros.model.graphs import GraphSpec
from vl2_ros.model.network import VisionLLM
from vl2_ros.runtime.files.engine_files import EngineFile, read_engine_files

#: Graph -> what is measured of it.
CALLS: Mapping[str, tuple[Mapping[str, int], ...]] = {
    "vision_encoder": ({"tiles": 1},),
    "region_encoder": ({"tiles": 1, "regions": 1},),
    "language_model": ({"tokens": 96, "past": 0}, {"tokens": 1, "past": 96}),
    "detection_backbone": ({"rows": 1},),
    "detection_decoder": ({"classes": 1}, {"classes": 12}),
    "pose_backbone": ({"rows": 1},),
    "pose_decoder": ({"classes": 1, "keypoints": 17},),
}


def measure(
    model: VisionLLM, file: EngineFile, repeat: int, *, with_compile: bool
) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """Yield for every call of a graph: what was called, seconds of each runner."""
    spec = spec_of(model, file.graph)
    module = build_graph(model, file.graph)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file.path), options)
    compiled = torch.compile(module, dynamic=False) if with_compile else None
    for call in CALLS[file.graph]:
        inputs = make_example(spec, {**_sizes(model, file), **call})
        runners: dict[str, Callable[[], object]] = {
            "torch": lambda inputs=inputs: module(*inputs),
            "onnxruntime": _make_runner(session, spec, inputs),
        }
        if compiled is not None:
            runners["compiled"] = lambda inputs=inputs: compiled(*inputs)
        yield ", ".join(f"{key} {size}" for key, size in call.items()), _race(runners, repeat)


def _sizes(model: VisionLLM, file: EngineFile) -> dict[str, AxisSize]:
    """Return sizes of every axis, with the best one where a range is open."""
    open_ones = {
        axis: size if isinstance(size, int) else size[1] for axis, size in file.axes.items()
    }
    return fixed_axes(model) | open_ones


def _make_runner(
    session: onnxruntime.InferenceSession, spec: GraphSpec, inputs: tuple[torch.Tensor, ...]
) -> Callable[[], object]:
    feed = {name: one.numpy() for name, one in zip(spec.input_names, inputs, strict=True)}
    return lambda: session.run(None, feed)


def _race(runners: Mapping[str, Callable[[], object]], repeat: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(repeat + 2):
        for name, run in runners.items():
            start = time.perf_counter()
            run()
            # The first turns compile and fill caches.
            if turn >= 2:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _print(graph: str, call: str, seconds: Mapping[str, list[float]]) -> None:
    median = {name: statistics.median(one) * 1e3 for name, one in seconds.items()}
    ratios = [
        f"torch / {name} "
        f"{statistics.median(a / b for a, b in zip(seconds['torch'], one, strict=True)):.2f}"
        for name, one in seconds.items()
        if name != "torch"
    ]
    times = ", ".join(f"{name} {value:.1f} ms" for name, value in median.items())
    print(f"{graph:18} {call:24} {times}; {', '.join(ratios)}", flush=True)


def main() -> None:
    """Measure every graph that the checkpoint has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=EMBEDDED_WEIGHTS)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile")
    parser.add_argument("--only", nargs="+", choices=list(CALLS))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(arguments.weights)
    with tempfile.TemporaryDirectory() as temporary, torch.inference_mode():
        places = (arguments.weights / "engines", arguments.weights, Path(temporary))
        folder = next((one for one in places if (one / "engines.json").is_file()), places[-1])
        if folder == places[-1]:
            with torch.inference_mode(False):
                export_engines(arguments.weights, folder)
        files = read_engine_files(folder)
        for name in list_graphs(model):
            if name in files.graphs and name in (arguments.only or CALLS):
                for call, seconds in measure(
                    model, files.graphs[name], arguments.repeat, with_compile=arguments.compile
                ):
                    _print(name, call, seconds)


if __name__ == "__main__":
    main()

"""Load plans of TensorRT for RTX on a GPU, check them and compare their speed with other backends.

    python benchmarks/engines/gpu.py [--graphs vision_encoder ...] [--precision float16 ...]
        [--folder plans] [--compute-capability 8.9] [--repeat 50]

For every graph of the embedded model and of the released size (random weights): the plan is
compiled, or taken from --folder where an earlier run left it; loaded, or the library's refusal is
printed word for word; compared with float32 torch; and timed beside torch eager, torch as a CUDA
graph and ONNX Runtime on CUDA, in turns. Medians in ms; compare within a run. Needs a CUDA build of
torch, and onnxruntime-gpu for its column.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from released_graphs import EMBEDDED_HW, make_network, write_graph
from tensorrt_plans import EMBEDDED, RELEASED, find_profile
from torch import Tensor

from vl2_ros.errors import EngineError
from vl2_ros.export.engine_folder import fixed_axes
from vl2_ros.export.precision import GraphForm
from vl2_ros.export.profile_export import make_inputs
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.model.graph_modules import build_graph, spec_of
from vl2_ros.model.graphs import GraphSpec
from vl2_ros.runtime.cuda_graphs import GraphReplay
from vl2_ros.runtime.files.engine_files import EngineFile
from vl2_ros.runtime.files.parity_gate import Sample, describe_misses, measure_misses
from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine
from vl2_ros.runtime.tensorrt_backend.build import PlanOrder, build_plan
from vl2_ros.runtime.tensorrt_backend.engine import TensorRTEngine
from vl2_ros.runtime.tensorrt_backend.library import TENSORRT_RTX, describe_target
from vl2_ros.runtime.tensorrt_backend.trusted_plans import TrustedPlans


def measure(graph: str, precision: str, options: argparse.Namespace, *, released: bool) -> None:
    """Print the parity and the latency of one graph at each of its ranges."""
    profile = find_profile(released=released)
    model = make_network(graph) if released else load_model(EMBEDDED_WEIGHTS).eval()
    spec, shapes = spec_of(model, graph), profile.graphs[graph].shapes
    hw = dict(zip(("height", "width"), profile.decoder_hw or EMBEDDED_HW, strict=True))
    samples = []
    for ranges in shapes:
        best = {axis: sizes[1] for axis, sizes in ranges.items()}
        inputs = make_inputs(model, spec, {**fixed_axes(model), **hw, **best})
        samples.append(_run_float32(model.cuda(), graph, spec, inputs))
        model.cpu()
    folder = options.folder / f"{'released' if released else 'embedded'}_{precision}"
    folder.mkdir(parents=True, exist_ok=True)
    # Narrows the network, so after the reference.
    onnx = write_graph(model, graph, precision, profile, folder)
    plan = folder / f"{graph}.plan"
    if not plan.is_file():
        targets = tuple(options.compute_capability)
        order = PlanOrder(graph, shapes, profile.workspace_bytes, compute_capabilities=targets)
        build_plan(onnx, plan, order, TENSORRT_RTX)
    form = GraphForm(build_graph(model.cuda(), graph), spec, precision).eval().cuda()
    runners = [_open_torch(form, spec, precision), _open_torch(GraphReplay(form), spec, precision)]
    engines = [_load(partial(OnnxEngine, _describe(onnx, graph, precision), device="cuda"))]
    built_for = describe_target(options.compute_capability)
    file = _describe(plan, graph, precision, TENSORRT_RTX.find_runtime(), built_for)
    trusted = TrustedPlans(further=[file.sha256])
    engines.append(_load(partial(TensorRTEngine, file, TENSORRT_RTX, trusted=trusted)))
    for ranges, sample in zip(shapes, samples, strict=True):
        print(f"{folder.name} {graph} { ({axis: one[1] for axis, one in ranges.items()}) }")
        for name, engine in zip(("onnxruntime", "tensorrt-rtx"), engines, strict=True):
            if engine is not None:
                misses = measure_misses(engine, sample, precision)
                print(f"  {name} misses torch: {describe_misses(misses)}")
        calls = {
            "torch eager": runners[0],
            "torch CUDA graph": runners[1],
            **{one.info.backend: one.run for one in engines if one is not None},
        }
        _race(calls, sample, options.repeat)


@torch.inference_mode()
def _run_float32(
    model: torch.nn.Module, graph: str, spec: GraphSpec, inputs: tuple[Tensor, ...]
) -> Sample:
    """Return a call with the outputs of float32 torch on the GPU."""
    outputs = build_graph(model, graph)(*(one.cuda() for one in inputs))
    return Sample(
        {name: one.numpy() for name, one in zip(spec.input_names, inputs, strict=True)},
        {name: one.cpu().numpy() for name, one in zip(spec.output_names, outputs, strict=True)},
    )


def _describe(
    path: Path, graph: str, precision: str, built_with: str = "", built_for: str = ""
) -> EngineFile:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return EngineFile(graph, path, sha256, precision, {}, built_with, built_for)


def _load(load: Callable[[], object]):
    """Load an engine, or print why that was refused."""
    try:
        return load()
    except EngineError as error:
        print(f"  refused: {error}", flush=True)
        return None


def _open_torch(call: Callable[..., object], spec: GraphSpec, precision: str):
    dtypes = {one.name: getattr(torch, one.dtype_at(precision)) for one in spec.inputs}

    @torch.inference_mode()
    def run(inputs: Mapping[str, Tensor]) -> object:
        return call(*(inputs[name].to(dtype) for name, dtype in dtypes.items()))

    return run


def _race(calls: Mapping[str, Callable], sample: Sample, repeat: int) -> None:
    inputs = {name: torch.from_numpy(one).cuda() for name, one in sample.inputs.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    # CUDA graphs are recorded, and kernels compiled, in the first turns.
    for turn in range(repeat + 5):
        for name, run in calls.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            run(inputs)
            torch.cuda.synchronize()
            if turn >= 5:
                times[name].append(time.perf_counter() - start)
    shown = (f"{name} {statistics.median(one) * 1e3:.2f}" for name, one in times.items())
    print("  ms: " + ", ".join(shown), flush=True)


def main() -> None:
    """Measure every graph; one that fails does not keep the others from being measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", nargs="+", default=list(RELEASED), choices=RELEASED)
    parser.add_argument("--precision", nargs="+", default=["float32", "float16"])
    parser.add_argument("--compute-capability", nargs="+", default=[], metavar="8.9")
    parser.add_argument("--folder", type=Path, default=Path("plans"))
    parser.add_argument("--repeat", type=int, default=50)
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    print(f"{TENSORRT_RTX.find_runtime()}, torch {torch.__version__}")
    print(
        f"{torch.cuda.get_device_name()}, compute capability {torch.cuda.get_device_capability()}"
    )
    for released in (False, True):
        for graph in options.graphs:
            if not released and graph not in EMBEDDED:
                continue
            for precision in options.precision:
                try:
                    measure(graph, precision, options, released=released)
                except (EngineError, RuntimeError) as error:
                    print(f"{graph} {precision} failed: {error}", flush=True)


if __name__ == "__main__":
    main()

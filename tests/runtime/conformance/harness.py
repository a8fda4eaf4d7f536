"""The graphs of the embedded model on each backend, and inputs for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial

import numpy as np
import pytest
import torch

from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.model.graphs import GRAPHS, GraphSpec, with_layers
from vl2_ros.model.network import VisionLLM
from vl2_ros.runtime.engine import Engine
from vl2_ros.runtime.files.engine_files import FILE_NAME, EngineFiles, read_engine_files
from vl2_ros.runtime.files.engine_folders import find_folder
from vl2_ros.runtime.files.weights_identity import identify_weights
from vl2_ros.runtime.tensorrt_backend.library import LIBRARIES
from vl2_ros.runtime.torch_backend.engine import make_engine

Inputs = Mapping[str, np.ndarray]

#: Graphs that the embedded model has.
NAMES = ("vision_encoder", "language_model", "detection_backbone", "detection_decoder")
#: Sizes of the axes that change from call to call.
CALLS: Mapping[str, tuple[Mapping[str, int], ...]] = {
    "vision_encoder": ({"tiles": 1}, {"tiles": 2}),
    "language_model": (
        {"tokens": 20, "past": 0},
        {"tokens": 1, "past": 20},
        {"tokens": 3, "past": 7},
        {"tokens": 1, "past": 0},
        {"rows": 3, "tokens": 2, "past": 5},
    ),
    "detection_backbone": ({"rows": 1}, {"height": 256, "width": 192}, {"rows": 2}),
    "detection_decoder": (
        {"classes": 1},
        {"classes": 3},
        {"classes": 20},
        {"classes": 3, "height": 256, "width": 192},
        {"rows": 2, "classes": 2},
    ),
}
#: What the embedded model fixes.
SIZES: Mapping[str, int] = {
    **{"rows": 1, "tile_side": 128, "llm_width": 256, "height": 192, "width": 256, "slots": 2},
    **{"heads": 4, "head_width": 64},
}
#: Channels and stride of each map of the detection decoder's images.
MAPS = ((128, 16), (128, 32), (48, 8), (48, 4))
#: What an engine of each graph takes and gives.
SPECS: Mapping[str, GraphSpec] = {name: with_layers(GRAPHS[name], 4) for name in NAMES}


@cache
def load_network() -> VisionLLM:
    """Load the embedded model once."""
    return load_model(EMBEDDED_WEIGHTS).eval()


def find_engine_files() -> EngineFiles:
    """Read the embedded engines, which the package ships."""
    if not (EMBEDDED_WEIGHTS / FILE_NAME).is_file():
        pytest.fail(f"no engines in {EMBEDDED_WEIGHTS}; make them with `make engines`")
    return read_engine_files(EMBEDDED_WEIGHTS)


def load_torch(name: str) -> Engine:
    return make_engine(load_network(), name, torch.device("cpu"))


def load_torch_on_cuda(name: str) -> Engine:
    """Load with replay; convolutions in full float32, as the tolerance asks."""
    torch.backends.cudnn.allow_tf32 = False
    network = load_model(EMBEDDED_WEIGHTS, device="cuda").eval()
    return make_engine(network, name, torch.device("cuda:0"), cuda_graphs=True)


def load_onnxruntime(name: str) -> Engine:
    from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine

    return OnnxEngine(find_engine_files().require(name))


def require_cuda_provider() -> None:
    """Skip by name where ONNX Runtime was built without CUDA."""
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime has no CUDA execution provider")


def load_onnxruntime_on_cuda(name: str) -> Engine:
    require_cuda_provider()
    from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine

    return OnnxEngine(find_engine_files().require(name), device="cuda")


def find_plans(backend: str) -> EngineFiles:
    """Read the plans that were built on this machine, or skip by name where there are none."""
    folder = find_folder(EMBEDDED_WEIGHTS, identify_weights(EMBEDDED_WEIGHTS), backend)
    if folder is None:
        pytest.skip(f"no {backend} engines of the embedded model; build them with `vl2 engines`")
    return read_engine_files(folder)


def load_plan(backend: str, name: str) -> Engine:
    from vl2_ros.runtime.tensorrt_backend.engine import TensorRTEngine

    return TensorRTEngine(find_plans(backend).require(name), LIBRARIES[backend])


def precision_of(engine: Engine) -> str:
    """Return the precision that an engine was made in, which sets its tolerance."""
    if engine.info.backend not in LIBRARIES:
        return "float32"
    return find_plans(engine.info.backend).require(engine.info.graph).precision


#: Every backend; one that this machine lacks is named at the end of the run.
BACKENDS: Mapping[str, tuple[Callable[[str], Engine], tuple[str, ...]]] = {
    "torch": (load_torch, ()),
    "onnxruntime": (load_onnxruntime, ()),
    "torch-cuda": (load_torch_on_cuda, ("gpu",)),
    "tensorrt": (partial(load_plan, "tensorrt"), ("tensorrt", "gpu")),
    "tensorrt-rtx": (partial(load_plan, "tensorrt-rtx"), ("tensorrt_rtx", "gpu")),
    "onnxruntime-cuda": (load_onnxruntime_on_cuda, ("gpu",)),
}


def make_inputs(name: str, sizes: Mapping[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Make inputs of a graph: normal numbers, and masks that are true everywhere.

    Args:
        name: of the graph.
        sizes: of the axes that change.
        seed: of the numbers.
    """
    rng = np.random.default_rng(seed)
    known = {**SIZES, **sizes}
    for index, (channels, stride) in enumerate(MAPS):
        known |= {
            f"map_width.{index}": channels,
            f"map_h.{index}": known["height"] // stride,
            f"map_w.{index}": known["width"] // stride,
        }
    inputs = {}
    for tensor in SPECS[name].inputs:
        shape = [axis if isinstance(axis, int) else known[axis] for axis in tensor.axes]
        is_mask = tensor.dtype == "bool"
        inputs[tensor.name] = (
            np.ones(shape, bool) if is_mask else rng.normal(size=shape).astype(np.float32)
        )
    return inputs


@cache
def reference(name: str, call: int, seed: int = 0) -> Inputs:
    """Return what float32 torch on the CPU gives for one of the calls."""
    return load_torch(name).run(make_inputs(name, CALLS[name][call], seed))


def learn_sizes(spec: GraphSpec, inputs: Inputs) -> dict[str, int]:
    """Return the size of every named axis of the inputs, and those that follow from them."""
    sizes = {
        axis: size
        for tensor in spec.inputs
        for axis, size in zip(tensor.axes, inputs[tensor.name].shape, strict=True)
        if isinstance(axis, str)
    }
    if spec.name == "language_model":
        sizes["total"] = sizes["past"] + sizes["tokens"]
    return sizes

"""Parse and build with the real TensorRT for RTX, which needs no GPU for either."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from vl2_ros.runtime.files.engine_files import EngineFile
from vl2_ros.runtime.tensorrt_backend.build import PlanOrder, build_plan
from vl2_ros.runtime.tensorrt_backend.library import TENSORRT_RTX, describe_target
from vl2_ros.runtime.tensorrt_backend.library_log import open_log

PRECISIONS = ("float32", "float16")
#: Of the maps of the embedded detection decoder.
STRIDES = (16, 32, 8, 4)
#: For each graph the ranges of a small plan; the language model has one for prompts, one for steps.
SMALL: Mapping[str, list[dict[str, tuple[int, int, int]]]] = {
    "vision_encoder": [{"tiles": (1, 1, 2)}],
    "region_encoder": [{"tiles": (1, 1, 2), "regions": (1, 1, 2)}],
    "language_model": [
        {"rows": (1, 1, 1), "tokens": (1, 32, 64), "past": (0, 0, 0)},
        {"rows": (1, 1, 1), "tokens": (1, 1, 4), "past": (1, 32, 64)},
    ],
    "detection_backbone": [{"rows": (1, 1, 1), "height": (192,) * 3, "width": (256,) * 3}],
    "detection_decoder": [
        {
            **{"rows": (1, 1, 1), "classes": (1, 2, 4), "height": (192,) * 3, "width": (256,) * 3},
            **{f"map_h.{index}": (192 // stride,) * 3 for index, stride in enumerate(STRIDES)},
            **{f"map_w.{index}": (256 // stride,) * 3 for index, stride in enumerate(STRIDES)},
        }
    ],
    "pose_backbone": [{"rows": (1, 1, 1)}],
    "pose_decoder": [{"rows": (1, 1, 1), "classes": (1, 1, 2), "keypoints": (1, 17, 17)}],
    "prompt_mapper": [{"image_slots": (1, 4, 8)}],
}


def count_layers(onnx: Path) -> int:
    """Parse a file and return the layers of its network; a node that is refused fails by name."""
    trt = TENSORRT_RTX.load()
    log = cast(Any, open_log(trt))
    network = trt.Builder(log).create_network(0)
    parser = trt.OnnxParser(network, log)
    is_parsed = parser.parse_from_file(str(onnx))
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    assert is_parsed, [(one.node_name(), one.node_operator(), one.desc()) for one in errors]
    return network.num_layers


def build_small(
    onnx: Path, out: Path, graph: str, targets: tuple[str, ...] = (), **options: Any
) -> EngineFile:
    """Build a small plan of a graph and describe it as the engine store does."""
    order = PlanOrder(graph, SMALL[graph], 1 << 28, 0, compute_capabilities=targets)
    build_plan(onnx, out, order, TENSORRT_RTX, **options)
    sha256 = hashlib.sha256(out.read_bytes()).hexdigest()
    runtime = TENSORRT_RTX.find_runtime()
    return EngineFile(graph, out, sha256, "float32", {}, runtime, describe_target(targets))

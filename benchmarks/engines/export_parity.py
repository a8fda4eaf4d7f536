"""Compare exported graphs at the released size with torch: largest difference over the peak.

    python benchmarks/engines/export_parity.py [--precision float32] [--only detection_decoder ...]

Random weights. The vision tower is CLIP-L at 336 pixels, the decoder has a Swin-T backbone and sees
an image of 800x1333 on its canvas, with 1, 20 and 80 classes. Torch in float32 is the reference
for both precisions. What a query looks for belongs to its index in the order of the best tokens, so
where two tokens score nearly the same and trade places, the answer of both really changes; random
weights have many such pairs. The number of queries whose index differs is also printed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from vl2_ros.export.engine_folder import fixed_axes, size_maps
from vl2_ros.export.onnx_export import AxisSize, export_onnx, make_example
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.graph_modules import build_graph, spec_of
from vl2_ros.model.graphs import GraphSpec
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM

WIDTH = 4096
CANVAS_HW, VALID_WIDTH = (800, 1344), 1333
#: Farther than this a box does not move by rounding.
_MOVED = 1e-3
SWIN_TINY = {
    "model_type": "swin",
    "embed_dim": 96,
    "depths": [2, 2, 6, 2],
    "num_heads": [3, 6, 12, 24],
    "window_size": 7,
    "drop_path_rate": 0.0,
}
#: Graph -> sizes of its open axis that are compared.
CASES: Mapping[str, tuple[tuple[str, int], ...]] = {
    "vision_encoder": (("tiles", 1), ("tiles", 5)),
    "detection_backbone": (("rows", 1),),
    "detection_decoder": (("classes", 1), ("classes", 20), ("classes", 80)),
}


def build_network() -> VisionLLM:
    """Make the released vision tower and decoder; of the LLM, which is not run, one thin layer."""
    torch.manual_seed(0)
    config = ModelConfig(
        vision={
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 336,
            "patch_size": 14,
        },
        llm={
            "vocab_size": 128,
            "hidden_size": WIDTH,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 32,
            "pad_token_id": 0,
        },
        use_region_encoder=False,
        detection=DetectionConfig.from_release({"backbone_config": SWIN_TINY}, WIDTH),
    )
    return VisionLLM(config, TokenIds.from_base(100)).eval()


def compare(name: str, precision: str, folder: Path) -> None:
    """Export one graph and print how far it is from torch at each size."""
    model = build_network()
    spec = spec_of(model, name)
    axes: dict[str, AxisSize] = fixed_axes(model) | {
        **{"rows": 1, "tiles": (1, 2, 13), "classes": (1, 4, 80)},
        **{"height": CANVAS_HW[0], "width": CANVAS_HW[1]},
    }
    axes |= size_maps(model, name, axes)
    given = [_make_inputs(spec, axes, *case) for case in CASES[name]]
    module = build_graph(model, name)
    with torch.inference_mode():
        wanted = [_time(lambda one=one: module(*one)) for one in given]
    path = folder / f"{name}.onnx"
    _, spent = _time(lambda: export_onnx(module, spec, axes, path, precision=precision))
    print(f"{name} {precision}: exported in {spent:.0f} s, {path.stat().st_size / 1e6:.0f} MB")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    for case, inputs, (expected, torch_s) in zip(CASES[name], given, wanted, strict=True):
        feed = {key: one.numpy() for key, one in zip(spec.input_names, inputs, strict=True)}
        outputs, onnx_s = _time(lambda feed=feed: session.run(None, feed))
        print(f"  {case[0]} {case[1]}: torch {torch_s:.2f} s, onnxruntime {onnx_s:.2f} s")
        _report(spec, outputs, [one.numpy() for one in expected])


def _time(run):
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


def _make_inputs(
    spec: GraphSpec, axes: Mapping[str, AxisSize], axis: str, size: int
) -> tuple[torch.Tensor, ...]:
    fixed = {key: one if isinstance(one, int) else one[1] for key, one in axes.items()}
    inputs = make_example(spec, fixed | {axis: size})
    if "pixel_mask" in spec.input_names:
        inputs[spec.input_names.index("pixel_mask")][:, :, VALID_WIDTH:] = False
    return inputs


def _report(spec: GraphSpec, outputs: list[np.ndarray], expected: list[np.ndarray]) -> None:
    if "pred_boxes" in spec.output_names:
        index = spec.output_names.index("pred_boxes")
        moved = np.abs(outputs[index] - expected[index]).max(-1) > _MOVED
        print(f"    {moved.sum()} of {moved.size} queries have another index in the order")
    for tensor, output, wanted in zip(spec.outputs, outputs, expected, strict=True):
        peak = np.abs(wanted[np.isfinite(wanted)]).max()
        print(f"    {tensor.name}: {np.abs(output - wanted).max() / peak:.1e}", flush=True)


def main() -> None:
    """Compare the requested graphs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", default="float32", choices=("float32", "float16"))
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    arguments = parser.parse_args()
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            compare(name, arguments.precision, Path(folder))


if __name__ == "__main__":
    main()

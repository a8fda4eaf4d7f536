"""Compare with transformers, in turns: Grounding DINO of the same size, and generation.

    python benchmarks/peers.py [--repeat 5] [--hw 480 640] [--only detection generation]

Random weights: what the networks find means nothing, what they multiply does. Detection is the
released size, Swin-T, 900 queries, six layers of each: `GroundingDinoForObjectDetection` with its
text encoder and a prompt of as many names, against the detection decoder on PyTorch and as the
engines that `vl2 engines build` makes, these without masks, float32 all. Generation is the embedded
language model: `generate` of `LlamaForCausalLM` against a session of both backends, the same prompt
and tokens.
One thread, processor time; a ratio is the median over the turns and above 1 where ours is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from engines.export_parity import SWIN_TINY, WIDTH, build_network

from vl2_ros.export.engine_folder import fixed_axes, size_maps
from vl2_ros.export.onnx_export import AxisSize, export_onnx
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.model.checkpoint.config import read_checkpoint_config
from vl2_ros.model.graph_modules import build_graph, spec_of
from vl2_ros.model.network import VisionLLM

NAMES = ("red mug", "bowl", "bottle", "figure")
SLOTS = 4
PROMPT_TOKENS, NEW_TOKENS = 96, 12


def race(runners: Mapping[str, Callable[[], Any]], repeat: int) -> dict[str, list[float]]:
    """Return processor seconds of every runner in each turn; the first turn warms up."""
    spent: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(repeat + 1):
        for name, run in runners.items():
            began = time.process_time()
            run()
            if turn:
                spent[name].append(time.process_time() - began)
    return spent


def report(spent: Mapping[str, list[float]], peer: str) -> dict[str, Any]:
    """Return the medians, and how many times longer the peer takes than each of the others."""
    return {
        "median_s": {name: round(statistics.median(one), 4) for name, one in spent.items()},
        "peer_over_ours": {
            name: round(statistics.median(a / b for a, b in zip(spent[peer], one, strict=True)), 2)
            for name, one in spent.items()
            if name != peer
        },
    }


def make_grounding_dino(image_hw: tuple[int, int]) -> Callable[[], Any]:
    """Return a call of transformers' network with random weights."""
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig

    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            **{key: value for key, value in SWIN_TINY.items() if key != "model_type"},
            out_features=["stage2", "stage3", "stage4"],
        )
    )
    network = GroundingDinoForObjectDetection(config).eval()
    # Begin, each name with the period behind it, end: what its tokenizer makes of the names.
    words = [word for name in NAMES for word in (*(2000 + len(w) for w in name.split()), 1012)]
    ids = torch.tensor([[101, *words, 102]])
    pixels = torch.randn(1, 3, *image_hw)
    mask = torch.ones(1, *image_hw, dtype=torch.int64)
    return lambda: network(
        pixel_values=pixels,
        pixel_mask=mask,
        input_ids=ids,
        token_type_ids=torch.zeros_like(ids),
        attention_mask=torch.ones_like(ids),
    )


def compare_detection(image_hw: tuple[int, int], repeat: int) -> dict[str, Any]:
    """Race the detection decoder with Grounding DINO."""
    model = build_network()
    axes = fixed_axes(model) | {"rows": 1, "height": image_hw[0], "width": image_hw[1]}
    axes |= {"classes": (1, len(NAMES), 80)} | size_maps(model, "detection_decoder", axes)
    pixels = torch.randn(1, 3, *image_hw)
    words = (
        torch.ones(1, *image_hw, dtype=torch.bool),
        torch.randn(1, len(NAMES), SLOTS, WIDTH),
        torch.ones(1, len(NAMES), dtype=torch.bool),
    )
    graphs = ("detection_backbone", "detection_decoder")
    backbone, decoder = (build_graph(model, graph) for graph in graphs)
    with tempfile.TemporaryDirectory() as folder:
        images, rest = (open_exported(model, graph, axes, Path(folder)) for graph in graphs)
    maps = spec_of(model, "detection_backbone").output_names
    names = spec_of(model, "detection_decoder").input_names[len(maps) :]
    feed = {name: one.numpy() for name, one in zip(names, words, strict=True)}

    def run_engines(pixels: np.ndarray) -> Any:
        found = images.run(None, {"pixels": pixels})
        # Grounding DINO makes no masks.
        options = onnxruntime.RunOptions()
        options.only_execute_path_to_fetches = True
        inputs = feed | dict(zip(maps, found, strict=True))
        return rest.run(["pred_logits", "pred_boxes"], inputs, options)

    runners = {
        "transformers": make_grounding_dino(image_hw),
        "torch": lambda: decoder(*backbone(pixels), *words),
        "onnxruntime": lambda: run_engines(pixels.numpy()),
    }
    with torch.inference_mode():
        return report(race(runners, repeat), "transformers")


def open_exported(
    model: VisionLLM, graph: str, axes: Mapping[str, AxisSize], folder: Path
) -> onnxruntime.InferenceSession:
    """Export a graph and load it on one thread."""
    path = folder / f"{graph}.onnx"
    export_onnx(build_graph(model, graph), spec_of(model, graph), axes, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)


def compare_generation(repeat: int) -> dict[str, Any]:
    """Race the embedded language model with `generate` of transformers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    pipelines = {
        name: load_pipeline(LoadOptions(device="cpu", backend=name, threads=1))
        for name in ("torch", "onnxruntime")
    }
    sizes = read_checkpoint_config(EMBEDDED_WEIGHTS).model.llm
    network = LlamaForCausalLM(LlamaConfig(**sizes)).eval()
    ids = np.arange(PROMPT_TOKENS, dtype=np.int64) % 50 + 3
    prompt = torch.from_numpy(ids)[None]

    def generate() -> None:
        network.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=NEW_TOKENS,
            min_new_tokens=NEW_TOKENS,
            do_sample=False,
        )

    def decode(name: str) -> None:
        session = pipelines[name].engines.language_model.open_session()
        step = session.feed(ids)
        for _ in range(NEW_TOKENS - 1):
            step = session.feed(np.array([3 + int(np.argmax(step.last_logits)) % 50]))

    runners = {
        "transformers": generate,
        "torch": lambda: decode("torch"),
        "onnxruntime": lambda: decode("onnxruntime"),
    }
    with torch.inference_mode():
        return report(race(runners, repeat), "transformers")


def main() -> None:
    """Run what is wanted and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--hw", type=int, nargs=2, default=(480, 640))
    parser.add_argument("--only", nargs="+", default=["detection", "generation"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    document: dict[str, Any] = {"load_average": round(os.getloadavg()[0], 1)}
    if "detection" in options.only:
        document["detection"] = compare_detection(tuple(options.hw), options.repeat)
    if "generation" in options.only:
        document["generation"] = compare_generation(options.repeat)
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

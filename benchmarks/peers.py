"""Compare with transformers, in turns: Grounding DINO of the same size, and generation.

    python benchmarks/peers.py [--repeat 5] [--hw 480 640] [--only detection generation]

Random weights: what the networks find means nothing, what they multiply does. Detection is the
released size, Swin-T, 900 queries, six layers of each: `GroundingDinoForObjectDetection` with its
text encoder and a prompt of as many names, against the detection decoder on PyTorch and as the
engines that `vl2 engines build` makes, these without masks, float32 all, and against the same
engines in the int8 form that the embedded model ships in. Generation is the embedded language
model: `generate` of `LlamaForCausalLM` against a session of both backends, the same prompt and
tokens. One thread, processor time; a ratio is the median over the turns and above 1 where ours is
faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from engines.export_parity import SWIN_TINY, WIDTH, build_network

from vl2_ros.export.engine_folder import fixed_axes, size_maps
from vl2_ros.export.onnx_export import export_onnx
from vl2_ros.export.quantized.fixed_scales import quantise_fixed
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.model.checkpoint.config import read_checkpoint_config
from vl2_ros.model.graph_modules import build_graph, spec_of
from vl2_ros.model.network import VisionLLM
from vl2_ros.runtime.onnxruntime_backend.engine import optimise_graph

NAMES = ("red mug", "bowl", "bottle", "figure")
SLOTS = 4
DETECTION = ("detection_backbone", "detection_decoder")
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
    pixels = torch.randn(1, 3, *image_hw)
    words = (
        torch.ones(1, *image_hw, dtype=torch.bool),
        torch.randn(1, len(NAMES), SLOTS, WIDTH),
        torch.ones(1, len(NAMES), dtype=torch.bool),
    )
    backbone, decoder = (build_graph(model, graph) for graph in DETECTION)
    with tempfile.TemporaryDirectory() as folder:
        engines = make_engines(model, image_hw, pixels.numpy(), words, Path(folder))
    runners = {
        "transformers": make_grounding_dino(image_hw),
        "torch": lambda: decoder(*backbone(pixels), *words),
        **engines,
    }
    with torch.inference_mode():
        return report(race(runners, repeat), "transformers")


def make_engines(
    model: VisionLLM,
    image_hw: tuple[int, int],
    pixels: np.ndarray,
    words: Sequence[torch.Tensor],
    folder: Path,
) -> dict[str, Callable[[], Any]]:
    """Export both graphs, round them, and return a call of each precision."""
    axes = fixed_axes(model) | {"height": image_hw[0], "width": image_hw[1]}
    axes |= {"rows": (1, 1, 8), "classes": (1, len(NAMES), 80)}
    axes |= size_maps(model, "detection_decoder", axes)
    inputs: dict[str, np.ndarray] = {"pixels": pixels}
    sessions: dict[str, list[onnxruntime.InferenceSession]] = {"float32": [], "int8": []}
    for graph in DETECTION:
        spec, path = spec_of(model, graph), folder / f"{graph}.onnx"
        export_onnx(build_graph(model, graph), spec, axes, path)
        folded, rounded = folder / "folded.onnx", folder / f"{graph}.int8.onnx"
        optimise_graph(path, folded)
        missing = [name for name in spec.input_names if name not in inputs]
        inputs |= {name: one.numpy() for name, one in zip(missing, words, strict=False)}
        call = {name: inputs[name] for name in spec.input_names}
        quantise_fixed(folded, rounded, [call])
        sessions["float32"].append(open_session(path))
        sessions["int8"].append(open_session(rounded))
        if graph == DETECTION[0]:
            found = sessions["float32"][0].run(spec.output_names, call)
            inputs |= dict(zip(spec.output_names, found, strict=True))
    maps, rest = (spec_of(model, graph) for graph in DETECTION)
    feed = {name: inputs[name] for name in rest.input_names}

    def run(images: onnxruntime.InferenceSession, decoder: onnxruntime.InferenceSession) -> Any:
        found = images.run(maps.output_names, {"pixels": pixels})
        # Grounding DINO makes no masks.
        options = onnxruntime.RunOptions()
        options.only_execute_path_to_fetches = True
        given = feed | dict(zip(maps.output_names, found, strict=True))
        return decoder.run(["pred_logits", "pred_boxes"], given, options)

    names = {"float32": "onnxruntime", "int8": "onnxruntime_int8"}
    return {names[precision]: partial(run, *pair) for precision, pair in sessions.items()}


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Load a graph on one thread."""
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

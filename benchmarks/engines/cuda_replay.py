"""Time the graphs of a model on a GPU, eagerly and by replay of CUDA graphs, side by side.

    python benchmarks/engines/cuda_replay.py [--weights FOLDER] [--repeat 50]

Times are medians of the wall time from passing numpy arrays to the outputs being ready.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from vl2_ros.loading import EMBEDDED_WEIGHTS, load_processing
from vl2_ros.runtime.engine import Engine, Engines, PerceptionDecoder, to_numpy
from vl2_ros.runtime.torch_backend.loading import load_torch_engines

CLASSES = 2


def median_ms(action: Callable[[], object], repeat: int) -> float:
    """Return the median time of an action and of what it left running, in milliseconds."""
    for _ in range(4):  # a shape is recorded in its second call
        action()
    times = []
    for _ in range(repeat):
        torch.cuda.synchronize()
        began = time.perf_counter()
        action()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - began) * 1e3)
    return round(statistics.median(times), 2)


def make_inputs(weights: Path) -> dict[str, dict[str, np.ndarray]]:
    """Make inputs of the sizes that the model's images come in."""
    settings = load_processing(weights)
    width = json.loads((weights / "config.json").read_text())["model"]["llm"]["hidden_size"]
    rng = np.random.default_rng(0)
    side, hw = settings.vision_side, (settings.decoder_short, settings.decoder_long)
    height, long_side = (size - size % settings.decoder_multiple for size in hw)
    link = (1, CLASSES, settings.num_embs, width)
    return {
        "vision_encoder": {"pixels": rng.normal(size=(1, 3, side, side)).astype(np.float32)},
        "detection_decoder": {
            "pixels": rng.normal(size=(1, 3, height, long_side)).astype(np.float32),
            "pixel_mask": np.ones((1, height, long_side), bool),
            "super_link": rng.normal(size=link).astype(np.float32),
            "class_mask": np.ones((1, CLASSES), bool),
        },
    }


def compare(
    eager: Engine | PerceptionDecoder,
    replayed: Engine | PerceptionDecoder,
    inputs: Mapping[str, np.ndarray],
    repeat: int,
) -> dict:
    """Time both and measure how far their outputs differ."""
    row = {
        "eager_ms": median_ms(lambda: eager.run(inputs), repeat),
        "replay_ms": median_ms(lambda: replayed.run(inputs), repeat),
    }
    wanted, got = eager.run(inputs), replayed.run(inputs)
    row["largest_difference"] = float(
        max(np.abs(to_numpy(got[name]) - to_numpy(wanted[name])).max() for name in wanted)
    )
    return row


def _find_engine(engines: Engines, name: str) -> Engine | PerceptionDecoder:
    return engines.decoders.get(name, engines.vision_encoder)


def main() -> None:
    """Run everything and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=EMBEDDED_WEIGHTS)
    parser.add_argument("--repeat", type=int, default=50)
    options = parser.parse_args()
    eager = load_torch_engines(options.weights, device="cuda")
    replayed = load_torch_engines(options.weights, device="cuda", cuda_graphs=True)
    document: dict[str, object] = {"device": torch.cuda.get_device_name()}
    for name, inputs in make_inputs(options.weights).items():
        document[name] = compare(
            *(_find_engine(engines, name) for engines in (eager, replayed)), inputs, options.repeat
        )
    document["peak_memory_mb"] = round(torch.cuda.max_memory_allocated() / 1e6)
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

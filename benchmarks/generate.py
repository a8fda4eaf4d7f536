"""Time image generation: loading, each denoising step, and what comes before and after them.

    python benchmarks/generate.py [--weights FOLDER] [--edit] [--steps 20] [--scheduler dpm++]
                                  [--size 512] [--device cpu] [--cuda-graphs]

Without a folder a tiny network with random weights stands in, which times the loop itself. States
are random: the images mean nothing, their cost does.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np


def save_tiny(folder: Path) -> Path:
    """Write the smallest checkpoint that generates and edits images."""
    from vl2_ros.model.checkpoint.folder import save_model
    from vl2_ros.model.config import ModelConfig
    from vl2_ros.model.language.tokens import TokenIds
    from vl2_ros.model.network import VisionLLM

    config = ModelConfig.tiny(with_detection=False, with_images=True)
    save_model(VisionLLM(config, TokenIds.from_base(64)), folder)
    return folder


def time_image(generator, states, options, frame) -> dict[str, float]:
    """Return seconds to the first step, of the median step, and after the last one."""
    stamps = [time.perf_counter()]
    for _ in generator.generate(states, options, frame):
        stamps.append(time.perf_counter())
    ended = time.perf_counter()
    steps = [after - before for before, after in zip(stamps[1:], stamps[2:], strict=False)]
    return {
        "to_first_step_s": round(stamps[1] - stamps[0], 4),
        "step_s": round(statistics.median(steps), 4) if steps else 0.0,
        "slowest_step_s": round(max(steps, default=0.0), 4),
        "after_last_step_s": round(ended - stamps[-1], 4),
        "image_s": round(ended - stamps[0], 3),
        "calls": len(stamps) - 1,
    }


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--edit", action="store_true")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--scheduler", default="")
    parser.add_argument("--size", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cuda-graphs", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    """Make two images and print one JSON document."""
    given = parse_arguments()
    import torch

    torch.set_num_threads(given.threads)
    from vl2_ros.model.checkpoint.config import read_checkpoint_config
    from vl2_ros.runtime.torch_backend.loading import load_torch_engines
    from vl2_ros.structures import Frame, ImageOptions, Route

    with tempfile.TemporaryDirectory() as folder:
        weights = given.weights or save_tiny(Path(folder))
        config = read_checkpoint_config(weights).model
        engines = load_torch_engines(weights, device=given.device, cuda_graphs=given.cuda_graphs)
        generator = engines.image_generators[Route.EDIT if given.edit else Route.GENERATE]
        rng = np.random.default_rng(0)
        states = rng.normal(size=(config.num_embs_gen, config.llm_width)).astype(np.float32)
        frame = Frame(rng.integers(0, 256, (512, 512, 3), dtype=np.uint8))
        options = ImageOptions(
            seed=0,
            steps=given.steps,
            scheduler=given.scheduler,
            size_hw=(given.size, given.size) if given.size else None,
        )
        # The first image loads the part and warms the libraries up.
        images = [time_image(generator, states, options, frame) for _ in range(2)]
    document = {
        "device": given.device,
        "threads": given.threads,
        "route": "edit" if given.edit else "draw",
        "first": images[0],
        "second": images[1],
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    if torch.cuda.is_available():
        document["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 1e6)
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

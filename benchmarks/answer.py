"""Time loading, a generated answer, direct detection and each stage, side by side in one run.

    python benchmarks/answer.py [--weights FOLDER] [--backend auto] [--repeat 20] [--threads 2]

Ratios compare within the run; the seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from pathlib import Path

import numpy as np

FRAME_HW = (480, 640)
SENTENCE = "find the red mug and the bowl"
NAMES = ("red mug", "bowl")


def median_s(action, repeat: int) -> float:
    """Return the median wall time of `action` in seconds, the first call excluded."""
    action()
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    """Run everything once and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2, help="Of torch; others take all cores.")
    options = parser.parse_args()

    began = time.perf_counter()
    if options.backend == "torch":
        import torch

        torch.set_num_threads(options.threads)
    from vl2_ros.load_options import LoadOptions
    from vl2_ros.loading import load_pipeline
    from vl2_ros.structures import Command, Frame

    pipeline = load_pipeline(LoadOptions(options.weights or "", "cpu", options.backend))
    load_s = time.perf_counter() - began
    rng = np.random.default_rng(0)
    frame = Frame(rng.integers(0, 256, (*FRAME_HW, 3), dtype=np.uint8))
    command = Command(SENTENCE)
    answer_s = median_s(lambda: pipeline.answer(frame, command), options.repeat)
    direct_s = median_s(lambda: pipeline.detect(frame, NAMES), options.repeat)
    result = pipeline.answer(frame, command)
    document = {
        "backend": pipeline.info.backend,
        "threads": options.threads,
        "load_s": round(load_s, 2),
        "answer_s": round(answer_s, 4),
        "direct_s": round(direct_s, 4),
        "direct_over_answer": round(direct_s / answer_s, 3),
        "stage_share": {
            stage: round(spent / sum(result.stage_ms.values()), 3)
            for stage, spent in result.stage_ms.items()
        },
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

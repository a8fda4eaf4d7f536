"""Compare a generated answer with direct detection on simulator frames, in turns, and count both.

    python benchmarks/answer.py [--weights FOLDER] [--backend auto] [--frames 20]
        [--threads 1] [--sentence "find the red mug"]

Times are processor time of all threads, which other programs change least; the ratio is the median
over the frames. Calls, GFLOP and weights read are counted on PyTorch, for the first frame, and are
the same on every backend. One JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from dataclasses import replace
from pathlib import Path

from answers.turns import ratio, render_frames, take_turns


def main() -> None:
    """Run everything once and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sentence", default="find the red mug and the bowl")
    parser.add_argument("--names", nargs="+", default=["red mug", "bowl"])
    options = parser.parse_args()

    frames = render_frames(options.frames)
    from vl2_ros.load_options import LoadOptions
    from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
    from vl2_ros.structures import Command

    began = time.perf_counter()
    pipeline = load_pipeline(
        LoadOptions(
            options.weights or "",
            "cpu",
            options.backend,
            threads=options.threads,
            precision=options.precision,
        )
    )
    load_s = time.perf_counter() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    command = Command(options.sentence)
    spent = take_turns(
        {
            # Each a frame of its own: nothing that is kept with one serves the other.
            "answer": lambda frame: pipeline.answer(replace(frame), command),
            # At its own default it returns 100 masks of any score.
            "direct": lambda frame: pipeline.detect(
                replace(frame),
                options.names,
                score_threshold=command.score_threshold,
                max_instances=command.max_instances,
            ),
        },
        frames,
    )
    stage_ms = [pipeline.answer(replace(frame), command).stage_ms for frame in frames]
    total_ms = sum(sum(one.values()) for one in stage_ms)

    from answers.counting import CountedModel, find_weights_mb

    counted = CountedModel(str(options.weights or ""))
    weights_mb = find_weights_mb(options.weights or EMBEDDED_WEIGHTS)
    counted.pipeline.answer(frames[0], command)
    answer_counts = counted.report(weights_mb)
    counted.reset()
    counted.pipeline.detect(replace(frames[0]), options.names)
    document = {
        "backend": pipeline.info.backend,
        "threads": options.threads,
        "load_average": round(os.getloadavg()[0], 1),
        "load_s": round(load_s, 2),
        "answer_ms": round(spent["answer"].median_ms, 2),
        "direct_ms": round(spent["direct"].median_ms, 2),
        "direct_over_answer": round(ratio(spent["direct"], spent["answer"]), 3),
        "stage_share": {
            stage: round(sum(one.get(stage, 0.0) for one in stage_ms) / total_ms, 3)
            for stage in stage_ms[0]
        },
        "answer": answer_counts,
        "direct": counted.report(weights_mb),
        "memory_after_loading_mb": round(peak_mb),
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

"""Measure what tracking costs a frame, with moving objects of one phrase.

    python benchmarks/tracks.py [--objects 50] [--frames 500]

Also prints how it compares with the pairwise overlaps of the same boxes, which do not depend on how
fast the machine is, and how many ids were used.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from vl2_ros.geometry import box_iou
from vl2_ros.structures import Branch, Detections, Route, TrackingOptions
from vl2_ros.tracking.tracks import Tracks, track_branches

WIDTH, HEIGHT, SIDE = 1280.0, 720.0, 60.0
PERIOD_NS = 33_000_000


def make_branches(objects: int, frames: int) -> list[Branch]:
    """Move boxes along straight lines that bounce off the borders; each is missed now and then."""
    rng = np.random.default_rng(0)
    size = np.array([WIDTH, HEIGHT])
    starts, speeds = rng.uniform(0, size, (objects, 2)), rng.uniform(-4, 4, (objects, 2))
    branches = []
    for frame in range(frames):
        centers = size - np.abs((starts + speeds * frame) % (2 * size) - size)
        centers = centers[rng.permutation(np.flatnonzero(rng.random(objects) > 0.02))]
        count = len(centers)
        found = Detections(
            np.concatenate([centers - SIDE / 2, centers + SIDE / 2], axis=1).astype(np.float32),
            np.full(count, 0.9, np.float32),
            np.zeros(count, np.int64),
            ("thing",) * count,
        )
        branches.append(Branch(Route.DETECT, ("thing",), found))
    return branches


def main() -> None:
    """Track, measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=50)
    parser.add_argument("--frames", type=int, default=500)
    options = parser.parse_args()
    tracks: Tracks | None = None
    spent_ms, overlaps_ms = [], []
    for index, branch in enumerate(make_branches(options.objects, options.frames)):
        began_s = time.perf_counter()
        _, tracks = track_branches([branch], tracks, (index + 1) * PERIOD_NS, TrackingOptions())
        spent_ms.append((time.perf_counter() - began_s) * 1e3)
        boxes = branch.detections.boxes_xyxy
        began_s = time.perf_counter()
        box_iou(boxes, boxes)
        overlaps_ms.append((time.perf_counter() - began_s) * 1e3)
    # The first frame imports scipy.
    median_ms = float(np.median(spent_ms[1:]))
    document = {
        "objects": options.objects,
        "median_ms": round(median_ms, 3),
        "p95_ms": round(float(np.percentile(spent_ms[1:], 95)), 3),
        "first_ms": round(spent_ms[0], 1),
        "times_pairwise_overlaps": round(median_ms / float(np.median(overlaps_ms)), 1),
        "ids": tracks.next_id - 1 if tracks else 0,
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

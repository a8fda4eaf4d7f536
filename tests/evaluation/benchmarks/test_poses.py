from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.benchmarks.fakes import (
    FakePipeline,
    box_row,
    detections,
    write_coco,
)
from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.run import run_benchmark
from vl2_ros.evaluation.benchmarks.table import BENCHMARKS
from vl2_ros.evaluation.benchmarks.task import BenchmarkData
from vl2_ros.structures import Detections, Keypoints

NAMES = ["antenna", "left_wing", "right_wing"]
BOX = (10, 10, 30, 30)
POINTS = [(12.0, 12.0), (20.0, 20.0), (28.0, 28.0)]


def flatten(points: list[tuple[float, float]], flags: tuple[int, ...] = (2, 2, 2)) -> list[float]:
    return [v for (x, y), flag in zip(points, flags, strict=True) for v in (x, y, flag)]


def write_insects(folder: Path, rows: list[dict[str, Any]], images: int = 2) -> Path:
    categories = [{"id": 3, "name": "fly", "keypoints": NAMES}]
    return write_coco(folder, rows, images, categories=categories)


def poses(*instances: tuple[float, list[tuple[float, float]]]) -> Detections:
    points = np.array([xy for _, xy in instances], np.float32).reshape(-1, 3, 2)
    scores = np.array([score for score, _ in instances], np.float32)
    keypoints = Keypoints(tuple(NAMES), points, np.repeat(scores[:, None], 3, axis=1))
    boxes = [(*xy.min(axis=0), *xy.max(axis=0)) for xy in points]
    return detections(boxes, scores, [0] * len(scores), ["fly"], keypoints=keypoints)


def move(points: list[tuple[float, float]], dx: float) -> list[tuple[float, float]]:
    return [(x + dx, y) for x, y in points]


def test_any_skeleton_by_hand(tmp_path: Path) -> None:
    rows = [
        box_row(1, 1, 3, BOX, keypoints=flatten(POINTS)),
        box_row(2, 2, 3, BOX, keypoints=flatten(POINTS)),
    ]
    found = {1: poses((0.9, POINTS)), 2: poses((0.8, move(POINTS, 1.0)))}
    pipeline = FakePipeline(pose=lambda value, asked: found[value])
    outcome = run_benchmark(
        BENCHMARKS["coco-keypoints"], pipeline, BenchmarkData((write_insects(tmp_path, rows),))
    )
    assert pipeline.asked[0] == ("pose", (("fly",), tuple(NAMES)))
    # Falloffs .026, .025, .025; area 400; every point is off by one pixel in image 2.
    similarity = np.mean([math.exp(-1 / (2 * 400 * (2 * s) ** 2)) for s in (0.026, 0.025, 0.025)])
    thresholds = np.linspace(0.5, 0.95, 10)
    # Both right: 1. One right: precision 1 up to a recall of a half, which 51 of 101 points are.
    expected = np.mean([1.0 if similarity >= one else 51 / 101 for one in thresholds])
    assert 51 / 101 < expected < 1
    assert outcome.scores["keypoint_ap"] == pytest.approx(expected)
    assert outcome.scores["keypoint_ap50"] == outcome.scores["pck"] == pytest.approx(1.0)


def test_crowds_are_split_by_their_index(tmp_path: Path) -> None:
    names = [
        f"{side} {one}" for one in ("shoulder", "elbow", "wrist") for side in ("left", "right")
    ]
    names += [f"{side} {one}" for one in ("hip", "knee", "ankle") for side in ("left", "right")]
    names += ["head", "neck"]
    points = [(10.0 + number, 10.0 + number) for number in range(14)]
    flat = [v for x, y in points for v in (x, y, 2)]
    rows = [box_row(image, image, 3, BOX, keypoints=flat) for image in (1, 2, 3)]
    categories = [{"id": 3, "name": "person", "keypoints": names}]
    path = write_coco(tmp_path, rows, 3, categories=categories)
    document = json.loads(path.read_text())
    for image, index in zip(document["images"], (0.0, 0.5, 0.9), strict=True):
        image["crowdIndex"] = index
    path.write_text(json.dumps(document))

    def find(value: int, asked: Any) -> Detections:
        # Nothing is right in the most crowded image.
        xy = np.array([points], np.float32) + (25 if value == 3 else 0)
        keypoints = Keypoints(tuple(names), xy, np.full((1, 14), 0.5, np.float32))
        return detections([BOX], [0.5], [0], ["person"], keypoints=keypoints)

    scores = run_benchmark(
        BENCHMARKS["crowdpose"], FakePipeline(pose=find), BenchmarkData((path,))
    ).scores
    assert [scores[f"keypoint_ap_{one}"] for one in ("easy", "medium", "hard")] == [1.0, 1.0, 0.0]
    assert 0.5 < scores["keypoint_ap"] < 1.0


def test_images_that_do_not_say_how_crowded_they_are_are_refused(tmp_path: Path) -> None:
    path = write_insects(tmp_path, [box_row(1, 1, 3, BOX, keypoints=flatten(POINTS))])
    with pytest.raises(InputError, match="no crowdIndex.*coco-keypoints"):
        run_benchmark(BENCHMARKS["crowdpose"], FakePipeline(), BenchmarkData((path,)))


def test_pck_by_hand(tmp_path: Path) -> None:
    # The second keypoint of image 2 is not labelled. 0.2 of a box of 20 is 4 pixels.
    rows = [
        box_row(1, 1, 3, BOX, keypoints=flatten(POINTS)),
        box_row(2, 2, 3, BOX, keypoints=flatten(POINTS, (2, 0, 1))),
        box_row(3, 3, 3, (0, 0, 20, 20), keypoints=flatten(POINTS)),
        box_row(4, 3, 3, (40, 20, 60, 40), keypoints=flatten(move(POINTS, 30.0))),
        box_row(5, 4, 3, BOX, keypoints=flatten(POINTS)),
        box_row(6, 4, 3, BOX, keypoints=flatten(POINTS), iscrowd=1),
    ]
    far = [(12.0, 12.0), (20.0, 24.5), (28.0, 31.5)]
    found = {
        # The best score counts, however good the others.
        1: poses((0.9, far), (0.5, POINTS)),
        2: poses((0.9, far)),
        # Of several instances each is compared with what overlaps it: nothing overlaps the first.
        3: poses((0.9, move(POINTS, 33.0)), (0.8, move(POINTS, 20.0))),
        4: poses(),
    }
    pipeline = FakePipeline(pose=lambda value, asked: found[value])
    path = write_insects(tmp_path, rows, 4)
    outcome = run_benchmark(BENCHMARKS["pck"], pipeline, BenchmarkData((path,)))
    first = (1 + 1 + 0 + 1 + 0) / 5
    second = (0 + 0 + 1 + 0) / 4
    third = (1 + 1 + 0 + 1 + 0) / 5
    assert outcome.scores["pck"] == pytest.approx((first + second + third) / 3)


def test_keypoints_of_a_wrong_length_are_named(tmp_path: Path) -> None:
    rows = [
        box_row(1, 1, 3, BOX, keypoints=flatten(POINTS)),
        box_row(2, 1, 3, BOX, keypoints=[1.0, 2.0, 2]),
        box_row(3, 1, 3, BOX, keypoints=[1.0, 2.0]),
    ]
    pipeline = FakePipeline(pose=lambda value, asked: poses((0.9, POINTS)))
    path = write_insects(tmp_path, rows, 1)
    outcome = run_benchmark(BENCHMARKS["coco-keypoints"], pipeline, BenchmarkData((path,)))
    assert outcome.scores["keypoint_ap"] == pytest.approx(1.0)
    assert list(outcome.bad) == ["annotation 3", "annotation 2"]


def test_a_file_without_one_skeleton_is_refused(tmp_path: Path) -> None:
    path = write_coco(tmp_path, [box_row(1, 1, 5, BOX)])
    with pytest.raises(InputError, match="name 0 lists of keypoints"):
        run_benchmark(BENCHMARKS["pck"], FakePipeline(), BenchmarkData((path,)))

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.evaluation.benchmarks.fakes import (
    FakePipeline,
    box_row,
    detections,
    rectangle,
    write_coco,
)
from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.run import RunOptions, run_benchmark
from vl2_ros.evaluation.benchmarks.table import BENCHMARKS
from vl2_ros.evaluation.benchmarks.task import BenchmarkData, read_frame
from vl2_ros.runtime.files.weights_identity import PENDING
from vl2_ros.structures import Detections

BOXES, MASKS = BENCHMARKS["coco-bbox"], BENCHMARKS["coco-segm"]
MUG, BOWL, SECOND = (5, 5, 25, 25), (30, 10, 50, 30), (10, 10, 30, 30)


def write_set(folder: Path) -> Path:
    rows = [box_row(1, 1, 5, MUG), box_row(2, 1, 9, BOWL), box_row(3, 2, 5, SECOND)]
    return write_coco(folder, rows)


def find_one_wrong(value: int, names: tuple[str, ...]) -> Detections:
    """Find everything in image 1, and in image 2 something else with a higher score."""
    if value == 1:
        masks = [rectangle(*MUG), rectangle(*BOWL)]
        return detections([MUG, BOWL], [0.8, 0.7], [0, 1], names, masks)
    wrong = (0, 0, 8, 8)
    masks = [rectangle(*wrong), rectangle(*SECOND)]
    return detections([wrong, SECOND], [0.9, 0.5], [0, 0], names, masks)


def test_average_precision_by_hand(tmp_path: Path) -> None:
    pipeline = FakePipeline(detect=find_one_wrong)
    data = BenchmarkData((write_set(tmp_path),))
    outcome = run_benchmark(MASKS, pipeline, data)
    # Mugs by score: wrong, right, right of two; precision 1/2 up to recall 1/2, then 2/3, of which
    # the envelope is 2/3 at all recalls. The bowl is found.
    expected = (2 / 3 + 1) / 2
    assert outcome.scores == pytest.approx(
        {f"{kind}_{ap}": expected for kind in ("box", "mask") for ap in ("ap", "ap50", "ap75")}
    )
    assert (outcome.records, outcome.bad) == (2, {})
    assert pipeline.asked == [("detect", ("mug", "bowl"))] * 2


def test_random_boxes_score_as_with_pycocotools(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def draw() -> tuple[int, int, int, int]:
        x, y = rng.integers(0, 40), rng.integers(0, 25)
        return int(x), int(y), int(x + rng.integers(5, 20)), int(y + rng.integers(5, 15))

    truth = [
        box_row(number, 1 + number % 4, int(rng.choice([5, 9])), draw()) for number in range(1, 31)
    ]
    path = write_coco(tmp_path, truth, images=4)
    found = {}
    for image in range(1, 5):
        near = [row for row in truth if row["image_id"] == image]
        boxes, ids = [], []
        for row in near:
            x, y, w, h = row["bbox"]
            dx, dy = rng.integers(-1, 2, 2)
            boxes.append((x + dx, y + dy, x + w + dx, y + h + dy))
            ids.append([5, 9].index(row["category_id"]))
        order = np.argsort(-(scores := rng.random(len(boxes))))
        found[image] = detections(
            np.array(boxes)[order], scores[order], np.array(ids)[order], ("mug", "bowl")
        )
    out = tmp_path / "answers.jsonl"
    outcome = run_benchmark(
        BOXES,
        FakePipeline(detect=lambda value, names: found[value]),
        BenchmarkData((path,)),
        RunOptions(out=out),
    )
    rows = [
        row
        for line in out.read_text().splitlines()[1:]
        for row in json.loads(line)["answer"]["rows"]
    ]
    coco = COCO(str(path))
    reference = COCOeval(coco, coco.loadRes(rows), "bbox")
    reference.evaluate()
    reference.accumulate()
    reference.summarize()
    assert 0.1 < outcome.scores["box_ap"] < 0.9
    numbers = [outcome.scores[name] for name in ("box_ap", "box_ap50", "box_ap75")]
    assert numbers == pytest.approx(list(reference.stats[:3]), abs=1e-12)


def test_a_model_of_few_names_is_asked_in_several_passes(tmp_path: Path) -> None:
    def find(value: int, names: tuple[str, ...]) -> Detections:
        everything = find_one_wrong(value, ("mug", "bowl"))
        kept = everything[[label in names for label in everything.labels]]
        ids = [names.index(label) for label in kept.labels]
        masks = None if kept.masks is None else list(kept.masks)
        return detections(kept.boxes_xyxy, kept.scores, ids, names, masks)

    data = BenchmarkData((write_set(tmp_path),))
    at_once = run_benchmark(MASKS, FakePipeline(detect=find_one_wrong), data)
    pipeline = FakePipeline(max_classes=1, detect=find)
    parts = run_benchmark(MASKS, pipeline, data)
    assert parts.scores == at_once.scores
    assert [asked for _, asked in pipeline.asked] == [("mug",), ("bowl",)] * 2


def test_an_image_without_a_mask_counts_for_boxes_alone(tmp_path: Path) -> None:
    bare = box_row(2, 1, 9, BOWL)
    del bare["segmentation"]
    path = write_coco(tmp_path, [box_row(1, 1, 5, MUG), bare, box_row(3, 2, 5, SECOND)])
    data = BenchmarkData((path,))
    outcome = run_benchmark(MASKS, FakePipeline(detect=find_one_wrong), data)
    assert outcome.scores["box_ap"] == pytest.approx((2 / 3 + 1) / 2)
    # Of image 2 alone: wrong, then right, of one.
    assert outcome.scores["mask_ap"] == pytest.approx(1 / 2)
    assert outcome.bad == {"annotation 2": "it has no mask; its image counts for boxes alone"}
    first = run_benchmark(MASKS, FakePipeline(detect=find_one_wrong), data, RunOptions(limit=1))
    assert set(first.scores) == {"box_ap", "box_ap50", "box_ap75"}


def test_bad_records_are_counted_and_named(tmp_path: Path) -> None:
    broken_runs = {"size": [3, 3], "counts": [0, 9]}
    rows = [
        box_row(1, 1, 5, MUG),
        box_row(2, 1, 9, BOWL),
        box_row(3, 2, 5, SECOND),
        box_row(4, 1, 77, MUG),
        box_row(5, 8, 5, MUG),
        box_row(6, 1, 5, (5, 5, 5, 9)),
        box_row(7, 1, 5, MUG, segmentation=broken_runs),
        box_row(8, 1, 5, MUG, segmentation=[[1, 2, 3]]),
        box_row(9, 3, 5, MUG),
        box_row(10, 4, 5, MUG),
        "no row",
    ]
    path = write_coco(tmp_path, rows, images=5)
    (tmp_path / "images" / "3.png").unlink()
    whole = (tmp_path / "images" / "4.png").read_bytes()
    (tmp_path / "images" / "4.png").write_bytes(whole[: len(whole) // 2])
    document = json.loads(path.read_text())
    document["images"] += [document["images"][0], {"id": 9}]
    document["images"][4]["width"] = 61
    path.write_text(json.dumps(document))

    def find(value: int, names: tuple[str, ...]) -> Detections:
        return find_one_wrong(value, names)

    outcome = run_benchmark(MASKS, FakePipeline(detect=find), BenchmarkData((path,)))
    assert outcome.records == 2
    assert outcome.scores["box_ap50"] == pytest.approx((2 / 3 + 1) / 2)
    reasons = {
        "annotation 4": "category 77",
        "annotation 5": "image 8",
        "annotation 6": "no area",
        "annotation 7": r"mask of \(3, 3\)",
        "annotation 8": "3 points",
        "annotation 10": "JSON|object",
        "image 3 3.png": "cannot read",
        "image 4 4.png": "truncated|damaged",
        "image 5 5.png": "60x40, labels for 61x40",
        "images[5]": "twice",
        "images[6]": "file_name",
    }
    assert set(outcome.bad) == set(reasons)
    for name, reason in reasons.items():
        assert re.search(reason, outcome.bad[name]), (name, outcome.bad[name])


def test_annotations_may_be_of_stored_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(256, size=(6, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_frame(tmp_path, "turned.png", (6, 9)).rgb, pixels)
    upright = np.rot90(pixels, -1)
    np.testing.assert_array_equal(read_frame(tmp_path, "turned.png", (9, 6)).rgb, upright)
    for name in ("../turned.png", str(tmp_path / "turned.png")):
        with pytest.raises(InputError, match="outside of"):
            read_frame(tmp_path, name)


def test_no_usable_record_is_an_error_that_names_the_first(tmp_path: Path) -> None:
    path = write_set(tmp_path)
    for image in (tmp_path / "images").iterdir():
        image.unlink()
    with pytest.raises(InputError, match=r"none of the 2 records.*image 1 1.png: cannot read"):
        run_benchmark(BOXES, FakePipeline(detect=find_one_wrong), BenchmarkData((path,)))


def test_answers_are_kept_under_the_identity_of_the_weights(tmp_path: Path) -> None:
    """Large weights are still being hashed when the first image is there."""
    pipeline = FakePipeline(detect=find_one_wrong)
    known = pipeline.info
    seen = [replace(known, identity=PENDING)] * 2

    class Hashing:
        processing, detect = pipeline.processing, pipeline.detect

        @property
        def info(self):
            return seen.pop() if seen else known

    options = RunOptions(out=tmp_path / "answers.jsonl")
    run_benchmark(BOXES, Hashing(), BenchmarkData((write_set(tmp_path),)), options)
    header = json.loads(options.out.read_text().splitlines()[0])
    assert (header["evaluation"], header["model"]) == ("coco-bbox", "0123")
    assert seen == []

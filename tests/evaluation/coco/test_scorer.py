from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.evaluation.coco.scorer import CocoScorer, GroundTruth
from vl2_ros.structures import Detections, Masks

HEIGHT, WIDTH = 120, 160


def random_truth(rng, count=5, classes=3):
    corners = rng.integers(0, 80, size=(count, 2))
    sides = rng.integers(12, 38, size=(count, 2))
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    masks = np.zeros((count, HEIGHT, WIDTH), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
        mask[y1:y2, x1:x2] = True
    return GroundTruth(boxes, rng.integers(classes, size=count), masks)


def found_from(truth, *, shift=0.0, classes=None, keep=None, mask_shift=0):
    order = np.arange(len(truth.class_ids))[:keep]
    ids = truth.class_ids if classes is None else classes
    return Detections(
        boxes_xyxy=truth.boxes_xyxy[order] + np.float32(shift),
        scores=np.linspace(0.9, 0.5, len(order), dtype=np.float32),
        class_ids=ids[order].astype(np.int64),
        labels=("x",) * len(order),
        masks=Masks.cut(np.roll(truth.masks[order], mask_shift, axis=2)),
    )


def score(make_found, frames=12):
    rng = np.random.default_rng(0)
    scorer = CocoScorer(("a", "b", "c"))
    for _ in range(frames):
        truth = random_truth(rng)
        scorer.add(truth, make_found(truth))
    return scorer


def test_the_truth_itself_scores_one():
    scorer = score(found_from)
    for value in (scorer.boxes(), scorer.masks(), scorer.boxes_of_any_class()):
        assert value.ap == pytest.approx(1.0) and value.ap50 == pytest.approx(1.0)


def test_slightly_moved_boxes_keep_ap50_and_lose_ap():
    boxes = score(lambda truth: found_from(truth, shift=1.5)).boxes()
    assert boxes.ap50 == pytest.approx(1.0)
    assert 0.3 < boxes.ap < 0.9


def test_far_boxes_and_masks_score_nothing():
    scorer = score(lambda truth: found_from(truth, shift=60.0, mask_shift=60))
    assert scorer.boxes().ap50 < 0.05 and scorer.masks().ap50 < 0.05


def test_boxes_and_masks_are_scored_apart():
    scorer = score(lambda truth: found_from(truth, mask_shift=80))
    assert scorer.boxes().ap == pytest.approx(1.0)
    assert scorer.masks().ap50 < 0.05


def test_wrong_names_count_unless_names_are_ignored():
    scorer = score(lambda truth: found_from(truth, classes=(truth.class_ids + 1) % 3))
    assert scorer.boxes().ap50 < 0.2
    assert scorer.boxes_of_any_class().ap50 == pytest.approx(1.0)


def test_missed_objects_lower_the_score():
    boxes = score(lambda truth: found_from(truth, keep=3)).boxes()
    assert 0.4 < boxes.ap50 < 0.8


def test_nothing_found_or_nothing_there_is_zero():
    scorer = score(lambda truth: Detections.empty())
    assert scorer.boxes().ap == scorer.masks().ap == 0.0
    assert CocoScorer(("a",)).boxes().ap50 == 0.0


def test_scoring_twice_gives_the_same():
    scorer = score(lambda truth: found_from(truth, shift=2.0))
    assert scorer.boxes() == scorer.boxes()


def test_unknown_class_ids_and_uneven_arrays_are_refused():
    truth = random_truth(np.random.default_rng(1))
    with pytest.raises(InputError, match="class ids must lie in 0..0"):
        CocoScorer(("a",)).add(
            GroundTruth(truth.boxes_xyxy, truth.class_ids + 1), found_from(truth)
        )
    with pytest.raises(ShapeError, match="boxes_xyxy"):
        GroundTruth(np.zeros((2, 4), np.float32), np.zeros(3, np.int64))


def test_agrees_with_pycocotools():
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(4)
    scorer = CocoScorer(("a", "b", "c"))
    annotations, results = [], []
    for image in range(1, 9):
        truth = random_truth(rng)
        found = found_from(truth, shift=rng.uniform(0, 5), keep=4)
        scorer.add(truth, found)
        for box, label in zip(truth.boxes_xyxy, truth.class_ids, strict=True):
            row = as_row(image, label, box)
            area = row["bbox"][2] * row["bbox"][3]
            annotations.append(row | {"id": len(annotations) + 1, "iscrowd": 0, "area": area})
        for index, (box, value, _) in enumerate(found):
            results.append(as_row(image, found.class_ids[index], box) | {"score": value})
    expected = coco.COCO()
    expected.dataset = {
        "info": {},
        "images": [{"id": image} for image in range(1, 9)],
        "categories": [{"id": 1}, {"id": 2}, {"id": 3}],
        "annotations": annotations,
    }
    expected.createIndex()
    evaluation = COCOeval(expected, expected.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert scorer.boxes().ap == pytest.approx(evaluation.stats[0], abs=1e-9)
    assert scorer.boxes().ap50 == pytest.approx(evaluation.stats[1], abs=1e-9)


def as_row(image, label, box):
    x1, y1, x2, y2 = map(float, box)
    return {"image_id": image, "category_id": int(label) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}

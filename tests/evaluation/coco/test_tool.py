"""Compare COCO numbers with published ones; their sources are in SOURCES.md beside the data."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vl2_ros.errors import InputError
from vl2_ros.evaluation.coco.tool import CocoKind, score_coco
from vl2_ros.processing.sigmas import COCO_SIGMAS

#: Printed by the COCO API for its own example, in the order of its twelve numbers.
PUBLISHED = {
    "bbox": (0.505, 0.697, 0.573, 0.586, 0.519, 0.501, 0.387, 0.594, 0.595, 0.640, 0.566, 0.564),
    "segm": (0.320, 0.562, 0.299, 0.387, 0.310, 0.327, 0.268, 0.415, 0.417, 0.469, 0.377, 0.381),
}
TWELVE = (
    *("AP_all", "AP_50", "AP_75", "AP_small", "AP_medium", "AP_large"),
    *("AR_all", "AR_second", "AR_third", "AR_small", "AR_medium", "AR_large"),
)


@pytest.mark.parametrize("kind", [CocoKind.BOXES, CocoKind.MASKS], ids=lambda kind: kind.value)
def test_boxes_and_masks_of_the_coco_example(eval_reference: Path, kind: CocoKind) -> None:
    results = eval_reference / f"instances_val2014_fake{kind.value}100_results.json"
    scores = score_coco(eval_reference / "instances_val2014_100.json", results, kind)
    numbers = [scores.by_name[name] for name in TWELVE]
    assert numbers == pytest.approx(PUBLISHED[kind.value], abs=0.0005)
    assert (scores.ap, scores.ap50, scores.ap75) == tuple(numbers[:3])


def test_published_numbers_are_those_of_the_file(eval_reference: Path) -> None:
    text = (eval_reference / "val2014_fake_eval_res.txt").read_text()
    for numbers in PUBLISHED.values():
        assert all(f"{number:.3f}" in text for number in numbers)


def test_keypoints_of_people(eval_reference: Path) -> None:
    files = eval_reference / "keypoints_gt.json", eval_reference / "keypoints_dt.json"
    scores = score_coco(*files, CocoKind.KEYPOINTS)
    assert (scores.ap, scores.ap50, scores.ap75) == pytest.approx(
        (0.5048844884488449, 0.7227722772277227, 0.6336633663366337), abs=1e-12
    )
    medium_large = (scores.by_name["AP_medium"], scores.by_name["AP_large"])
    assert medium_large == pytest.approx((0.46633663366336636, 0.7504950495049505), abs=1e-12)
    # The other library, which counts on its own.
    truth = COCO(str(files[0]))
    evaluation = COCOeval(truth, truth.loadRes(str(files[1])), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(scores.ap, abs=1e-9)


def test_keypoints_of_crowds(eval_reference: Path) -> None:
    files = eval_reference / "crowdpose_gt.json", eval_reference / "crowdpose_dt.json"
    scores = score_coco(*files, CocoKind.CROWD_KEYPOINTS)
    assert (scores.ap, scores.ap50, scores.ap75) == pytest.approx(
        (0.7877215935879303, 0.9881188118811886, 0.7314356435643564), abs=1e-10
    )


def test_weak_results_can_be_skipped(eval_reference: Path) -> None:
    files = eval_reference / "ignore_gt.json", eval_reference / "ignore_dt.json"
    scores = score_coco(*files, CocoKind.BOXES, min_score=0.1)
    assert (scores.ap, scores.ap50, scores.ap75) == pytest.approx(
        (0.7099009900990099, 1.0, 0.8415841584158416), abs=1e-10
    )


def test_masks_of_a_few_shapes(eval_reference: Path) -> None:
    truth = json.loads((eval_reference / "small_gt.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    rows = []
    # As published: polygons merged to masks, without their boxes.
    for row in json.loads((eval_reference / "small_dt.json").read_text()):
        polygons = coco_mask.frPyObjects(row["segmentation"], *sizes[row["image_id"]])
        kept = {key: row[key] for key in ("image_id", "category_id", "score")}
        rows.append(kept | {"segmentation": coco_mask.merge(polygons)})
    scores = score_coco(truth, rows, CocoKind.MASKS)
    assert (scores.ap, scores.ap50) == pytest.approx((0.6947194719471946,) * 2, abs=1e-10)
    assert scores.by_name["AP_medium"] == pytest.approx(0.7367986798679867, abs=1e-10)
    assert scores.by_name["AR_third"] == pytest.approx(0.75, abs=1e-10)


def make_truth() -> dict:
    box = [10.0, 10.0, 20.0, 20.0]
    return {
        "images": [{"id": 1, "height": 100, "width": 100}],
        "categories": [{"id": 1, "name": "mug"}, {"id": 2, "name": "bowl"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "area": 400.0, "iscrowd": 0}
        ],
    }


def make_row(category: int = 1, image: int = 1) -> dict:
    box = [10.0, 10.0, 20.0, 20.0]
    return {"image_id": image, "category_id": category, "bbox": box, "score": 0.5}


def test_classes_count_unless_they_are_put_together() -> None:
    truth, rows = make_truth(), [make_row(category=2)]
    before = json.dumps([truth, rows])
    assert score_coco(truth, [make_row()], CocoKind.BOXES).ap == pytest.approx(1.0)
    assert score_coco(truth, rows, CocoKind.BOXES).ap == 0.0
    assert score_coco(truth, rows, CocoKind.BOXES, with_classes=False).ap == pytest.approx(1.0)
    assert json.dumps([truth, rows]) == before


def make_people(points: int) -> tuple[dict, list[dict]]:
    """One person with keypoints on a diagonal, found where it is."""
    keypoints = [number for index in range(points) for number in (10.0 + index, 10.0 + index, 2)]
    person = {"image_id": 1, "category_id": 1, "keypoints": keypoints}
    truth = make_truth()
    truth["images"][0]["crowdIndex"] = 0.5
    truth["annotations"] = [
        {"id": 1, "iscrowd": 0, "area": 400.0, "bbox": [10.0, 10.0, 20.0, 20.0]}
        | {"num_keypoints": points, **person}
    ]
    return truth, [{"score": 0.9, **person}]


def test_keypoints_by_hand() -> None:
    truth, rows = make_people(17)
    assert score_coco(truth, rows, CocoKind.KEYPOINTS).ap == pytest.approx(1.0)
    truth, rows = make_people(14)
    assert score_coco(truth, rows, CocoKind.CROWD_KEYPOINTS).ap == pytest.approx(1.0)
    # Far off by the size of the thing.
    rows[0]["keypoints"] = [value + 40 for value in rows[0]["keypoints"]]
    assert score_coco(truth, rows, CocoKind.CROWD_KEYPOINTS).ap == 0.0
    with pytest.raises(InputError, match="17 sigmas are there for the 14 keypoints"):
        score_coco(truth, rows, CocoKind.KEYPOINTS, sigmas=COCO_SIGMAS)


@pytest.mark.parametrize("names", [[], ["antenna", "wing", "leg"]])
def test_any_skeleton_is_scored(names: list[str]) -> None:
    """Expected: OKS of one keypoint by hand, for thresholds .50 to .95."""
    truth, rows = make_people(3)
    if names:
        truth["categories"][0]["keypoints"] = names
    assert score_coco(truth, rows, CocoKind.KEYPOINTS).ap == pytest.approx(1.0)
    # The second of three is off by d: with area 400 and the falloff 0.025 (COCO's second) its
    # similarity is exp(-d^2 / (2 * 400 * 0.05^2)) = exp(-d^2 / 2).
    rows[0]["keypoints"] = [*rows[0]["keypoints"]]
    rows[0]["keypoints"][3] += 1.0
    similarity = (2 + math.exp(-1 / 2)) / 3
    expected = sum(similarity >= threshold for threshold in np.linspace(0.5, 0.95, 10)) / 10
    assert 0 < expected < 1
    assert score_coco(truth, rows, CocoKind.KEYPOINTS).ap == pytest.approx(expected)


def test_two_skeletons_are_refused() -> None:
    truth, rows = make_people(3)
    for category, names in zip(truth["categories"], (["a", "b", "c"], ["a", "b"]), strict=True):
        category["keypoints"] = names
    with pytest.raises(InputError, match="2 skeletons"):
        score_coco(truth, rows, CocoKind.KEYPOINTS)


def test_files_and_rows_that_cannot_be_used_say_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected the format of"):
        score_coco(tmp_path / "none.json", [make_row()], CocoKind.BOXES)
    with pytest.raises(InputError, match="expected the format of"):
        score_coco(make_truth(), [make_row(image=7)], CocoKind.BOXES)
    with pytest.raises(InputError, match="expected the format of"):
        score_coco({"images": []}, [make_row()], CocoKind.BOXES)

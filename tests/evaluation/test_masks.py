from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.evaluation.masks import LabelScorer, ReferringScorer, count_pairs
from vl2_ros.structures import UNLABELLED

# pycocotools' own, for every mask that it decodes.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def block(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros((10, 20), np.bool_)
    mask[y1:y2, x1:x2] = True
    return mask


def test_cumulative_and_mean_iou_by_hand() -> None:
    scorer = ReferringScorer()
    scorer.add(block(0, 0, 10, 10), block(5, 0, 15, 10))  # 50 of 150
    scorer.add(block(0, 0, 2, 1), block(0, 0, 2, 1))  # 2 of 2
    assert scorer.ious().tolist() == pytest.approx([1 / 3, 1.0])
    assert scorer.giou() == pytest.approx(2 / 3)
    assert scorer.ciou() == pytest.approx(52 / 152)


def test_nothing_there_is_right_only_when_nothing_is_marked() -> None:
    scorer = ReferringScorer()
    scorer.add(block(0, 0, 0, 0), block(0, 0, 0, 0))
    assert (scorer.giou(), scorer.ciou()) == (1.0, 1.0)
    scorer.add(block(0, 0, 0, 0), block(0, 0, 5, 2))
    assert (scorer.giou(), scorer.ciou()) == (0.5, 0.0)


def read_pairs(folder: Path) -> list[tuple[dict, dict]]:
    """Pair each true mask of the COCO example with the result that overlaps it most."""
    truth = COCO(str(folder / "instances_val2014_100.json"))
    found = json.loads((folder / "instances_val2014_fakesegm100_results.json").read_text())
    pairs = []
    for row in truth.dataset["annotations"]:
        near = [
            one["segmentation"]
            for one in found
            if (one["image_id"], one["category_id"]) == (row["image_id"], row["category_id"])
        ]
        if near and not row["iscrowd"]:
            mask = truth.annToRLE(row)
            ious = coco_mask.iou(near, [mask], [0])
            pairs.append((mask, near[int(ious.argmax())]))
    return pairs


def test_ious_are_those_of_the_coco_tools(eval_reference: Path) -> None:
    pairs = read_pairs(eval_reference)
    assert len(pairs) > 300
    scorer = ReferringScorer()
    for true, found in pairs:
        scorer.add(coco_mask.decode(true).astype(bool), coco_mask.decode(found).astype(bool))
    expected = [float(coco_mask.iou([found], [true], [0])[0, 0]) for true, found in pairs]
    np.testing.assert_allclose(scorer.ious(), expected, atol=1e-12)
    overlap = sum(int(coco_mask.area(coco_mask.merge(list(p), intersect=True))) for p in pairs)
    union = sum(int(coco_mask.area(coco_mask.merge(list(pair)))) for pair in pairs)
    assert scorer.ciou() == pytest.approx(overlap / union, abs=1e-12)
    assert scorer.giou() == pytest.approx(float(np.mean(expected)), abs=1e-12)


def test_mean_iou_over_classes_by_hand() -> None:
    scorer = LabelScorer(num_classes=3)
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, UNLABELLED]], np.uint16)
    found = np.array([[0, 1, 1, 1], [0, 0, UNLABELLED, 2]], np.uint16)
    scorer.add(truth, found)
    # class 0: 3 of 4; class 1: 2 of 4 (one missed, one too many); class 2 never counts
    np.testing.assert_allclose(scorer.ious(), [3 / 4, 2 / 4, np.nan])
    assert scorer.miou() == pytest.approx(0.625)
    assert scorer.pixel_accuracy() == pytest.approx(5 / 7)


def test_mean_iou_is_that_of_the_coco_tools(eval_reference: Path) -> None:
    """Each image's masks are painted to one map; overlaps are counted on run lengths."""
    truth = COCO(str(eval_reference / "instances_val2014_100.json"))
    found = truth.loadRes(str(eval_reference / "instances_val2014_fakesegm100_results.json"))
    numbers = {category: index for index, category in enumerate(sorted(truth.cats))}
    scorer = LabelScorer(num_classes=len(numbers))
    overlaps, unions = np.zeros(len(numbers)), np.zeros(len(numbers))
    for image in truth.imgs.values():
        maps = []
        for coco in (truth, found):
            painted = np.full((image["height"], image["width"]), UNLABELLED, np.uint16)
            for row in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]])):
                painted[coco.annToMask(row).astype(bool)] = numbers[row["category_id"]]
            maps.append(painted)
        maps[1][maps[0] == UNLABELLED] = UNLABELLED
        scorer.add(*maps)
        for index in set(np.unique(maps)) - {UNLABELLED}:
            pair = [coco_mask.encode(np.asfortranarray(one == index, np.uint8)) for one in maps]
            overlaps[index] += coco_mask.area(coco_mask.merge(pair, intersect=True))
            unions[index] += coco_mask.area(coco_mask.merge(pair))
    expected = overlaps[unions > 0] / unions[unions > 0]
    assert len(expected) > 40
    assert scorer.miou() == pytest.approx(float(expected.mean()), abs=1e-12)


def test_what_does_not_fit_together_says_so() -> None:
    with pytest.raises(ShapeError, match=r"\(H, W\) bool of one size"):
        ReferringScorer().add(block(0, 0, 1, 1), np.zeros((3, 3), np.bool_))
    with pytest.raises(ShapeError, match="bool"):
        ReferringScorer().add(np.zeros((3, 3), np.uint8), np.zeros((3, 3), np.uint8))
    with pytest.raises(InputError, match="at least one pair of masks"):
        ReferringScorer().giou()
    with pytest.raises(ShapeError, match="of one size"):
        LabelScorer(2).add(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(InputError, match=r"true classes must lie in 0\.\.1, got 2 to 2"):
        LabelScorer(2).add(np.full((2, 2), 2), np.zeros((2, 2), int))
    with pytest.raises(InputError, match="at least one pixel that counts"):
        LabelScorer(2).miou()


def test_counted_sentences_and_images_score_as_the_masks_they_were_counted_in() -> None:
    rng = np.random.default_rng(3)
    masks = rng.random((6, 2, 9, 7)) < 0.4
    whole, counted = ReferringScorer(), ReferringScorer()
    for truth, found in masks:
        whole.add(truth, found)
        counted.add_counts(int((truth & found).sum()), int((truth | found).sum()))
    assert (whole.giou(), whole.ciou(), len(whole)) == (counted.giou(), counted.ciou(), 6)
    with pytest.raises(InputError, match=r"0\.\.3"):
        counted.add_counts(4, 3)

    maps = rng.integers(0, 4, (5, 2, 9, 7)).astype(np.uint16)
    maps[:, :, 0] = UNLABELLED
    labels, pairs = LabelScorer(4), LabelScorer(4)
    for truth, found in maps:
        labels.add(truth, found)
        pairs.add_pairs(count_pairs(truth, found))
    np.testing.assert_array_equal(labels.ious(), pairs.ious())
    assert labels.pixel_accuracy() == pairs.pixel_accuracy()
    with pytest.raises(ShapeError, match=r"\(n, 3\)"):
        pairs.add_pairs(np.zeros((2, 2), np.int64))


def test_pairs_are_counted_in_order() -> None:
    truth = np.array([[1, 1, 0, 9]])
    found = np.array([[2, 2, UNLABELLED, 0]], np.uint16)
    assert count_pairs(truth, found, ignored=9).tolist() == [[0, UNLABELLED, 1], [1, 2, 2]]

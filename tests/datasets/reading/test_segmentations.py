from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.reading.segmentations import (
    check_segmentation,
    decode_segmentation,
    measure_segmentation,
    read_box,
)
from vl2_ros.structures import RunLengths
from vl2_ros.views.formats.coco import compress_rle

HW = (30, 40)


def make_mask() -> np.ndarray:
    rng = np.random.default_rng(0)
    mask = rng.random(HW) < 0.3
    mask[5:20, 8:30] = True
    return mask


def test_outlines_fill_the_pixels_whose_middle_they_cover():
    mask = decode_segmentation([[2, 3, 12, 3, 12, 9, 2, 9]], HW)
    expected = np.zeros(HW, np.bool_)
    expected[3:9, 2:12] = True
    assert (mask == expected).all()
    shifted = decode_segmentation([[2.6, 3.4, 12.6, 3.4, 12.6, 9.4, 2.6, 9.4]], HW)
    assert (shifted == np.roll(expected, 1, axis=1)).all()


def test_overlapping_outlines_are_joined_and_reach_out_of_the_image():
    mask = decode_segmentation(
        [[-9, -9, 20, -9, 20, 20, -9, 20], [10, 10, 90, 10, 90, 90, 10, 90]], HW
    )
    expected = np.zeros(HW, np.bool_)
    expected[:20, :20] = expected[10:, 10:] = True
    assert (mask == expected).all()


def test_outlines_agree_with_the_coco_api():
    codec = pytest.importorskip("faster_coco_eval").mask
    rng = np.random.default_rng(1)
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        radii = rng.uniform(5, 14, 12)
        points = np.stack([20 + radii * np.cos(angles), 15 + radii * np.sin(angles)], axis=1)
        outline = [points.ravel().tolist()]
        theirs = codec.decode(codec.merge(codec.frPyObjects(outline, *HW))).astype(bool)
        ours = decode_segmentation(outline, HW)
        # Theirs rounds corners to a fifth of a pixel.
        border = theirs ^ ours
        assert border.sum() <= 0.06 * theirs.sum()


def test_an_outline_thinner_than_a_pixel_is_not_lost():
    assert decode_segmentation([[3.6, 3.6, 9.7, 3.7, 3.6, 3.8]], HW).sum() >= 1


def test_run_lengths_of_both_forms_are_decoded():
    mask = make_mask()
    runs = RunLengths.encode(mask)
    plain = {"size": list(HW), "counts": runs.counts.tolist()}
    for value in (plain, compress_rle(runs)):
        check_segmentation(value, HW)
        assert (decode_segmentation(value, HW) == mask).all()


def test_the_box_around_a_mask_is_measured():
    mask = np.zeros(HW, np.bool_)
    mask[4:9, 10:13] = True
    runs = compress_rle(RunLengths.encode(mask))
    assert measure_segmentation(runs) == (10, 4, 13, 9)
    assert measure_segmentation([[1, 2, 8, 2, 8, 5]]) == (1, 2, 8, 5)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "unknown form"),
        ([], "unknown form"),
        ([[1, 2, 3, 4, 5]], "pairs of numbers"),
        ([[1, 2, 3, 4]], "pairs of numbers"),
        ([[1, 2, 3, 4, 5, "6"]], "pairs of numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "pairs of numbers"),
        ([[1, 2, 3, 4, 5, 10**400]], "pairs of numbers"),
        ([[1, 2, 3, 4, 5, 1e9]], "far outside"),
        ({"counts": [1200]}, "without a size"),
        ({"size": [30, 41], "counts": [1230]}, "another size"),
        ({"size": [30, 40], "counts": [1199]}, "damaged"),
        ({"size": [30, 40], "counts": [1300, -100]}, "damaged"),
        ({"size": [30, 40], "counts": "\u20ac"}, "damaged"),
        ({"size": [30, 40], "counts": None}, "damaged"),
        ({"size": [30, 40], "counts": [True, 1199]}, "damaged"),
    ],
)
def test_damaged_masks_are_bad_records(value, reason):
    with pytest.raises(BadRecordError, match=".") as caught:
        check_segmentation(value, HW)
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    "value", [[[90, 90, 99, 90, 99, 99]], {"size": [30, 40], "counts": [1200]}]
)
def test_a_mask_without_a_pixel_is_a_bad_record(value):
    with pytest.raises(BadRecordError, match="without a pixel"):
        decode_segmentation(value, HW)


def test_boxes_are_clipped_to_their_image():
    assert read_box([-5, 2, 20, 100], HW) == (0, 2, 15, 30)
    assert read_box([1, 2, 3, 4.5], None) == (1, 2, 4, 6.5)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1, 2, 0, 4], "no area"),
        ([1, 2, 3, -4], "no area"),
        ([50, 2, 3, 4], "outside"),
        ([1, 2, 3], "four numbers"),
        ([1, 2, 3, float("inf")], "four numbers"),
        ("1 2 3 4", "four numbers"),
        ([1, 2, 3, True], "four numbers"),
        (None, "four numbers"),
    ],
)
def test_damaged_boxes_are_bad_records(value, reason):
    with pytest.raises(BadRecordError) as caught:
        read_box(value, HW)
    assert reason in caught.value.reason

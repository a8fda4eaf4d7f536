"""Masks that are kept as rectangles: what is made of them is what whole masks would give."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from vl2_ros.errors import ShapeError
from vl2_ros.geometry import Letterbox
from vl2_ros.node.messages.instance_messages import InstanceMessages, draw_labels
from vl2_ros.processing.results.camera_model import CameraModel
from vl2_ros.processing.results.detection import drop_parts_outside, resize_masks
from vl2_ros.processing.results.labelled_points import lift_instances
from vl2_ros.processing.results.spatial import DepthImage, SpatialView
from vl2_ros.structures import Branch, Detections, Frame, MaskCrop, Masks, Result, Route
from vl2_ros.transports.message_types import StoreMessageTypes
from vl2_ros.views.live.frames import draw_results
from vl2_ros.views.overlay import draw_overlay
from vl2_ros.views.result_json import result_to_json

FRAME_HW = (120, 170)


def make_dense(frame_hw: tuple[int, int] = FRAME_HW) -> np.ndarray:
    """A disc, a ring over two borders, two parts, scattered pixels, everything, nothing."""
    rows, columns = np.indices(frame_hw)
    height, width = frame_hw
    far = np.hypot(rows, columns)
    dense = np.zeros((6, *frame_hw), np.bool_)
    dense[0] = np.hypot(rows - height / 2, columns - width / 3) < height / 5
    dense[1] = (far < height / 2) & (far > height / 3)
    dense[2, 5:20, 5:30] = dense[2, height - 9 :, width - 4 :] = True
    dense[3] = np.random.default_rng(0).random(frame_hw) < 0.01
    dense[4] = True
    return dense


def keep_whole(dense: np.ndarray) -> Masks:
    """The masks as they would be without rectangles: each as large as the frame."""
    return Masks(dense.shape[1:], tuple(MaskCrop(0, 0, mask) for mask in dense))


def make_found(masks: Masks) -> Detections:
    count = len(masks)
    corners = np.linspace(0, 60, count, dtype=np.float32)[:, None]
    return Detections(
        boxes_xyxy=np.hstack([corners, corners, corners + 80, corners + 50]),
        scores=np.linspace(0.9, 0.5, count, dtype=np.float32),
        class_ids=np.arange(count) % 3,
        labels=tuple(f"thing {index}" for index in range(count)),
        masks=masks,
    )


def make_results(dense: np.ndarray) -> list[Result]:
    """The same answer, its masks as rectangles and as whole."""
    return [
        Result(
            "", 0, "camera", "Here.", (Branch(Route.SEGMENT, ("a", "b", "c"), make_found(masks)),)
        )
        for masks in (Masks.cut(dense), keep_whole(dense))
    ]


def test_the_array_of_all_masks_comes_back() -> None:
    dense = make_dense()
    masks = Masks.cut(dense)
    assert masks.shape == dense.shape and len(masks) == 6
    np.testing.assert_array_equal(np.asarray(masks), dense)
    np.testing.assert_array_equal(list(masks), dense)
    np.testing.assert_array_equal(np.asarray(masks, np.uint8), dense.astype(np.uint8))
    assert [crop.area for crop in masks.crops] == dense.sum(axis=(1, 2)).tolist()
    # In numpy 1 it means a copy where one is needed.
    if int(np.__version__.split(".")[0]) > 1:
        with pytest.raises(ValueError, match="rectangles"):
            np.array(masks, copy=False)


def test_indexing_is_that_of_the_array() -> None:
    dense = make_dense()
    masks = Masks.cut(dense)
    rows = np.array([3, 7, 100])
    for key in (
        0,
        -1,
        np.int64(2),
        slice(1, 4),
        [4, 0],
        dense.any(axis=(1, 2)),
        (1, slice(10, 60), slice(None, 40)),
        (2, rows[:, None], rows),
        (slice(None), rows[:, None], rows),
        ...,
    ):
        np.testing.assert_array_equal(masks[key], dense[key])
    np.testing.assert_array_equal(masks.take([4, -2, 0]), dense[[4, -2, 0]])
    with pytest.raises(IndexError):
        masks[6]


def test_no_side_of_a_rectangle_is_empty_and_no_larger_array_is_kept() -> None:
    for crop in Masks.cut(make_dense()).crops:
        assert crop.pixels.base is None
        for axis in (0, 1):
            inside = crop.pixels.any(axis=axis)
            assert not crop.pixels.size or (inside[0] and inside[-1])


def test_pixels_are_looked_up_inside_and_outside() -> None:
    rows, columns = np.array([0, 5, 6, 50, 119]), np.arange(0, 170, 7)
    for crop, mask in zip(Masks.cut(make_dense()).crops, make_dense(), strict=True):
        np.testing.assert_array_equal(crop.look_up(rows, columns), mask[np.ix_(rows, columns)])
    picked = Masks.cut(make_dense()).pick_pixels(rows, columns)
    np.testing.assert_array_equal(picked, make_dense()[:, rows[:, None], columns])


def test_masks_that_do_not_fit_are_refused() -> None:
    for wrong in (np.zeros((2, 3), bool), np.zeros((1, 2, 3), np.uint8)):
        with pytest.raises(ShapeError, match=r"\(N, H, W\) bool"):
            Masks.cut(wrong)
    pixels = np.ones((3, 3), np.bool_)
    for top, left in ((-1, 0), (0, -1), (8, 0), (0, 18)):
        with pytest.raises(ShapeError, match="does not lie in its frame of 20x10"):
            Masks((10, 20), (MaskCrop(top, left, pixels),))


def test_json_and_messages_are_those_of_whole_masks() -> None:
    parts = InstanceMessages(StoreMessageTypes())
    cut, whole = make_results(make_dense())
    texts = [json.dumps(result_to_json(one, with_masks=True)) for one in (cut, whole)]
    assert texts[0] == texts[1]
    rows, others = (parts.make_instances(one.branches[0], None) for one in (cut, whole))
    for row, other in zip(rows, others, strict=True):
        assert (row.mask.height, row.mask.width) == FRAME_HW
        np.testing.assert_array_equal(row.mask.counts, other.mask.counts)
    np.testing.assert_array_equal(*(draw_labels(one.branches[0], FRAME_HW) for one in (cut, whole)))


@pytest.mark.parametrize("frame_hw", [(40, 60), FRAME_HW, (400, 340), (300, 1700)])
def test_overlays_are_those_of_whole_masks(frame_hw) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (*frame_hw, 3), np.uint8)
    frame, (cut, whole) = Frame(rgb), make_results(make_dense(frame_hw)[:5])
    np.testing.assert_array_equal(draw_overlay(frame, cut), draw_overlay(frame, whole))
    np.testing.assert_array_equal(draw_results(frame, [cut]), draw_results(frame, [whole]))


@pytest.mark.parametrize("depth_hw", [FRAME_HW, (60, 85), (77, 101)])
def test_places_in_space_are_those_of_whole_masks(depth_hw) -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.5, 2.0, depth_hw).astype(np.float32)
    depth[rng.random(depth_hw) < 0.2] = 0
    matrix = np.array([[200.0, 0.0, 85.0], [0.0, 200.0, 60.0], [0.0, 0.0, 1.0]])
    view = SpatialView(CameraModel(matrix, np.zeros(0), FRAME_HW), DepthImage(depth, 1.0))
    rgb = rng.integers(0, 256, (*FRAME_HW, 3), np.uint8)
    cut, whole = (one.branches[0].detections for one in make_results(make_dense()))
    ours, theirs = view.locate(cut), view.locate(whole)
    assert ours.is_placed.any()
    np.testing.assert_array_equal(ours.centers_m, theirs.centers_m)
    np.testing.assert_array_equal(ours.sizes_m, theirs.sizes_m)
    for most in (100_000, 500):
        points, others = (lift_instances(view, rgb, one, most) for one in (cut, whole))
        assert 0 < len(points.rgb) <= most
        for name in ("positions_m", "rgb", "labels", "instances"):
            np.testing.assert_array_equal(getattr(points, name), getattr(others, name))


def test_parts_outside_of_boxes_are_those_of_whole_masks() -> None:
    dense = make_dense()
    for box in ((0, 0, 30, 30), (-9, 100, 30, 300), (60, 40, 61, 41), (-5, -5, -1, -1)):
        boxes = np.tile(np.array(box, np.float32), (len(dense), 1))
        cut, whole = (
            drop_parts_outside(one, boxes) for one in (Masks.cut(dense), keep_whole(dense))
        )
        np.testing.assert_array_equal(cut, whole)


def test_selected_joined_and_sent_masks_stay_with_their_instances() -> None:
    found = make_found(Masks.cut(make_dense()))
    np.testing.assert_array_equal(found[[3, 0]].masks, make_dense()[[3, 0]])
    np.testing.assert_array_equal(found["thing 2"].masks, make_dense()[2:3])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).masks, make_dense())
    bare = replace(found, masks=None)
    branches = (Branch(Route.DETECT, ("a",), bare), Branch(Route.SEGMENT, ("a",), found))
    joined = Result("", 0, "", "", branches).detections.masks
    np.testing.assert_array_equal(joined, np.concatenate([make_dense() * False, make_dense()]))


def test_a_hundred_masks_of_twelve_megapixels_need_little_memory() -> None:
    letterbox = Letterbox((3000, 4000), (600, 800), (608, 800))
    rng = np.random.default_rng(0)
    logits = np.full((100, 152, 200), -4.0, np.float32)
    for layer, top, left in zip(
        logits, rng.integers(0, 110, 100), rng.integers(0, 150, 100), strict=True
    ):
        layer[top : top + 30, left : left + 40] = 4.0
    tracemalloc.start()
    masks = resize_masks(logits, letterbox)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert masks.shape == (100, 3000, 4000)
    assert min(crop.area for crop in masks.crops) > 400_000
    assert kept < peak < 100_000_000, "1.2 GB as whole masks"

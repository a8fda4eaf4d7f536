from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vl2_ros.errors import EngineError, InputError, ShapeError
from vl2_ros.geometry import Letterbox
from vl2_ros.processing.results.detection import (
    Selection,
    drop_parts_outside,
    group_detections,
    resize_map,
    resize_masks,
    select_instances,
    semantic_map,
    sigmoid,
)
from vl2_ros.structures import UNLABELLED, Masks


def read_case(tensors: dict[str, np.ndarray], content: dict, index: int) -> tuple[Any, ...]:
    logits, boxes, masks = (
        tensors[f"in.{name}"][index] for name in ("logits", "pred_boxes", "pred_masks")
    )
    padded_hw = tuple(side * content["mask_stride"] for side in masks.shape[1:])
    letterbox = Letterbox(
        frame_hw=tuple(content["original_shapes_hw"][index]),
        model_hw=tuple(content["image_shapes_hw"][index]),
        padded_hw=padded_hw,
    )
    return logits, boxes, masks, letterbox


def count_classes(logits: np.ndarray) -> int:
    return int(np.isfinite(logits).all(axis=0).sum())


@pytest.mark.golden
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("case", ["det", "det_thr", "refer"])
def test_selection_equals_the_reference(golden: Any, case: str, index: int) -> None:
    tensors, content = golden("gdino_post")
    logits, boxes, _, letterbox = read_case(tensors, content, index)
    wanted = {name: tensors[f"{case}.{index}.{name}"] for name in ("scores", "labels", "boxes")}
    selection = select_instances(
        logits,
        boxes,
        num_classes=1 if case == "refer" else count_classes(logits),
        frame_hw=letterbox.frame_hw,
        top_k=1 if case == "refer" else len(tensors[f"det.{index}.scores"]),
        score_threshold=content["threshold_det_thr"] if case == "det_thr" else 0.0,
    )
    np.testing.assert_array_equal(selection.class_ids, wanted["labels"])
    np.testing.assert_allclose(selection.scores, wanted["scores"], rtol=1e-6)
    scale = np.abs(wanted["boxes"]).max()
    np.testing.assert_allclose(selection.boxes_xyxy, wanted["boxes"], rtol=2e-5, atol=2e-5 * scale)


@pytest.mark.golden
@pytest.mark.parametrize("index", [0, 1])
def test_masks_equal_the_reference(golden: Any, index: int) -> None:
    tensors, content = golden("gdino_post")
    logits, boxes, mask_logits, letterbox = read_case(tensors, content, index)
    wanted = tensors[f"instseg.{index}.masks"].astype(bool)
    selection = select_instances(
        logits,
        boxes,
        num_classes=count_classes(logits),
        frame_hw=letterbox.frame_hw,
        top_k=len(wanted),
    )
    chosen = mask_logits[selection.query_index]
    np.testing.assert_array_equal(resize_masks(chosen, letterbox), wanted)
    # OpenCV's bilinear resize is the reference's interpolation without align_corners.
    by_opencv = np.stack([resize_map(logit, letterbox) > 0 for logit in chosen])
    np.testing.assert_array_equal(by_opencv, wanted)


@pytest.mark.golden
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(("name", "merge_first"), [("semseg", False), ("semseg_late", True)])
def test_class_maps_equal_the_reference(
    golden: Any, index: int, name: str, merge_first: bool
) -> None:
    tensors, content = golden("gdino_post")
    logits, _, mask_logits, letterbox = read_case(tensors, content, index)
    found = semantic_map(
        logits,
        mask_logits,
        letterbox,
        num_classes=count_classes(logits),
        merge_first=merge_first,
    )
    np.testing.assert_array_equal(found, tensors[f"{name}.{index}"])


def merge_plainly(
    logits: np.ndarray, mask_logits: np.ndarray, letterbox: Letterbox
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best class of each pixel and how far ahead of the second it is, in float64."""
    scores, maps = (1 / (1 + np.exp(-one.astype(np.float64))) for one in (logits, mask_logits))
    layers = np.einsum("qc,qhw->chw", scores, maps).astype(np.float32)
    totals = np.stack([resize_map(layer, letterbox) for layer in layers])
    second, first = np.sort(totals, axis=0)[-2:]
    return totals.argmax(axis=0), first - second


@pytest.mark.parametrize("count", [3, 900])
def test_class_maps_equal_those_of_one_class_at_a_time(count: int) -> None:
    rng = np.random.default_rng(0)
    letterbox = Letterbox((120, 161), (96, 128), (96, 144))
    logits = rng.normal(-3, 2, (count, 5)).astype(np.float32)
    # Some far beyond what exp can do.
    mask_logits = (rng.normal(-3, 3, (count, 24, 36)) ** 3).astype(np.float32)
    mask_logits[0, :3] = -200
    before = mask_logits.copy()
    found = semantic_map(logits, mask_logits, letterbox, num_classes=5)
    wanted, lead = merge_plainly(logits, mask_logits, letterbox)
    assert found.dtype == np.uint16
    sure = lead > 1e-6 * count
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(found[sure], wanted[sure])
    np.testing.assert_array_equal(mask_logits, before)


def test_class_maps_of_float16_logits_and_of_no_query() -> None:
    letterbox = Letterbox((8, 8), (8, 8), (8, 8))
    masks = np.full((1, 2, 2), 3.0, np.float16)
    assert not semantic_map(np.ones((1, 1)), masks, letterbox, num_classes=1).any()
    nothing = np.zeros((0, 2, 2), np.float32)
    found = semantic_map(np.zeros((0, 2)), nothing, letterbox, num_classes=2, score_threshold=0.1)
    assert (found == UNLABELLED).all()


@pytest.mark.golden
def test_release_detection_equals_the_reference(golden: Any) -> None:
    tensors, content = golden("release_tiny/det")
    frame_hw = tuple(content["original_hw"])
    selection = select_instances(
        tensors["logits"][0],
        tensors["pred_boxes"][0],
        num_classes=content["num_classes"],
        frame_hw=frame_hw,
        top_k=len(tensors["post_scores"]),
    )
    np.testing.assert_array_equal(selection.class_ids, tensors["post_labels"])
    np.testing.assert_allclose(selection.boxes_xyxy, tensors["post_boxes"], atol=0.05)
    letterbox = Letterbox(
        frame_hw=frame_hw,
        model_hw=tensors["decoder_image"].shape[1:],
        padded_hw=tensors["pixel_mask"].shape[1:],
    )
    count = len(tensors["seg_scores"])
    masks = resize_masks(tensors["pred_masks"][0][selection.query_index[:count]], letterbox)
    packed = tensors["seg_masks_packed"]
    wanted = np.unpackbits(packed, axis=1)[:, : frame_hw[0] * frame_hw[1]]
    np.testing.assert_array_equal(masks, wanted.reshape(masks.shape).astype(bool))


def test_masks_are_the_same_whether_cut_out_or_resized_whole() -> None:
    rng = np.random.default_rng(0)
    for frame_hw, model_hw in (((1, 1), (90, 90)), ((481, 643), (91, 122)), ((37, 900), (5, 122))):
        letterbox = Letterbox(frame_hw, model_hw, (96, 128))
        logits = rng.normal(-1.5, 1.0, (6, 24, 32)).astype(np.float32)
        logits[0] = -1.0
        logits[1] = 1.0
        logits[2] = -1.0
        logits[2, 3:5, 2:7] = 3.0
        whole = np.stack([resize_map(layer, letterbox) > 0 for layer in logits])
        np.testing.assert_array_equal(resize_masks(logits, letterbox), whole)


def test_masks_of_no_instance() -> None:
    letterbox = Letterbox((48, 50), (96, 100), (96, 128))
    assert resize_masks(np.zeros((0, 24, 32), np.float32), letterbox).shape == (0, 48, 50)
    with pytest.raises(ShapeError, match=r"\(k, h, w\)"):
        resize_masks(np.zeros((24, 32), np.float32), letterbox)


def test_masks_that_would_fill_the_memory_raise() -> None:
    letterbox = Letterbox((9000, 10000), (800, 889), (800, 896))
    with pytest.raises(InputError, match="lower max_instances"):
        resize_masks(np.zeros((100, 200, 224), np.float32), letterbox)


def test_padded_classes_are_never_selected() -> None:
    logits = np.full((3, 4), -np.inf, np.float32)
    logits[:, :2] = [[0.0, 1.0], [3.0, -2.0], [2.0, 2.0]]
    boxes = np.full((3, 4), 0.5, np.float32)
    selection = select_instances(logits, boxes, num_classes=2, frame_hw=(10, 20), top_k=100)
    assert len(selection) == 6
    assert selection.query_index.tolist() == [1, 2, 2, 0, 0, 1]
    assert selection.class_ids.tolist() == [0, 0, 1, 1, 0, 1]
    np.testing.assert_allclose(selection.boxes_xyxy[0], [5, 2.5, 15, 7.5])


def test_decoder_output_that_is_not_finite_raises() -> None:
    boxes = np.full((2, 4), 0.5, np.float32)
    logits = np.array([[0.0], [np.nan]], np.float32)
    with pytest.raises(EngineError, match="not finite"):
        select_instances(logits, boxes, num_classes=1, frame_hw=(4, 4))
    boxes[0, 0] = np.inf
    with pytest.raises(EngineError, match="not finite"):
        select_instances(logits[:1], boxes[:1], num_classes=1, frame_hw=(4, 4))


def test_arrays_that_do_not_fit_raise() -> None:
    with pytest.raises(ShapeError, match="expected logits"):
        select_instances(np.zeros((2, 1)), np.zeros((2, 4)), num_classes=2, frame_hw=(4, 4))


def test_grouping_names_and_clips() -> None:
    selection = Selection(
        query_index=np.array([4, 1]),
        class_ids=np.array([1, 0]),
        scores=np.array([0.9, 0.5], np.float32),
        boxes_xyxy=np.array([[-2, 1, 5, 9], [3, 3, 40, 4]], np.float32),
    )
    detections = group_detections(selection, ("mug", "red bowl"), (8, 20))
    assert detections.labels == ("red bowl", "mug")
    np.testing.assert_array_equal(detections.boxes_xyxy, [[0, 1, 5, 8], [3, 3, 20, 4]])
    assert detections.boxes_xyxy.dtype == np.float32
    with pytest.raises(ShapeError, match="phrase for class 1"):
        group_detections(selection, ("mug",), (8, 20))
    empty = select_instances(
        np.zeros((2, 1)), np.zeros((2, 4)), num_classes=1, frame_hw=(4, 4), score_threshold=0.9
    )
    assert len(group_detections(empty, (), (4, 4))) == 0


def test_sigmoid_has_no_overflow() -> None:
    values = sigmoid(np.array([-np.inf, -200, 0, 200, np.inf], np.float32))
    np.testing.assert_array_equal(values, [0, 0, 0.5, 1, 1])
    assert values.dtype == np.float32


def make_parts(*corners: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((20, 30), np.bool_)
    for x1, y1, x2, y2 in corners:
        mask[y1:y2, x1:x2] = True
    return mask


def test_parts_that_do_not_touch_the_box_are_dropped() -> None:
    body, touching, away = (4, 4, 10, 10), (9, 9, 14, 12), (20, 2, 24, 6)
    masks = np.stack([make_parts(body, touching, away), make_parts(away), make_parts(body)])
    boxes = np.array([(4, 4, 10, 10), (4, 4, 10, 10), (4, 4, 10, 10)], np.float32)
    masks = drop_parts_outside(Masks.cut(masks), boxes)
    np.testing.assert_array_equal(masks[0], make_parts(body, touching))
    assert not masks[1].any(), "nothing of it lies in its box"
    np.testing.assert_array_equal(masks[2], make_parts(body))


@pytest.mark.parametrize(
    "box", [(-9, -9, 40, 40), (25, 15, 60, 60), (-20, -20, -3, -3), (5.5, 5.5, 5.5, 5.5)]
)
def test_boxes_over_the_border_clear_only_what_they_do_not_touch(box) -> None:
    mask = make_parts((0, 0, 3, 3), (5, 5, 8, 8), (26, 16, 30, 20))
    masks = drop_parts_outside(Masks.cut(mask[None]), np.array([box], np.float32))
    x1, y1, x2, y2 = box
    for part in ((0, 0, 3, 3), (5, 5, 8, 8), (26, 16, 30, 20)):
        meets = x1 < part[2] and x2 > part[0] and y1 < part[3] and y2 > part[1]
        left, top, right, bottom = part
        assert masks[0, top:bottom, left:right].all() == meets

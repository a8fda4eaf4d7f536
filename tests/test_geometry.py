from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vl2_ros.errors import ShapeError
from vl2_ros.geometry import (
    Letterbox,
    axis_weights,
    box_areas,
    box_iou,
    clip_boxes,
    cxcywh_to_xyxy,
    masks_to_boxes,
)
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import fit_letterbox
from vl2_ros.processing.results.detection import resize_masks


def test_iou_of_equal_disjoint_and_empty_boxes() -> None:
    boxes = np.array([[0, 0, 4, 4], [2, 0, 6, 4], [10, 10, 12, 12], [3, 3, 3, 3]], np.float32)
    iou = box_iou(boxes, boxes)
    np.testing.assert_allclose(np.diag(iou), [1, 1, 1, 0])
    assert iou[0, 1] == pytest.approx(8 / 24)
    assert iou[0, 2] == 0
    assert box_iou(np.zeros((0, 4)), boxes).shape == (0, 4)


def test_corners_come_from_centre_and_size_and_are_clipped_to_the_frame() -> None:
    boxes = cxcywh_to_xyxy(np.array([[5.0, 4.0, 4.0, 2.0], [0.0, 0.0, 30.0, 6.0]], np.float32))
    np.testing.assert_array_equal(boxes, [[3, 3, 7, 5], [-15, -3, 15, 3]])
    clipped = clip_boxes(boxes, (4, 6))
    np.testing.assert_array_equal(clipped, [[3, 3, 6, 4], [0, 0, 6, 3]])
    assert clipped.dtype == boxes.dtype == np.float32


def test_boxes_of_another_shape_raise() -> None:
    for call in (cxcywh_to_xyxy, box_areas, partial(clip_boxes, frame_hw=(4, 4))):
        with pytest.raises(ShapeError, match=r"\(N, 4\), got \(3, 5\)"):
            call(np.zeros((3, 5)))
    with pytest.raises(ShapeError, match="N, H, W"):
        masks_to_boxes(np.zeros((3, 5)))


def test_letterbox_refuses_impossible_sizes() -> None:
    with pytest.raises(ShapeError, match="at least 1"):
        Letterbox((0, 4), (8, 8), (8, 8))
    with pytest.raises(ShapeError, match="padded_hw"):
        Letterbox((4, 4), (8, 8), (8, 4))


def test_masks_to_boxes_gives_end_exclusive_extents() -> None:
    masks = np.zeros((2, 7, 9), dtype=bool)
    masks[0, 2:5, 3:8] = True
    np.testing.assert_array_equal(masks_to_boxes(masks), [[3, 2, 8, 5], [0, 0, 0, 0]])
    assert masks_to_boxes(masks[:0]).shape == (0, 4)


@settings(deadline=None)
@given(
    st.tuples(st.integers(33, 400), st.integers(33, 400)),
    st.tuples(*(st.floats(0, 1) for _ in range(4))),
)
def test_mask_round_trip_is_exact_to_half_a_pixel(
    frame_hw: tuple[int, int], shares: tuple[float, ...]
) -> None:
    """A linear field on the logit grid has its zero where the drawn edge was."""
    config = ProcessingConfig(decoder_short=192, decoder_long=320)
    letterbox = fit_letterbox(frame_hw, config)
    low_y, high_y = sorted(share * frame_hw[0] for share in shares[:2])
    low_x, high_x = sorted(share * frame_hw[1] for share in shares[2:])
    edges = (
        (letterbox.padded_hw[0] // 4, letterbox.model_hw[0] / frame_hw[0], 0, low_y, high_y),
        (letterbox.padded_hw[1] // 4, letterbox.model_hw[1] / frame_hw[1], 1, low_x, high_x),
    )
    for count, scale, axis, low, high in edges:
        centres = (np.arange(count) + 0.5) * 4 / scale  # logit cells in camera pixels
        for edge, sign in ((low, 1), (high, -1)):
            ramp = sign * (centres - edge)
            other = letterbox.padded_hw[1 - axis] // 4
            field = np.repeat(ramp[:, None], other, axis=1)
            logits = (field if axis == 0 else field.T).astype(np.float32)
            mask = resize_masks(logits[None], letterbox)[0]
            inside = mask.any(axis=1 - axis)
            pixels = np.arange(frame_hw[axis]) + 0.5
            # The outermost half cell repeats the border, so edges there may move by that much.
            margin = max(2 / scale, 0.5)
            clear = (pixels > margin) & (pixels < frame_hw[axis] - margin)
            wrong = (inside != (sign * (pixels - edge) > 0)) & clear
            assert (np.abs(pixels[wrong] - edge) <= 0.5 + 1e-3).all()


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_axis_weights_are_averages(source: int, middle: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, middle))
    target = data.draw(st.integers(1, 60))
    weights = axis_weights(source, middle, kept, target)
    assert weights.shape == (target, source)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)

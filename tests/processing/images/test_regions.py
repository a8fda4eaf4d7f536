from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.geometry import masks_to_boxes
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import CLIP_STD
from vl2_ros.processing.images.regions import (
    draw_prompt,
    preprocess_region_square,
    region_mask,
    region_masks_from_boxes,
    region_masks_from_masks,
)
from vl2_ros.structures import Frame, PromptKind, VisualPrompt

CONFIG = ProcessingConfig(vision_side=28, vision_tokens=4)


@pytest.mark.golden
def test_box_masks_equal_the_reference(golden: Any) -> None:
    tensors, _ = golden("core_preprocess")
    side = tensors["box_masks"].shape[1]
    config = ProcessingConfig(vision_side=side)
    masks = region_masks_from_boxes(tensors["boxes"], (side, side), config)
    np.testing.assert_array_equal(masks, tensors["box_masks"])
    np.testing.assert_array_equal(masks_to_boxes(masks), tensors["masks_to_boxes"])


@pytest.mark.golden
def test_squashed_image_equals_the_reference(golden: Any) -> None:
    tensors, _ = golden("core_preprocess")
    wanted = tensors["region_square_pixels"]
    config = ProcessingConfig(vision_side=wanted.shape[1])
    pixels = preprocess_region_square(Frame(tensors["image_u8"]), config)
    np.testing.assert_allclose(pixels, wanted, atol=2 / 255 / float(CLIP_STD.min()))


@pytest.mark.golden
def test_release_region_mask_equals_the_reference(golden: Any) -> None:
    tensors, content = golden("release_tiny/region")
    wanted = tensors["region_mask"]
    frame_hw = (content["photo"]["height"], content["photo"]["width"])
    config = ProcessingConfig(vision_side=wanted.shape[1])
    box = np.array([content["box_xyxy_pixels"]], dtype=np.float32)
    np.testing.assert_array_equal(region_masks_from_boxes(box, frame_hw, config), wanted)


def test_boxes_are_scaled_per_axis() -> None:
    masks = region_masks_from_boxes(np.array([[50.0, 20.0, 100.0, 40.0]]), (40, 100), CONFIG)
    np.testing.assert_array_equal(masks_to_boxes(masks), [[14, 14, 28, 28]])


def test_boxes_that_cannot_be_drawn_raise() -> None:
    with pytest.raises(ShapeError, match=r"\(R, 4\)"):
        region_masks_from_boxes(np.zeros(4), (10, 10), CONFIG)
    for box in ([5, 5, 1, 9], [0, 0, np.nan, 9]):
        with pytest.raises(InputError, match="finite with x1 <= x2"):
            region_masks_from_boxes(np.array([box], float), (10, 10), CONFIG)


def test_masks_grow_to_every_pixel_they_touch() -> None:
    masks = np.zeros((1, 14, 14), np.uint8)
    masks[0, 6:8, 6:8] = 1
    found = region_masks_from_masks(masks, (14, 14), CONFIG)
    assert found.dtype == np.float32 and set(np.unique(found)) == {0.0, 1.0}
    np.testing.assert_array_equal(masks_to_boxes(found), [[11, 11, 17, 17]])
    assert region_masks_from_masks(masks[:0], (14, 14), CONFIG).shape == (0, 28, 28)


def test_masks_of_another_size_raise() -> None:
    with pytest.raises(ShapeError, match=r"\(R, 10, 20\), got \(1, 20, 10\)"):
        region_masks_from_masks(np.zeros((1, 20, 10)), (10, 20), CONFIG)


def draw(kind: PromptKind, *points: tuple[float, float], side: int = 28) -> np.ndarray:
    """Draw on an image of 100x40 pixels."""
    prompt = VisualPrompt(kind, np.array(points, np.float64).reshape(-1, 2))
    return region_mask(prompt, (40, 100), ProcessingConfig(vision_side=side, vision_tokens=4))


def test_points_and_scribbles_are_as_thick_as_the_image_is_large() -> None:
    # 33 * 336 / 100 = 110.9, 11 * 336 / 40 = 92.4; a disc of radius 3
    large = draw(PromptKind.POINT, (33, 11), side=336)
    np.testing.assert_array_equal(masks_to_boxes(large[None]), [[107, 89, 114, 96]])
    assert large[92, 110] == 1 and large[89, 107] == 0
    small = draw(PromptKind.POINT, (33, 11))
    assert (small.sum(), small[7, 9]) == (1, 1)
    line = draw(PromptKind.SCRIBBLE, (10, 20), (90, 20), side=336)
    np.testing.assert_array_equal(masks_to_boxes(line[None]), [[31, 166, 305, 171]])


def test_the_borders_belong_to_the_last_pixels() -> None:
    corner = draw(PromptKind.POINT, (100, 40))
    assert (corner.sum(), corner[27, 27]) == (1, 1)
    corner = draw(PromptKind.POINT, (0, 0))
    assert (corner.sum(), corner[0, 0]) == (1, 1)


def test_polygons_are_filled_with_their_outline() -> None:
    # columns 2 to 14, rows 7 to 21
    mask = draw(PromptKind.POLYGON, (10, 10), (50, 10), (50, 30), (10, 30))
    np.testing.assert_array_equal(masks_to_boxes(mask[None]), [[2, 7, 15, 22]])
    assert mask.sum() == 13 * 15
    assert draw(PromptKind.POLYGON, (5, 5), (5, 5), (5, 5)).sum() == 1


def test_a_mask_thinner_than_the_resize_is_not_lost() -> None:
    mask = np.zeros((2000, 1999), np.bool_)
    mask[1000, 1] = True
    prompt = VisualPrompt(PromptKind.MASK, np.zeros((0, 2)), mask)
    assert not region_masks_from_masks(mask[None], mask.shape, CONFIG).any()
    mask_of_prompt = region_mask(prompt, mask.shape, CONFIG)
    assert (mask_of_prompt.sum(), mask_of_prompt[14, 0]) == (1, 1)


def test_prompts_outside_of_the_image_raise() -> None:
    with pytest.raises(InputError, match="outside the image of 100x40"):
        draw(PromptKind.POINT, (40, 41))


def test_prompts_are_drawn_on_their_own_image():
    frame_hw = (336, 672)
    corners = np.array([[10.0, 20.0], [40.0, 50.0]])
    box = draw_prompt(VisualPrompt(PromptKind.BOX, corners), frame_hw)
    expected = np.zeros(frame_hw, np.bool_)
    expected[20:51, 10:41] = True
    assert box.dtype == np.bool_ and (box == expected).all()
    point = draw_prompt(VisualPrompt(PromptKind.POINT, corners[:1]), frame_hw)
    rows, columns = np.nonzero(point)
    # A disc of three pixels around the point, as on an image of this height.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (17, 23, 7, 13)
    border = VisualPrompt(PromptKind.POINT, np.array([[672.0, 336.0]]))
    assert draw_prompt(border, frame_hw)[-1, -1]
    mask = VisualPrompt(PromptKind.MASK, np.zeros((0, 2)), expected)
    assert (draw_prompt(mask, frame_hw) == expected).all()
    with pytest.raises(InputError, match="outside the image"):
        draw_prompt(VisualPrompt(PromptKind.POINT, np.array([[673.0, 1.0]])), frame_hw)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vl2_ros.structures import (
    Branch,
    Detections,
    Frame,
    GeneratedImage,
    Keypoints,
    Masks,
    Result,
    Route,
)
from vl2_ros.views.caption import UNLIKE_COLOR
from vl2_ros.views.overlay import FILL_SHARE, MIN_SIDE, PALETTE, choose_color, draw_overlay


def make_frame(height: int = 480, width: int = 640, value: int = 128) -> Frame:
    return Frame(np.full((height, width, 3), value, np.uint8))


def make_result(
    boxes: list[tuple[float, ...]],
    labels: list[str] | None = None,
    masks: np.ndarray | None = None,
    text: str = "I found it.",
    route: Route | None = None,
) -> Result:
    labels = labels or ["mug"] * len(boxes)
    phrases = tuple(dict.fromkeys(labels))
    detections = Detections(
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.linspace(0.9, 0.5, len(boxes), dtype=np.float32),
        class_ids=np.array([phrases.index(label) for label in labels], np.int64),
        labels=tuple(labels),
        masks=None if masks is None else Masks.cut(masks),
    )
    route = route or (Route.DETECT if masks is None else Route.SEGMENT)
    branch = Branch(route, phrases, detections)
    return Result("", 0, "", text, (branch,))


def touched(image: np.ndarray, frame: Frame) -> np.ndarray:
    return (image[: frame.frame_hw[0]] != frame.rgb).any(axis=2)


def test_frame_is_left_as_it_was_and_caption_is_below():
    frame = make_frame()
    before = frame.rgb.copy()
    with_caption = draw_overlay(frame, make_result([(100, 200, 200, 300)]))
    without = draw_overlay(frame, make_result([(100, 200, 200, 300)]), caption=False)
    np.testing.assert_array_equal(frame.rgb, before)
    assert without.shape == (480, 640, 3) and without.dtype == np.uint8
    assert with_caption.shape[0] > 480 and with_caption.shape[1] == 640
    np.testing.assert_array_equal(with_caption[:480], without)


def test_mask_inside_is_tinted_and_outside_is_not():
    frame = make_frame()
    masks = np.zeros((1, 480, 640), bool)
    masks[0, 200:300, 100:200] = True
    image = draw_overlay(frame, make_result([(100, 200, 200, 300)], masks=masks), caption=False)
    inside = image[250, 150].astype(int)
    assert (np.sign(inside - 128) == np.sign(np.array(PALETTE[0]) - 128)).all()
    far = touched(image, frame)
    far[150:320, 80:260] = False
    assert not far.any()


def test_tint_is_the_same_share_of_every_value():
    rgb = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    masks = np.zeros((1, 480, 640), bool)
    masks[0, 100:400, 100:400] = True
    image = draw_overlay(
        Frame(rgb), make_result([(100, 100, 400, 400)], masks=masks), caption=False
    )
    mixed = rgb[150:350, 150:350] * (1.0 - FILL_SHARE) + np.array(PALETTE[0]) * FILL_SHARE
    np.testing.assert_array_equal(image[150:350, 150:350], mixed.astype(np.uint8))


def test_hole_of_a_mask_keeps_the_image():
    frame = make_frame()
    masks = np.zeros((1, 480, 640), bool)
    masks[0, 100:400, 100:400] = True
    masks[0, 200:300, 200:300] = False
    image = draw_overlay(frame, make_result([(100, 100, 400, 400)], masks=masks), caption=False)
    np.testing.assert_array_equal(image[225:275, 225:275], frame.rgb[225:275, 225:275])


def test_every_instance_has_a_colour_of_its_own():
    frame = make_frame()
    masks = np.zeros((3, 480, 640), bool)
    boxes = []
    for index in range(3):
        left = 50 + 200 * index
        masks[index, 200:300, left : left + 100] = True
        boxes.append((left, 200, left + 100, 300))
    result = make_result(boxes, ["mug", "bowl", "mug"], masks)
    image = draw_overlay(frame, result, caption=False)
    seen = {tuple(image[250, 100 + 200 * index]) for index in range(3)}
    assert len(seen) == 3 and (128, 128, 128) not in seen


def test_colours_behind_the_palette_differ_too():
    colors = [choose_color(0, index) for index in range(60)]
    assert colors[: len(PALETTE)] == list(PALETTE)
    assert len(set(colors)) == 60


@pytest.mark.parametrize(
    ("route", "question", "filled"),
    [
        (Route.DETECT, "find the mug", False),
        (Route.GROUND, "where is the mug?", False),
        (Route.SEGMENT, "", True),
        (Route.DETECT, "segment every mug", True),
        (Route.GROUND, "outline the mug left of the bowl", True),
    ],
)
def test_masks_are_shown_where_they_were_asked_for(route, question, filled):
    frame = make_frame()
    masks = np.zeros((1, 480, 640), bool)
    masks[0, 220:260, 220:260] = True
    result = make_result([(200, 200, 300, 300)], masks=masks, route=route)
    image = draw_overlay(frame, result, caption=False, question=question)
    hit = touched(image, frame)
    assert hit[240, 240] == filled
    assert hit[200, 250] != filled, "the box is drawn where the mask is not"


def test_texts_have_three_sizes():
    def label_height(height: int) -> int:
        frame = make_frame(height, height)
        box = (height // 4, height // 2, height // 2, 3 * height // 4)
        image = draw_overlay(frame, make_result([box]), caption=False)
        # Above the box there is only its label.
        rows = touched(image, frame)[: height // 2 - 8].any(axis=1)
        return int(rows.sum())

    small, also_small, middle, large = map(label_height, (480, 560, 960, 2000))
    assert abs(small - also_small) <= 3
    assert 1.4 * small < middle and 1.4 * middle < large


def test_an_image_unlike_training_has_a_border_and_a_line():
    frame = make_frame()
    known = replace(make_result([]), in_domain=True)
    unlike = replace(known, in_domain=False)
    bare = draw_overlay(frame, unlike, caption=False)
    assert (bare[[0, -1]] == UNLIKE_COLOR).all() and (bare[:, [0, -1]] == UNLIKE_COLOR).all()
    np.testing.assert_array_equal(bare[20:-20, 20:-20], frame.rgb[20:-20, 20:-20])
    assert not touched(draw_overlay(frame, known), frame).any()
    assert draw_overlay(frame, unlike).shape[0] > draw_overlay(frame, known).shape[0]


def test_a_track_keeps_its_colour_and_another_track_has_another():
    boxes = [(20, 200, 220, 400), (400, 200, 600, 400)]

    def draw(*track_ids: int) -> np.ndarray:
        result = make_result(boxes)
        (branch,) = result.branches
        found = replace(branch.detections, track_ids=np.array(track_ids))
        tracked = replace(result, branches=(replace(branch, detections=found),))
        return draw_overlay(make_frame(), tracked, caption=False)

    def has_color(rgb: np.ndarray, number: int) -> bool:
        return bool(np.all(rgb == PALETTE[number], axis=2).any())

    for first, second in ((1, 2), (2, 1)):
        left, right = np.split(draw(first, second), 2, axis=1)
        assert has_color(left, first - 1) and not has_color(left, second - 1)
        assert has_color(right, second - 1) and not has_color(right, first - 1)
    # Where there is no track, the phrase has the colour and the label no number.
    plain = draw_overlay(make_frame(), make_result(boxes), caption=False)
    np.testing.assert_array_equal(draw(0, 0), plain)
    assert (draw(1, 1) != plain).any()


def test_labels_of_a_crowd_do_not_cover_each_other():
    frame = make_frame()
    boxes = [(300, 200, 340, 240), (305, 205, 345, 245), (310, 210, 350, 250)]
    one = touched(draw_overlay(frame, make_result(boxes[:1]), caption=False), frame).sum()
    three = touched(draw_overlay(frame, make_result(boxes), caption=False), frame).sum()
    assert three > 2 * one


@pytest.mark.parametrize(
    "box",
    [
        (-50, -50, 10, 10),
        (600, 460, 900, 700),
        (0, 0, 640, 480),
        (10, 10, 10, 10),
        (float("nan"), 0, float("inf"), 20),
    ],
)
def test_boxes_at_and_over_the_border_are_drawn(box):
    frame = make_frame()
    image = draw_overlay(frame, make_result([box]), caption=False)
    assert image.shape == frame.rgb.shape
    assert touched(image, frame).any()


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (7, 300), (239, 31), (120, 160), (1500, 2000)]
)
def test_every_size_works_and_small_frames_grow(height, width):
    frame = make_frame(height, width)
    masks = np.zeros((1, height, width), bool)
    masks[0, : height // 2 + 1, : width // 2 + 1] = True
    image = draw_overlay(frame, make_result([(0, 0, width / 2, height / 2)], masks=masks))
    assert image.shape[1] % width == 0
    zoom = image.shape[1] // width
    assert (zoom > 1) == (min(height, width) < MIN_SIDE)


def test_empty_mask_and_no_instance_and_no_text_are_drawn():
    frame = make_frame()
    masks = np.zeros((1, 480, 640), bool)
    assert touched(draw_overlay(frame, make_result([(9, 9, 90, 90)], masks=masks)), frame).any()
    assert not touched(draw_overlay(frame, make_result([], ["mug"][:0])), frame).any()
    assert draw_overlay(frame, Result("", 0, "", "")).shape[0] > 480


def test_long_answer_gets_a_bounded_strip():
    frame = make_frame()
    long = draw_overlay(frame, make_result([(9, 9, 90, 90)], text="word " * 4000))
    assert long.shape[0] < 480 + 200


def test_question_stands_above_the_answer():
    frame, result = make_frame(), make_result([(9, 9, 90, 90)])
    without, asked = draw_overlay(frame, result), draw_overlay(frame, result, question="Where?")
    grown = asked.shape[0] - without.shape[0]
    assert grown > 10
    np.testing.assert_array_equal(asked[-20:], without[-20:])
    assert (asked[480 : 480 + grown] > 100).any()


def test_lines_grow_with_the_image():
    def line_width(scale: int) -> int:
        frame = make_frame(480 * scale, 640 * scale)
        box = tuple(value * scale for value in (100, 100, 500, 400))
        image = draw_overlay(frame, make_result([box]), caption=False)
        return int(touched(image, frame)[250 * scale, : 300 * scale].sum())

    assert 2 * line_width(1) < line_width(4) < 5 * line_width(1)


def make_pose(points, edges=((0, 1),), size=(480, 640)) -> tuple[Frame, Result]:
    points = np.array([points], np.float32)
    found = Detections(
        boxes_xyxy=np.array([(10, 10, 60, 60)], np.float32),
        scores=np.array([0.9], np.float32),
        class_ids=np.zeros(1, np.int64),
        labels=("person",),
        keypoints=Keypoints(
            names=tuple("abc"[: points.shape[1]]),
            points_xy=points,
            scores=np.full(points.shape[:2], 0.9, np.float32),
            edges=edges,
        ),
    )
    return make_frame(*size), Result("", 0, "", "", (Branch(Route.POSE, ("person",), found),))


def test_skeleton_joins_its_edges_and_dots_every_keypoint():
    frame, result = make_pose([(100, 300), (300, 300), (500, 100)])
    hit = touched(draw_overlay(frame, result, caption=False), frame)
    assert hit[300, 100:300].all()
    assert hit[100, 500]
    # Nothing joins the third one.
    assert not hit[200, 380:420].any()


def test_skeleton_of_an_enlarged_image_is_enlarged():
    frame, result = make_pose([(20, 50), (60, 50)], size=(80, 100))
    image = draw_overlay(frame, result, caption=False)
    zoom = image.shape[0] // 80
    assert zoom > 1
    assert (image[50 * zoom, 22 * zoom : 58 * zoom] != 128).any(axis=1).all()


@pytest.mark.parametrize("point", [(np.nan, 4.0), (1e12, -1e12), (np.inf, 3.0)])
def test_keypoints_that_are_nowhere_are_no_reason_to_fail(point):
    frame, result = make_pose([(100, 300), point])
    assert draw_overlay(frame, result, caption=False).shape == (480, 640, 3)


@pytest.mark.parametrize(("height", "width"), [(480, 640), (512, 512), (64, 2048)])
def test_made_images_stand_beside_the_frame_in_its_height(height, width):
    frame = make_frame()
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:, : width // 2] = (200, 30, 40)
    made = GeneratedImage(Route.EDIT, rgb, 7, 20, "dpm++")
    image = draw_overlay(frame, Result("", 0, "", "Here.", images=(made, made)), caption=False)
    beside = min(round(480 * width / height), 4 * 480)
    gap = (image.shape[1] - 640 - 2 * beside) // 2
    assert image.shape[0] == 480 and 0 < gap < 20
    np.testing.assert_array_equal(image[:, :640], frame.rgb)
    for left in (640 + gap, 640 + 2 * gap + beside):
        assert (image[240, left + beside // 4] == (200, 30, 40)).all()
        assert (image[240, left + 3 * beside // 4] == 0).all()


def test_caption_spans_what_was_found_and_made():
    frame = make_frame()
    found = make_result([(100, 200, 200, 300)]).branches
    made = GeneratedImage(Route.GENERATE, np.zeros((64, 64, 3), np.uint8), 7, 20, "dpm++")
    result = Result("", 0, "", "Both.", found, images=(made,))
    image = draw_overlay(frame, result, question="draw it and find it")
    assert image.shape[0] > 480 and image.shape[1] > 640 + 480
    assert touched(image[:, :640], frame).any()

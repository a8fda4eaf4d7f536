from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.structures import (
    Branch,
    Command,
    Detections,
    Frame,
    GeneratedImage,
    Keypoints,
    LabelMap,
    Masks,
    PromptKind,
    Result,
    Route,
    VisualPrompt,
)


def test_frame_takes_one_pixel() -> None:
    assert Frame(np.zeros((1, 1, 3), np.uint8)).frame_hw == (1, 1)


@pytest.mark.parametrize(
    "rgb",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_frame_of_another_form_raises(rgb: np.ndarray) -> None:
    with pytest.raises(ShapeError):
        Frame(rgb)


def test_frame_over_the_pixel_limit_raises() -> None:
    rgb = np.broadcast_to(np.zeros(3, np.uint8), (9000, 12000, 3))
    with pytest.raises(InputError, match="12000x9000"):
        Frame(rgb)


@pytest.mark.parametrize("text", ["", "  \n\t", "x" * 1_000_000])
def test_empty_or_huge_command_raises(text: str) -> None:
    with pytest.raises(InputError, match=r"empty|1000000 characters, at most 4000"):
        Command(text)


@pytest.mark.parametrize(
    "field", [{"score_threshold": 1.1}, {"max_instances": 0}, {"max_new_tokens": 0}]
)
def test_command_ranges_are_checked(field: dict) -> None:
    with pytest.raises(InputError, match="must"):
        Command("find the mug", **field)


def test_detections_must_be_parallel() -> None:
    good = {
        "boxes_xyxy": np.zeros((1, 4), np.float32),
        "scores": np.ones(1, np.float32),
        "class_ids": np.zeros(1, np.int64),
        "labels": ("mug",),
    }
    assert [label for _, _, label in Detections(**good)] == ["mug"]
    for name, value in (
        ("boxes_xyxy", np.zeros((2, 4))),
        ("class_ids", np.zeros(2)),
        ("labels", ()),
        ("masks", Masks.cut(np.zeros((2, 5, 5), bool))),
    ):
        with pytest.raises(ShapeError):
            Detections(**{**good, name: value})
    with pytest.raises(InputError, match=r"got ndarray; make them .* by Masks.cut"):
        Detections(**{**good, "masks": np.zeros((1, 5, 5), bool)})


def test_routes_of_a_result_follow_its_branches() -> None:
    assert Result("", 0, "", "two mugs").routes == (Route.ANSWER,)
    branch = Branch(Route.SEGMENT, ("mug",), Detections.empty())
    assert Result("", 0, "", "mug", (branch,)).routes == (Route.SEGMENT,)


@pytest.mark.parametrize("score", [0.0, 1.1, -0.5, float("nan")])
def test_score_of_an_answer_lies_between_zero_and_one(score: float) -> None:
    assert Result("", 0, "", "Yes.", answer_score=1.0).answer_score == 1.0
    with pytest.raises(InputError, match="answer_score must be above 0 and at most 1"):
        Result("", 0, "", "Yes.", answer_score=score)


def test_counts_are_of_each_phrase() -> None:
    found = Detections(
        np.zeros((3, 4), np.float32), np.ones(3, np.float32), np.array([2, 0, 2]), ("c", "a", "c")
    )
    assert Branch(Route.DETECT, ("a", "b", "c"), found).counts == (1, 0, 2)
    assert Branch(Route.DETECT, ("a",), Detections.empty()).counts == (0,)


@pytest.mark.parametrize("class_ids", [np.zeros((2, 2), np.int64), np.zeros(4, np.uint16)])
def test_label_map_of_another_form_raises(class_ids: np.ndarray) -> None:
    with pytest.raises(ShapeError, match=r"\(H, W\) uint16"):
        LabelMap(class_ids, 0.5)


def test_prompts_are_checked_against_their_images() -> None:
    frame, small = Frame(np.zeros((40, 60, 3), np.uint8)), Frame(np.zeros((9, 8, 3), np.uint8))
    for place, image, words in (
        ((59, 39), 0, None),
        ((9, 3), 1, r"\(9, 3\) is outside the image of 8x9"),
        ((3, 3), 2, "points into image 2; .* 1 further ones"),
    ):
        prompt = VisualPrompt(PromptKind.POINT, np.array([place], np.float64), image=image)
        command = Command("what is this?", visual_prompts=(prompt,), images=(small,))
        if words is None:
            command.check_prompts(frame)
            continue
        with pytest.raises(InputError, match=words):
            command.check_prompts(frame)


def make_keypoints(instances: int, edges: tuple = ()) -> Keypoints:
    points = np.zeros((instances, 2, 2), np.float32)
    return Keypoints(("a", "b"), points, np.zeros((instances, 2), np.float32), edges)


def test_keypoints_must_be_parallel_to_names_and_instances() -> None:
    with pytest.raises(ShapeError, match="points_xy"):
        Keypoints(("a",), np.zeros((1, 2, 2)), np.zeros((1, 1)))
    with pytest.raises(ShapeError, match="edges"):
        make_keypoints(1, ((0, 2),))
    found = Detections.empty()
    values = (found.boxes_xyxy, found.scores, found.class_ids, found.labels, None)
    assert Detections(*values, make_keypoints(0)).keypoints is not None
    with pytest.raises(ShapeError, match="0 instances"):
        Detections(*values, make_keypoints(1))


def make_three() -> Detections:
    points = np.arange(6, dtype=np.float32).reshape(3, 1, 2)
    return Detections(
        boxes_xyxy=np.arange(12, dtype=np.float32).reshape(3, 4),
        scores=np.array([0.9, 0.8, 0.6], np.float32),
        class_ids=np.array([1, 0, 1]),
        labels=("mug", "bowl", "mug"),
        masks=Masks.cut(np.arange(3)[:, None, None] == np.zeros((1, 4, 5))),
        keypoints=Keypoints(("rim",), points, np.ones((3, 1), np.float32)),
        track_ids=np.array([7, 0, 9]),
    )


@pytest.mark.parametrize(
    ("key", "numbers"),
    [
        ("mug", [0, 2]),
        (1, [1]),
        (-1, [2]),
        (np.int64(2), [2]),
        (slice(1, None), [1, 2]),
        (slice(None, None, -1), [2, 1, 0]),
        ([2, 0], [2, 0]),
        ([], []),
        (np.array([1, -1, 1]), [1, 2, 1]),
        (np.array([True, False, True]), [0, 2]),
        ([False, False, False], []),
    ],
)
def test_detections_are_selected_with_all_that_belongs_to_them(key: Any, numbers: list) -> None:
    found = make_three()
    taken = found[key]
    assert taken.labels == tuple(found.labels[number] for number in numbers)
    for name in ("boxes_xyxy", "scores", "class_ids", "masks", "track_ids"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(found, name)[numbers])
    assert found.keypoints is not None
    assert taken.keypoints is not None
    np.testing.assert_array_equal(taken.keypoints.points_xy, found.keypoints.points_xy[numbers])
    assert taken.keypoints.names == ("rim",)


def test_a_selection_has_no_more_than_its_source() -> None:
    found = make_three()
    bare = Detections(found.boxes_xyxy, found.scores, found.class_ids, found.labels)["mug"]
    assert (bare.masks, bare.keypoints, bare.track_ids) == (None, None, None)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("cup", "labelled 'cup'; found were: mug, bowl"),
        (3, "no detection 3; expected a position below 3"),
        ([0, -4], "no detection -4"),
        ([True, False], r"must be \(3,\) bool, got \(2,\)"),
        (True, r"must be \(3,\) bool, got \(\)"),
        (1.0, "got float"),
        (None, "got NoneType"),
        ([[0, 1]], r"must be \(K,\), got \(1, 2\)"),
        ([[0], [1, 2]], "cannot be indexed by"),
        (["mug"], "got list"),
    ],
)
def test_a_key_that_selects_nothing_known_raises(key: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_three()[key]


def test_a_label_of_no_detections_raises() -> None:
    with pytest.raises(InputError, match="found were: nothing"):
        Detections.empty()["mug"]


@pytest.mark.parametrize("track_ids", [np.zeros(2, np.int64), np.zeros(3, np.float32)])
def test_tracks_of_another_form_raise(track_ids: np.ndarray) -> None:
    found = make_three()
    with pytest.raises(ShapeError, match=r"track_ids must be \(3,\) int64"):
        Detections(
            found.boxes_xyxy,
            found.scores,
            found.class_ids,
            found.labels,
            track_ids=track_ids,
        )


def test_reprs_are_short() -> None:
    found = make_three()
    assert repr(found) == (
        "Detections(3: mug 0.90, bowl 0.80, mug 0.60; masks 5x4; 1 keypoints; tracked)"
    )
    assert repr(found.keypoints) == "Keypoints(3 instances of rim)"
    assert repr(Detections.empty()) == "Detections(0)"
    assert repr(Frame(np.zeros((2, 3, 3), np.uint8), 5, "camera")) == (
        "Frame(3x2, stamp_ns=5, frame_id='camera')"
    )
    label_map = LabelMap(np.zeros((2, 3), np.uint16), 0.5)
    assert repr(label_map) == "LabelMap(3x2, threshold=0.5)"
    branch = Branch(Route.SEGMENT, ("mug",), Detections.empty(), label_map)
    assert repr(branch) == "Branch(SEGMENT, Detections(0), LabelMap(3x2, threshold=0.5))"
    image = GeneratedImage(Route.EDIT, np.zeros((2, 3, 3), np.uint8), 1, 20, "ddim")
    assert repr(image) == "GeneratedImage(EDIT, 3x2, seed=1, steps=20, scheduler='ddim')"
    result = Result("", 0, "", "a mug", (branch,), images=(image,))
    assert repr(result) == f"Result('a mug', {branch!r}, {image!r})"


def test_reprs_stay_short_with_many_long_labels() -> None:
    count = 1_000
    many = Detections(
        np.zeros((count, 4), np.float32),
        np.ones(count, np.float32),
        np.zeros(count, np.int64),
        ("x" * 4_000,) * count,
    )
    assert "994 more" in repr(many)
    assert len(repr(many)) < 400
    result = Result("", 0, "", "y" * 4_000, (Branch(Route.DETECT, ("x" * 4_000,), many),))
    assert len(repr(result)) < 600

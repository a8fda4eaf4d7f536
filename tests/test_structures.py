from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.structures import (
    Branch,
    Command,
    Detections,
    Frame,
    Keypoints,
    LabelMap,
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
        ("masks", np.zeros((2, 5, 5), bool)),
    ):
        with pytest.raises(ShapeError):
            Detections(**{**good, name: value})


def test_routes_of_a_result_follow_its_branches() -> None:
    assert Result("", 0, "", "two mugs").routes == (Route.ANSWER,)
    branch = Branch(Route.SEGMENT, ("mug",), Detections.empty())
    assert Result("", 0, "", "mug", (branch,)).routes == (Route.SEGMENT,)


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

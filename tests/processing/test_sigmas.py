from __future__ import annotations

import pytest
from pycocotools.cocoeval import Params

from vl2_ros.processing.sigmas import (
    AP10K_SIGMAS,
    COCO_SIGMAS,
    CROWDPOSE_SIGMAS,
    find_sigmas,
    list_keypoint_names,
)

CROWDPOSE = [
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("head", "neck"),
]
AP10K = [
    *("left_eye", "right_eye", "nose", "neck", "root_of_tail"),
    *("left_shoulder", "left_elbow", "left_front_paw"),
    *("right_shoulder", "right_elbow", "right_front_paw"),
    *("left_hip", "left_knee", "left_back_paw", "right_hip", "right_knee", "right_back_paw"),
]


def test_falloffs_of_coco_are_those_of_its_tools() -> None:
    assert pytest.approx(list(Params("keypoints").kpt_oks_sigmas)) == list(COCO_SIGMAS)


def test_falloffs_of_the_other_sets_are_those_of_their_tools() -> None:
    crowd = [0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89, 0.79, 0.79]
    assert pytest.approx([value / 10 for value in crowd]) == list(CROWDPOSE_SIGMAS)
    animals = [25, 25, 26, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]
    assert pytest.approx([value / 1000 for value in animals]) == list(AP10K_SIGMAS)


def test_skeletons_are_known_by_their_names() -> None:
    assert find_sigmas(list_keypoint_names(17)) == COCO_SIGMAS
    assert find_sigmas(CROWDPOSE) == find_sigmas(list_keypoint_names(14)) == CROWDPOSE_SIGMAS
    assert find_sigmas([*CROWDPOSE[:12], "head_top", "neck"]) == CROWDPOSE_SIGMAS
    assert find_sigmas(AP10K) == AP10K_SIGMAS


def test_joints_of_people_in_another_order_keep_their_falloffs() -> None:
    assert find_sigmas(["right_ankle", "Neck", "nose"]) == (0.089, 0.079, 0.026)


def test_other_skeletons_have_cocos_by_position_then_the_smallest() -> None:
    names = [f"joint {number}" for number in range(20)]
    assert find_sigmas(names) == (*COCO_SIGMAS, 0.025, 0.025, 0.025)
    assert find_sigmas(names[:3]) == COCO_SIGMAS[:3]

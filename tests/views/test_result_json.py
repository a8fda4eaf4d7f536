from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from vl2_ros.errors import ShapeError
from vl2_ros.structures import (
    UNLABELLED,
    Branch,
    Detections,
    GeneratedImage,
    Keypoints,
    LabelMap,
    Masks,
    Result,
    Route,
)
from vl2_ros.views.result_json import encode_rle, result_to_json


def decode_rle(rle: dict[str, list[int]]) -> np.ndarray:
    values = np.repeat(np.arange(len(rle["counts"])) % 2 == 1, rle["counts"])
    return values.reshape(rle["size"], order="F")


@given(height=st.integers(1, 12), width=st.integers(1, 12), seed=st.integers(0, 200))
def test_run_lengths_keep_the_mask(height, width, seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < rng.random()
    np.testing.assert_array_equal(decode_rle(encode_rle(mask)), mask)


def test_run_lengths_are_what_the_coco_tools_read():
    mask = np.random.default_rng(3).random((9, 14)) < 0.4
    rle = encode_rle(mask)
    packed = coco_mask.frPyObjects(rle, *rle["size"])
    np.testing.assert_array_equal(coco_mask.decode(packed).astype(bool), mask)


@pytest.mark.parametrize("mask", [np.zeros((2, 2), np.uint8), np.zeros(4, bool)])
def test_other_arrays_are_refused(mask):
    with pytest.raises(ShapeError, match=r"\(H, W\) bool"):
        encode_rle(mask)


def test_result_becomes_plain_json():
    masks = np.zeros((1, 4, 6), bool)
    masks[0, 1:3, 2:5] = True
    detections = Detections(
        np.array([[2, 1, 5, 3]], np.float32),
        np.array([0.75], np.float32),
        np.zeros(1, np.int64),
        ("red mug",),
        Masks.cut(masks),
        track_ids=np.array([7]),
    )
    branches = (Branch(Route.SEGMENT, ("red mug",), detections),)
    result = Result("7", 5, "cam", "Here.", branches, {"vision": 1.5}, raw_text="Here.[SEG]")
    document = json.loads(json.dumps(result_to_json(result, with_masks=True)))
    (instance,) = document["instances"]
    np.testing.assert_array_equal(decode_rle(instance.pop("mask")), masks[0])
    assert instance == {
        "route": "[SEG]",
        "label": "red mug",
        "score": 0.75,
        "box_xyxy": [2.0, 1.0, 5.0, 3.0],
        "track_id": 7,
    }
    assert document["routes"] == ["[SEG]"]
    assert (document["command_id"], document["stamp_ns"], document["frame_id"]) == ("7", 5, "cam")
    assert (document["text"], document["stage_ms"]) == ("Here.", {"vision": 1.5})
    assert document["raw_text"] == "Here.[SEG]"
    assert (document["in_domain"], document["answer_score"]) == (None, None)
    assert (document["counts"], document["classes"]) == ({"red mug": 1}, [])
    assert "mask" not in result_to_json(result)["instances"][0]


def test_label_map_becomes_classes():
    class_ids = np.array([[0, 0, UNLABELLED], [0, 2, 2]], np.uint16)
    branch = Branch(
        Route.SEGMENT, ("road", "sky", "car"), Detections.empty(), LabelMap(class_ids, 0.5)
    )
    document = json.loads(json.dumps(result_to_json(Result("", 0, "", "", (branch,)))))
    assert document["counts"] == {"road": 0, "sky": 0, "car": 0}
    assert document["classes"] == [
        {"class_id": 0, "label": "road", "pixels": 3},
        {"class_id": 1, "label": "sky", "pixels": 0},
        {"class_id": 2, "label": "car", "pixels": 2},
    ]
    document = result_to_json(Result("", 0, "", "", (branch,)), with_masks=True)
    np.testing.assert_array_equal(decode_rle(document["classes"][2]["mask"]), class_ids == 2)


def test_text_only_answer_has_no_route():
    document = result_to_json(Result("", 0, "", "A mug."))
    assert document["routes"] == [] and document["instances"] == []


def test_what_is_known_of_an_answer_is_in_its_json():
    result = Result("", 0, "", "Yes.", in_domain=False, answer_score=0.75, answer_age=4)
    document = json.loads(json.dumps(result_to_json(result)))
    assert (document["in_domain"], document["answer_score"]) == (False, 0.75)
    assert document["answer_age"] == 4


def test_an_instance_without_a_track_has_none_in_json():
    found = Detections(
        np.zeros((2, 4), np.float32),
        np.ones(2, np.float32),
        np.zeros(2, np.int64),
        ("mug", "mug"),
        track_ids=np.array([0, 3]),
    )
    result = Result("", 0, "", "", (Branch(Route.DETECT, ("mug",), found),))
    first, second = result_to_json(result)["instances"]
    assert "track_id" not in first and second["track_id"] == 3


def test_poses_list_named_keypoints_and_edges():
    found = Detections(
        boxes_xyxy=np.array([(1, 2, 3, 4)], np.float32),
        scores=np.array([0.75], np.float32),
        class_ids=np.zeros(1, np.int64),
        labels=("person",),
        keypoints=Keypoints(
            names=("nose", "left eye"),
            points_xy=np.array([[(1.234, 2), (3, 4.5)]], np.float32),
            scores=np.full((1, 2), 0.75, np.float32),
            edges=((0, 1),),
        ),
    )
    result = Result("", 0, "", "", (Branch(Route.POSE, ("person",), found),))
    (row,) = json.loads(json.dumps(result_to_json(result)))["instances"]
    assert row["route"] == "[POSE]"
    assert row["keypoints"] == [
        {"name": "nose", "xy": [1.23, 2.0], "score": 0.75},
        {"name": "left eye", "xy": [3.0, 4.5], "score": 0.75},
    ]
    assert row["skeleton_edges"] == [[0, 1]]


def test_images_are_listed_with_what_reproduces_them():
    image = GeneratedImage(Route.EDIT, np.zeros((48, 64, 3), np.uint8), 2**62, 20, "dpm++")
    document = json.loads(json.dumps(result_to_json(Result("", 0, "", "Here.", images=(image,)))))
    assert document["routes"] == ["[EDIT]"] and document["instances"] == []
    assert document["images"] == [
        {
            "route": "[EDIT]",
            "width": 64,
            "height": 48,
            "seed": 2**62,
            "steps": 20,
            "scheduler": "dpm++",
        }
    ]

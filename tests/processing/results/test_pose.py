from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from vl2_ros.errors import RouteError, ShapeError
from vl2_ros.model.pose.config import OKS_SIGMAS
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import fit_pose_letterbox, preprocess_pose
from vl2_ros.processing.results.detection import Selection, select_instances
from vl2_ros.processing.results.pose import (
    find_pose_request,
    make_poses,
    place_keypoints,
    pose_similarity,
    suppress_poses,
)
from vl2_ros.structures import Frame, Route

DET, POSE, SEG = Route.DETECT, Route.POSE, Route.SEGMENT


def make_raw(groups: int, classes: int, keypoints: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(groups, classes)).astype(np.float32)
    return logits, rng.random((groups, 4)) / 2 + 0.2, rng.random((groups, keypoints, 2))


@pytest.mark.golden
def test_poses_in_pixels_match_the_reference(golden_dir):
    post = json.loads((golden_dir / "unipose_tiny_eval.json").read_text())["post"]
    tensors = load_file(golden_dir / "unipose_tiny_eval.safetensors")
    source = f"out.{post['source']}"
    points = tensors[f"{source}.pred_keypoints"]
    points = points[..., : points.shape[-1] * 2 // 3]
    points = points.reshape(*points.shape[:2], -1, 2)
    for image, frame_hw in enumerate(post["target_sizes"]):
        golden = {
            name: tensors[f"post.{image}.{name}"]
            for name in ("scores", "labels", "boxes", "keypoints")
        }
        chosen = select_instances(
            tensors[f"{source}.pred_logits"][image],
            tensors[f"{source}.pred_boxes"][image],
            num_classes=post["num_classes"][image],
            frame_hw=tuple(frame_hw),
            top_k=post["topk"],
        )
        ids = post["id_mapping"][image]
        assert [ids[str(one)] for one in chosen.class_ids] == golden["labels"].tolist()
        np.testing.assert_allclose(chosen.scores, golden["scores"], atol=1e-6)
        np.testing.assert_allclose(chosen.boxes_xyxy, golden["boxes"], atol=1e-3)
        count = post["num_body_points"][image]
        placed = place_keypoints(points[image], chosen, count, tuple(frame_hw))
        triplets = golden["keypoints"].reshape(len(chosen), count, 3)
        np.testing.assert_allclose(placed, triplets[..., :2], atol=1e-3)


def test_keypoints_go_with_the_chosen_object_and_are_cut_to_the_names():
    logits = np.array([[0.0, 5.0], [3.0, -9.0]], np.float32)
    boxes = np.array([[0.5, 0.5, 0.2, 0.2], [0.9, 0.9, 0.4, 0.4]])
    points = np.arange(12).reshape(2, 3, 2) / 12
    poses = make_poses(
        logits,
        boxes,
        points,
        objects=["cat", "dog"],
        keypoints=["nose", "left eye"],
        frame_hw=(120, 240),
        score_threshold=0.9,
    )
    assert poses.labels == ("dog", "cat")
    np.testing.assert_allclose(poses.keypoints.points_xy[0], [(0, 10), (40, 30)], atol=1e-4)
    np.testing.assert_allclose(poses.keypoints.points_xy[1], [(120, 70), (160, 90)], atol=1e-4)
    # The box is cut at the border of the image.
    np.testing.assert_allclose(poses.boxes_xyxy[1], (168, 84, 240, 120), atol=1e-4)
    assert poses.keypoints.edges == ((0, 1),)


def test_nothing_above_the_threshold_is_an_empty_result():
    raw = make_raw(4, 1, 2)
    poses = make_poses(
        *raw,
        objects=["cat"],
        keypoints=["nose"],
        frame_hw=(9, 9),
        score_threshold=0.999,
        nms_oks=0.9,
    )
    assert len(poses) == 0
    assert poses.keypoints.points_xy.shape == (0, 1, 2)


def test_fewer_slots_than_names_are_refused():
    raw = make_raw(4, 1, 2)
    with pytest.raises(ShapeError, match=">= 3"):
        make_poses(*raw, objects=["cat"], keypoints=["a", "b", "c"], frame_hw=(9, 9))


def test_similarity_is_that_of_the_formula():
    boxes = np.array([(0, 0, 40, 25), (0, 0, 10, 10)], np.float64)
    points = np.array([[(5, 5), (9, 9)], [(5, 8), (9, 9)]], np.float32)
    alike = pose_similarity(points, boxes, ["nose", "handle"])
    # Three pixels off at the nose, sizes 40 x 25 and 10 x 10; the handle is where it was.
    for row, area in enumerate((1000.0, 100.0)):
        nose = np.exp(-9 / (2 * area * (2 * OKS_SIGMAS[0]) ** 2))
        assert alike[row, 1 - row] == pytest.approx((nose + 1) / 2)
    np.testing.assert_allclose(np.diag(alike), 1)


def make_selection(class_ids: list[int]) -> Selection:
    count = len(class_ids)
    return Selection(
        query_index=np.arange(count),
        class_ids=np.array(class_ids),
        scores=np.linspace(0.9, 0.5, count),
        boxes_xyxy=np.tile(np.array([0, 0, 50, 50.0]), (count, 1)),
    )


def test_the_better_of_two_like_poses_stays_and_other_classes_do():
    points = np.zeros((4, 2, 2))
    points[2] += 40
    points[3, 0] += 0.5
    kept = suppress_poses(make_selection([0, 1, 0, 0]), points, ["a", "b"], 0.9)
    assert kept.tolist() == [0, 1, 2]


def test_a_pose_that_only_a_dropped_one_repeats_stays():
    # 0 repeats 1, 1 repeats 2, but 0 and 2 are apart.
    points = np.array([0.0, 3.0, 6.0])[:, None, None] * np.ones((1, 1, 2))
    selection = make_selection([0, 0, 0])
    alike = pose_similarity(points, selection.boxes_xyxy, ["a"])
    threshold = (alike[0, 1] + alike[0, 2]) / 2
    assert suppress_poses(selection, points, ["a"], threshold).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("routes", "objects", "keypoints"),
    [
        ([DET, POSE, POSE], (0,), (1, 2)),
        ([DET, DET, POSE], (0, 1), (2,)),
        ([SEG, DET, POSE, DET], (1,), (2,)),
        ([DET, POSE, SEG, POSE], (0,), (1, 3)),
    ],
)
def test_objects_are_the_detections_before_the_first_keypoint(routes, objects, keypoints):
    request = find_pose_request(routes)
    assert (request.objects, request.keypoints) == (objects, keypoints)


def test_without_keypoints_nothing_is_asked_for_and_without_objects_it_cannot_be():
    assert find_pose_request([DET, SEG]) is None
    assert find_pose_request([]) is None
    with pytest.raises(RouteError, match="2 keypoints"):
        find_pose_request([SEG, POSE, POSE, DET])


@pytest.mark.parametrize(
    ("frame_hw", "model_hw", "padded_hw"),
    [
        ((640, 457), (1120, 800), (1120, 800)),
        ((333, 501), (800, 1203), (800, 1216)),  # 1203.6 is cut
        ((480, 1280), (500, 1333), (512, 1344)),  # 499.9 is rounded, then 1333.3 cut
        ((1, 3000), (1, 3000), (32, 3008)),
        ((7, 7), (800, 800), (800, 800)),
    ],
)
def test_image_is_sized_by_the_rule_of_detr(frame_hw, model_hw, padded_hw):
    letterbox = fit_pose_letterbox(frame_hw, ProcessingConfig())
    assert (letterbox.frame_hw, letterbox.model_hw) == (frame_hw, model_hw)
    assert letterbox.padded_hw == padded_hw


def test_image_is_normalised_and_padded_with_zeros():
    config = ProcessingConfig(decoder_short=96, decoder_long=160)
    rgb = np.full((333, 501, 3), (255, 0, 128), np.uint8)
    pixels, mask, letterbox = preprocess_pose(Frame(rgb), config)
    assert pixels.shape == (3, 96, 160) and letterbox.model_hw == (96, 144)
    assert mask[:, :144].all() and not mask[:, 144:].any()
    assert not pixels[:, :, 144:].any()
    expected = (np.array([1, 0, 128 / 255]) - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(pixels[:, 50, 70], expected, atol=1e-5)

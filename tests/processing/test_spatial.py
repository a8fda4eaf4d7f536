from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.processing.spatial import CameraModel, DepthImage, SpatialView
from vl2_ros.structures import Detections

#: Focal length 100 pixels, the axis through the corner between pixels (20, 10).
MATRIX = np.array([[100.0, 0.0, 19.5], [0.0, 100.0, 9.5], [0.0, 0.0, 1.0]])
FRAME_HW = (21, 43)


def make_view(values: np.ndarray, unit_m: float = 1.0, **camera) -> SpatialView:
    fields = {"matrix": MATRIX, "distortion": np.zeros(0), "frame_hw": FRAME_HW} | camera
    return SpatialView(CameraModel(**fields), DepthImage(values, unit_m))


def make_detections(*boxes, masks: np.ndarray | None = None) -> Detections:
    count = len(boxes)
    return Detections(
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.linspace(0.9, 0.5, count, dtype=np.float32),
        class_ids=np.zeros(count, np.int64),
        labels=("mug",) * count,
        masks=masks,
    )


def test_box_is_placed_where_its_rays_meet_the_depth():
    view = make_view(np.full(FRAME_HW, 2.0, np.float32))
    boxes = view.locate(make_detections([20, 10, 30, 15]))
    # Corners lie 0 and 10 pixels right of the axis, 0 and 5 below: times 2 m over 100 pixels.
    np.testing.assert_allclose(boxes.centers_m, [[0.1, 0.05, 2.0]], atol=1e-9)
    np.testing.assert_allclose(boxes.sizes_m, [[0.2, 0.1, 0.0]], atol=1e-9)
    assert boxes.is_placed.tolist() == [True]


def test_left_and_upper_are_negative():
    view = make_view(np.full(FRAME_HW, 1.0, np.float32))
    (center,) = view.locate(make_detections([0, 0, 10, 4])).centers_m
    np.testing.assert_allclose(center, [-0.15, -0.08, 1.0], atol=1e-9)


def test_millimetres_of_16_bits_and_a_depth_of_half_the_size():
    values = np.full((11, 22), 1500, np.uint16)
    boxes = make_view(values, 1e-3).locate(make_detections([20, 10, 30, 15]))
    np.testing.assert_allclose(boxes.centers_m[0, 2], 1.5)


def test_mask_keeps_the_background_out():
    depth = np.full(FRAME_HW, 5.0, np.float32)
    mask = np.zeros((1, *FRAME_HW), np.bool_)
    mask[0, 4:8, 30:40] = True
    depth[4:8, 30:40] = np.linspace(0.9, 1.1, 10)
    box = [28, 2, 42, 20]
    masked = make_view(depth).locate(make_detections(box, masks=mask))
    np.testing.assert_allclose(masked.centers_m[0, 2], 1.0, atol=1e-6)
    assert 0.1 < masked.sizes_m[0, 2] <= 0.2
    plain = make_view(depth).locate(make_detections(box))
    np.testing.assert_allclose(plain.centers_m[0, 2], 5.0)


def test_unknown_depth_places_nothing_and_spoils_nothing():
    depth = np.full(FRAME_HW, 2.0, np.float32)
    depth[:, :20] = 0.0
    depth[0:5, 20:] = np.nan
    depth[5:8, 20:] = np.inf
    boxes = make_view(depth).locate(make_detections([2, 2, 16, 16], [22, 0, 40, 21]))
    assert boxes.is_placed.tolist() == [False, True]
    assert not boxes.centers_m[0].any()
    np.testing.assert_allclose(boxes.centers_m[1, 2], 2.0)


def test_box_beyond_the_border_and_no_box():
    view = make_view(np.full(FRAME_HW, 2.0, np.float32))
    assert view.locate(make_detections([-9, -9, 60, 60])).is_placed.tolist() == [True]
    empty = view.locate(make_detections())
    assert empty.centers_m.shape == empty.sizes_m.shape == (0, 3)


@pytest.mark.parametrize("is_fisheye", [False, True])
def test_lens_is_taken_out(is_fisheye):
    import cv2

    distortion = np.array([0.1, -0.05, 0.01, 0.002])
    camera = CameraModel(MATRIX, distortion, FRAME_HW, is_fisheye)
    rays = np.array([[0.1, 0.05], [-0.15, -0.08]])
    points = np.column_stack([rays, np.ones(2)]).reshape(-1, 1, 3)
    project = cv2.fisheye.projectPoints if is_fisheye else cv2.projectPoints
    pixels = project(points, np.zeros(3), np.zeros(3), MATRIX, distortion)[0].reshape(-1, 2)
    np.testing.assert_allclose(camera.cast_rays(pixels + 0.5), rays, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"matrix": MATRIX * np.nan}, "not finite"),
        ({"matrix": np.zeros((3, 3))}, "focal lengths must be positive"),
        ({"distortion": np.array([np.inf])}, "not finite"),
        ({"matrix": np.eye(2)}, r"must be \(3, 3\)"),
    ],
)
def test_bad_calibration_is_refused(changes, expected):
    with pytest.raises(InputError, match=expected):
        make_view(np.ones(FRAME_HW, np.float32), **changes)


def test_depth_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"\(H, W\)"):
        DepthImage(np.zeros((3, 4, 1)), 1.0)

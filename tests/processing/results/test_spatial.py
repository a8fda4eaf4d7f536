from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vl2_ros.errors import ShapeError
from vl2_ros.processing.results.camera_model import CameraModel
from vl2_ros.processing.results.rigid_transform import RigidTransform
from vl2_ros.processing.results.spatial import DepthImage, SpatialView
from vl2_ros.structures import Detections, Keypoints, Masks

#: Focal length 100 pixels, the axis through the corner between pixels (20, 10).
MATRIX = np.array([[100.0, 0.0, 19.5], [0.0, 100.0, 9.5], [0.0, 0.0, 1.0]])
FRAME_HW = (21, 43)


def make_view(values: np.ndarray, unit_m: float = 1.0, **camera) -> SpatialView:
    fields = {"matrix": MATRIX, "distortion": np.zeros(0), "frame_hw": FRAME_HW} | camera
    return SpatialView(CameraModel(**fields), DepthImage(values, unit_m))


def make_detections(*boxes, masks: Masks | None = None) -> Detections:
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
    masked = make_view(depth).locate(make_detections(box, masks=Masks.cut(mask)))
    # What lies further off than 0.09 m, half of the box's height, is not on it.
    near, far = np.quantile(depth[4:8, 31:39], (0.05, 0.95))
    # Between the middle of what is seen and its far end.
    np.testing.assert_allclose(masked.centers_m[0, 2], (1.0 + far) / 2, atol=1e-6)
    np.testing.assert_allclose(masked.sizes_m[0, 2], 1.0 + far - 2 * near, atol=1e-6)
    plain = make_view(depth).locate(make_detections(box))
    np.testing.assert_allclose(plain.centers_m[0, 2], 5.0)


def test_the_middle_of_a_ball_lies_behind_what_is_seen_of_it():
    radius, middle = 0.1, np.array([0.02, -0.01, 1.0])
    x, y = np.meshgrid((np.arange(215) + 0.5 - 107.5) / 500, (np.arange(105) + 0.5 - 52.5) / 500)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1)
    length = np.sum(rays**2, axis=-1)
    along = rays @ middle
    square = along**2 - length * (middle @ middle - radius**2)
    mask = square > 0
    depth = np.where(mask, (along - np.sqrt(np.maximum(square, 0))) / length, 2.0)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    matrix = np.array([[500.0, 0, 107.0], [0, 500.0, 52.0], [0, 0, 1]])
    view = make_view(depth.astype(np.float32), matrix=matrix, frame_hw=(105, 215))
    boxes = view.locate(make_detections(box, masks=Masks.cut(mask[None])))
    surface_m = np.median(depth[mask])
    assert middle[2] - surface_m > 0.06
    np.testing.assert_allclose(boxes.centers_m[0], middle, atol=0.06)
    assert abs(boxes.centers_m[0, 2] - middle[2]) < (middle[2] - surface_m) * 0.8
    # Wholly in front of the table behind it.
    assert boxes.centers_m[0, 2] + boxes.sizes_m[0, 2] / 2 < middle[2] + radius
    np.testing.assert_allclose(boxes.sizes_m[0, :2], 2 * radius, rtol=0.1)


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


#: A fisheye of 43x21 pixels that sees 90 degrees to the left and right of the axis 14 pixels away.
FISHEYE = {
    "matrix": np.array([[9.0, 0.0, 20.5], [0.0, 9.0, 9.5], [0.0, 0.0, 1.0]]),
    "distortion": np.array([0.001, 0.0, 0.0, 0.0]),
    "is_fisheye": True,
}


@pytest.mark.parametrize(
    ("camera", "limit"),
    [
        (FISHEYE, "89 degrees"),
        # r (1 - 0.9 r^2) folds back at r = 0.61; the border is at 43 / 2 / 50 = 0.43 of the image.
        ({"matrix": MATRIX * 0.5 + np.diag([0, 0, 0.5]), "distortion": [-0.9, 0, 0, 0]}, "31 deg"),
        ({"matrix": MATRIX * 0.5 + np.diag([0, 0, 0.5]), "distortion": [-0.9, 0, 0, 0, 0]}, "31 d"),
    ],
)
def test_what_reaches_beyond_the_lens_is_not_placed_and_the_reason_is_said(camera, limit):
    camera = camera | {"distortion": np.array(camera["distortion"])}
    view = make_view(np.full(FRAME_HW, 2.0, np.float32), **camera)
    found = make_detections([8, 4, 13, 16], [0, 2, 6, 20], [37, 0, 43, 21], [15, 5, 20, 12])
    boxes = view.locate(found)
    assert boxes.is_placed[0] and boxes.is_placed[3] and not boxes.is_placed[2]
    for values in (boxes.centers_m, boxes.sizes_m):
        assert np.isfinite(values).all() and np.abs(values).max() < 100
        assert not values[~boxes.is_placed].any()
    assert (boxes.sizes_m >= 0).all() and (boxes.sizes_m[boxes.is_placed, :2] > 0).all()
    reason = view.explain_unseen([found, make_detections()])
    assert f"{np.sum(~boxes.is_placed)} of 4 instances reach further than {limit}" in reason
    assert view.explain_unseen([make_detections([15, 5, 20, 12])]) == ""


def test_sides_of_a_box_near_the_border_of_a_fisheye_stay_in_order():
    view = make_view(np.full(FRAME_HW, 1.0, np.float32), **FISHEYE)
    # Its upper left corner is seen 81 degrees off the axis, right of its lower right one in space.
    (size,) = view.locate(make_detections([29, 0, 31, 10])).sizes_m
    assert (size[:2] > 0).all()


def test_places_are_turned_and_moved_into_the_frame_of_the_calibration():
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    plain = make_view(np.full(FRAME_HW, 2.0, np.float32))
    turned = make_view(
        np.full(FRAME_HW, 2.0, np.float32), rotation=quarter, origin_m=np.array([0.5, 0.0, 0.0])
    )
    box = make_detections([20, 10, 30, 15])
    x, y, z = plain.locate(box).centers_m[0]
    width, height, depth = plain.locate(box).sizes_m[0]
    np.testing.assert_allclose(turned.locate(box).centers_m, [[0.5 - y, x, z]], atol=1e-12)
    np.testing.assert_allclose(turned.locate(box).sizes_m, [[height, width, depth]], atol=1e-12)
    nowhere = make_view(np.zeros(FRAME_HW, np.float32), origin_m=np.array([0.5, 0.0, 0.0]))
    assert not nowhere.locate(box).centers_m.any()


def test_keypoints_are_placed_by_the_depth_around_them():
    depth = np.full(FRAME_HW, 5.0, np.float32)
    depth[2:19, 8:30] = 2.0
    depth[10, 20] = 0.0
    points = np.array([[[20.5, 10.5], [9.0, 3.0], [36.0, 10.0], [np.nan, 3.0], [-30.0, 400.0]]])
    names = ("nose", "ear", "air", "nowhere", "outside")
    found = replace(
        make_detections([8, 2, 30, 19]),
        keypoints=Keypoints(names, points.astype(np.float32), np.ones((1, 5), np.float32)),
    )
    view = make_view(depth)
    (placed,) = view.locate_keypoints(found)
    np.testing.assert_allclose(placed[0], [0.01, 0.01, 2.0], atol=1e-6)
    np.testing.assert_allclose(placed[1], [-11 / 50, -7 / 50, 2.0], atol=1e-6)
    # What is seen past the instance, or not at all, has no place.
    assert not placed[2:].any()
    transform = RigidTransform.from_quaternion([-0.5, 0.5, -0.5, 0.5], [1.0, 2.0, 3.0])
    (moved,) = view.move("base_link", transform).locate_keypoints(found)
    np.testing.assert_allclose(moved[:2], transform.apply(placed[:2]), atol=1e-9)
    assert not moved[2:].any()


def test_keypoints_of_an_instance_without_depth_have_no_place():
    keypoints = Keypoints(("nose",), np.full((1, 1, 2), 5.0, np.float32), np.ones((1, 1)))
    found = replace(make_detections([2, 2, 9, 9]), keypoints=keypoints)
    assert not make_view(np.zeros(FRAME_HW, np.float32)).locate_keypoints(found).any()
    plain = make_view(np.ones(FRAME_HW, np.float32))
    assert plain.locate_keypoints(make_detections([2, 2, 9, 9])).shape == (1, 0, 3)
    none = replace(
        make_detections(),
        keypoints=Keypoints(("nose",), np.zeros((0, 1, 2), np.float32), np.zeros((0, 1))),
    )
    assert plain.locate_keypoints(none).shape == (0, 1, 3)


def test_depth_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"\(H, W\)"):
        DepthImage(np.zeros((3, 4, 1)), 1.0)

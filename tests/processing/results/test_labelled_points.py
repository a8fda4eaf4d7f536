from __future__ import annotations

import numpy as np
import pytest

from tests.processing.results.test_spatial import FISHEYE, FRAME_HW, make_detections, make_view
from vl2_ros.processing.results.labelled_points import lift_instances
from vl2_ros.processing.results.rigid_transform import RigidTransform
from vl2_ros.structures import Masks

RGB = np.random.default_rng(0).integers(0, 256, (*FRAME_HW, 3), dtype=np.uint8)
MOST = 10_000


def make_masks(*regions: tuple[slice, slice]) -> np.ndarray:
    masks = np.zeros((len(regions), *FRAME_HW), np.bool_)
    for mask, region in zip(masks, regions, strict=True):
        mask[region] = True
    return Masks.cut(masks)


def test_each_masked_pixel_is_a_point_with_its_colour_and_instance():
    masks = make_masks(np.s_[4:6, 10:13], np.s_[5:6, 12:14])
    depth = np.full(FRAME_HW, 2.0, np.float32)
    found = make_detections([10, 4, 13, 6], [12, 5, 14, 6], masks=masks)
    points = lift_instances(make_view(depth), RGB, found, MOST)
    assert points.instances.tolist() == [0] * 6 + [1] * 2
    # A pixel in two masks is two points.
    rows, columns = [4, 4, 4, 5, 5, 5, 5, 5], [10, 11, 12, 10, 11, 12, 12, 13]
    expected = [((x - 19.5) / 50, (y - 9.5) / 50, 2.0) for y, x in zip(rows, columns, strict=True)]
    np.testing.assert_allclose(points.positions_m, expected, atol=1e-6)
    assert points.positions_m.dtype == np.float32
    np.testing.assert_array_equal(points.rgb, RGB[rows, columns])


def test_points_are_moved_into_the_target_frame():
    transform = RigidTransform.from_quaternion([-0.5, 0.5, -0.5, 0.5], [1.0, 2.0, 3.0])
    view = make_view(np.full(FRAME_HW, 2.0, np.float32))
    found = make_detections([10, 4, 13, 6], masks=make_masks(np.s_[4:6, 10:13]))
    plain = lift_instances(view, RGB, found, MOST).positions_m
    moved = lift_instances(view.move("base_link", transform), RGB, found, MOST).positions_m
    np.testing.assert_allclose(moved, transform.apply(plain), atol=1e-6)


def test_unknown_depth_and_what_the_lens_hides_give_no_point():
    depth = np.full(FRAME_HW, 2.0, np.float32)
    depth[4, 10:13] = (0.0, np.nan, np.inf)
    found = make_detections([10, 4, 13, 6], masks=make_masks(np.s_[4:6, 10:13]))
    assert len(lift_instances(make_view(depth), RGB, found, MOST).positions_m) == 3
    everything = make_detections([0, 0, 43, 21], masks=make_masks(np.s_[:, :]))
    seen = lift_instances(
        make_view(np.full(FRAME_HW, 2.0, np.float32), **FISHEYE), RGB, everything, MOST
    ).positions_m
    assert 0 < len(seen) < FRAME_HW[0] * FRAME_HW[1]
    assert np.isfinite(seen).all()


def test_a_depth_of_half_the_size_gives_a_point_for_each_of_its_pixels():
    values = np.full((7, 43), 1500, ">u2")
    found = make_detections([0, 0, 43, 21], masks=make_masks(np.s_[:, :]))
    points = lift_instances(make_view(values, 1e-3), RGB, found, MOST)
    assert len(points.positions_m) == 7 * 43
    # The first row of the depth lies over the first three of the image.
    np.testing.assert_allclose(
        points.positions_m[0], [-19.5 / 100 * 1.5, (1.5 - 10) / 100 * 1.5, 1.5], atol=1e-6
    )
    np.testing.assert_array_equal(points.rgb[0], RGB[1, 0])


@pytest.mark.parametrize("most", [903, 902, 500, 225, 100, 7, 1])
def test_too_many_points_are_thinned_out_evenly(most):
    found = make_detections([0, 0, 43, 21], masks=make_masks(np.s_[:, :]))
    points = lift_instances(make_view(np.full(FRAME_HW, 2.0, np.float32)), RGB, found, most)
    assert most / 4 <= len(points.positions_m) <= most
    if most >= 100:
        assert (np.ptp(points.positions_m, axis=0)[:2] > (0.75, 0.3)).all()


def test_no_masks_and_no_instances_give_no_points():
    view = make_view(np.full(FRAME_HW, 2.0, np.float32))
    for found in (make_detections([1, 1, 9, 9]), make_detections()):
        points = lift_instances(view, RGB, found, MOST)
        assert points.positions_m.shape == (0, 3)
        assert points.rgb.shape == (0, 3)
        assert len(points.labels) == len(points.instances) == 0

"""A calibration that OpenCV would refuse is refused before it comes to that."""

from __future__ import annotations

import numpy as np
import pytest

from tests.node.wire import make_camera_info
from vl2_ros.errors import InputError
from vl2_ros.node.depth_input import read_camera_info
from vl2_ros.transports.message_types import StoreMessageTypes

TYPES = StoreMessageTypes()


@pytest.mark.parametrize(
    ("lens", "count"),
    [("plumb_bob", 3), ("plumb_bob", 6), ("rational_polynomial", 20), ("equidistant", 5)],
)
def test_a_number_of_coefficients_that_no_lens_has_is_refused(lens, count):
    message = make_camera_info(TYPES, distortion_model=lens, d=np.zeros(count))
    with pytest.raises(InputError, match=f"distortion has {count} coefficients, expected"):
        read_camera_info(message)


@pytest.mark.parametrize(
    ("lens", "count"),
    [*(("plumb_bob", count) for count in (0, 4, 5, 8, 12, 14)), ("equidistant", 4)],
)
def test_rays_are_cast_with_every_number_that_is_taken(lens, count):
    message = make_camera_info(TYPES, distortion_model=lens, d=np.zeros(count))
    rays = read_camera_info(message).cast_rays(np.array([[12.0, 8.0]]))
    np.testing.assert_allclose(rays, [[0.0, 0.0]], atol=1e-9)

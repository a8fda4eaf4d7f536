"""What belongs to an image in space: calibration and depth by stamp, good and bad."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.node.wire import make_camera_info, make_depth, wait_until
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.errors import InputError
from vl2_ros.node.cameras.camera_info import read_camera_info
from vl2_ros.node.cameras.depth_image import read_depth
from vl2_ros.node.request import Mode, Status
from vl2_ros.node.transport import Qos
from vl2_ros.transports.message_types import StoreMessageTypes

MS = 1_000_000
TYPES = StoreMessageTypes()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.close()


def test_calibration_is_read():
    camera = read_camera_info(make_camera_info(TYPES))
    np.testing.assert_array_equal(camera.matrix, [[20, 0, 11.5], [0, 20, 7.5], [0, 0, 1]])
    assert (camera.frame_hw, camera.is_fisheye) == ((16, 24), False)
    assert read_camera_info(
        make_camera_info(TYPES, distortion_model="equidistant", d=np.zeros(4))
    ).is_fisheye


def test_binning_and_region_of_interest_move_the_axis():
    roi = TYPES.make("sensor_msgs/msg/RegionOfInterest", x_offset=4, y_offset=2, width=16, height=8)
    camera = read_camera_info(make_camera_info(TYPES, binning_x=2, binning_y=2, roi=roi))
    assert camera.frame_hw == (4, 8)
    # As image_geometry has it, without half a pixel: (11.5 - 4) / 2 and (7.5 - 2) / 2.
    np.testing.assert_allclose(camera.matrix, [[10, 0, 3.75], [0, 10, 2.75], [0, 0, 1]])


@pytest.mark.parametrize(
    ("encoding", "values", "unit_m"),
    [
        ("16UC1", np.arange(6, dtype=np.uint16).reshape(2, 3), 1e-3),
        ("32FC1", np.arange(6, dtype=np.float32).reshape(2, 3), 1.0),
    ],
)
def test_depth_is_read_without_a_copy(encoding, values, unit_m):
    message = make_depth(TYPES, 1, values)
    depth = read_depth(message)
    np.testing.assert_array_equal(depth.values, values)
    assert (message.encoding, depth.unit_m) == (encoding, unit_m)
    assert np.shares_memory(depth.values, message.data)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"encoding": "rgb8"}, "expected 16UC1"),
        ({"step": 5}, "contradicts itself"),
        ({"height": 3}, "contradicts itself"),
        ({"height": 0, "width": 0, "step": 0, "data": np.zeros(0, np.uint8)}, "0x0"),
    ],
)
def test_bad_depth_is_refused(changes, expected):
    values = np.ones((2, 3), np.uint16)
    with pytest.raises(InputError, match=expected):
        read_depth(make_depth(TYPES, 1, values, **changes))


def start_with_depth(rig: Rig, parameters: dict | None = None, **info):
    """Open image, depth and calibration topics; returns what sends a depth image."""
    rig.start(**(parameters or {}))
    places = rig.subscribe("~/detections_3d")
    node = rig.open("depth_camera")
    infos = node.advertise("/camera_info", "sensor_msgs/msg/CameraInfo", Qos())
    depths = node.advertise("/depth", "sensor_msgs/msg/Image", Qos())
    wait_until(lambda: infos.count_subscribers() and depths.count_subscribers(), "depth is read")
    infos.publish(make_camera_info(TYPES, **info))
    return places, lambda stamp_ns, metres: depths.publish(
        make_depth(TYPES, stamp_ns, np.full((16, 24), metres, np.float32))
    )


@pytest.mark.parametrize("depth_first", [False, True])
def test_depth_nearest_in_time_places_the_instances(rig, depth_first):
    places, send_depth = start_with_depth(rig)
    camera = rig.open_camera()

    def send_depths():
        for stamp_ns, metres in ((60 * MS, 9.0), (99 * MS, 3.0), (120 * MS, 9.0)):
            send_depth(stamp_ns, metres)

    if depth_first:
        send_depths()
    rig.show(camera, 100 * MS)
    if not depth_first:
        send_depths()
    # The transport's thread takes messages in order: the command is taken after the depth.
    rig.command("a")
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.message) == (Status.OK, "")
    (array,) = places.wait()
    assert [one.results[0].hypothesis.class_id for one in array.detections] == ["mug", "bowl"]
    center = array.detections[0].bbox.center.position
    # The box of the mug, 1..6, seen from the middle of 24x16 pixels with a focal length of 20.
    np.testing.assert_allclose(
        (center.x, center.y, center.z), ((3.5 - 12) / 20 * 3, (3.5 - 8) / 20 * 3, 3.0), atol=1e-6
    )
    assert array.header.frame_id == "image_link"


def test_depth_that_is_too_old_is_skipped_and_the_result_says_so(rig):
    places, send_depth = start_with_depth(rig)
    camera = rig.open_camera()
    send_depth(1 * MS, 2.0)
    rig.show(camera, 100 * MS)
    rig.command("a")
    (result,) = rig.results.wait_for("a")
    assert (result.status, places.list()) == (Status.OK, [])
    assert "no depth image on /depth is within depth_tolerance_s of 0.05 s" in result.message
    assert "the nearest is 0.099 s older" in result.message


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"k": np.full(9, np.nan)}, "not finite"),
        ({"k": np.zeros(9)}, "focal lengths must be positive"),
        ({"width": 640, "height": 480}, "for 640x480 pixels, the image has 24x16"),
        ({"distortion_model": "magic"}, "distortion_model must be one of"),
        ({"distortion_model": "", "d": np.full(5, 0.1)}, "got '' with 5 coefficients"),
        ({"distortion_model": "equidistant", "d": np.full(5, 0.1)}, "has 4 coefficients, got 5"),
        ({"distortion_model": "equidistant", "d": np.full(8, 0.1)}, "has 4 coefficients, got 8"),
        ({"d": np.full(3, 0.1)}, "4, 5, 8, 12 or 14 coefficients, got 3"),
        ({"d": np.full(6, 0.1)}, "4, 5, 8, 12 or 14 coefficients, got 6"),
        ({"r": np.ones(9)}, "orthonormal"),
    ],
)
def test_bad_calibration_is_reported_in_the_result_and_the_answer_stands(rig, info, expected):
    places, send_depth = start_with_depth(rig, **info)
    camera = rig.open_camera()
    rig.command("w", mode=int(Mode.WATCH))
    send_depth(1 * MS, 2.0)
    rig.show(camera, 1 * MS)
    rig.command("a")
    (result,) = rig.results.wait_for("a")
    assert result.status == Status.OK
    assert "nothing is placed in space: camera image" in result.message
    assert expected in result.message
    assert [one.label for one in result.instances] == ["mug", "bowl"]
    rig.show(camera, 2 * MS)
    assert [one.status for one in rig.results.wait_for("w", 2)] == [Status.OK, Status.OK]
    assert places.list() == []


@pytest.mark.parametrize(
    "info",
    [
        {"distortion_model": "equidistant", "d": np.zeros(0)},
        {"distortion_model": "equidistant", "d": np.zeros(8)},
        {"distortion_model": "rational_polynomial", "d": np.zeros(6)},
        {"distortion_model": "", "d": np.zeros(3)},
    ],
)
def test_no_coefficients_or_zeros_are_no_distortion_whatever_the_model(rig, info):
    places, send_depth = start_with_depth(rig, **info)
    camera = rig.open_camera()
    send_depth(1 * MS, 2.0)
    rig.show(camera, 1 * MS)
    rig.command("a")
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.message) == (Status.OK, "")
    (array,) = places.wait()
    np.testing.assert_allclose(array.detections[0].bbox.center.position.x, (3.5 - 12) / 20 * 2)


def test_what_the_lens_keeps_from_being_placed_is_said_in_the_result(rig):
    # r (1 - 0.49 r^2) is at most 0.55: 11 pixels from the axis. The mug reaches to 11.9.
    places, send_depth = start_with_depth(rig, d=np.array([-0.49, 0, 0, 0, 0]))
    camera = rig.open_camera()
    send_depth(1 * MS, 2.0)
    rig.show(camera, 1 * MS)
    rig.command("a")
    (result,) = rig.results.wait_for("a")
    assert result.status == Status.OK
    assert "not everything is placed in space: camera image: 1 of 2 instances" in result.message
    assert [one.label for one in result.instances] == ["mug", "bowl"]
    (array,) = places.wait()
    assert [one.results[0].hypothesis.class_id for one in array.detections] == ["bowl"]


@pytest.mark.parametrize(
    ("name", "choice", "is_rectified"),
    [
        ("image_rect", "auto", True),
        ("image_rect_color", "auto", True),
        ("image", "auto", False),
        ("image", "always", True),
        ("image_rect", "never", False),
    ],
)
def test_a_rectified_image_is_placed_by_p(rig, name, choice, is_rectified):
    places, send_depth = start_with_depth(
        rig,
        parameters={"cameras": (name,), "image_rectified": choice},
        d=np.array([-0.05, 0, 0, 0, 0]),
        p=np.array([16.0, 0, 9, 0, 0, 16, 7, 0, 0, 0, 1, 0]),
    )
    camera = rig.open_camera(f"/{name}")
    send_depth(1 * MS, 2.0)
    rig.show(camera, 1 * MS, name=name)
    rig.command("a")
    rig.results.wait_for("a")
    (array,) = places.wait()
    x = array.detections[0].bbox.center.position.x
    if is_rectified:
        assert x == pytest.approx((3.0 - 9) / 16 * 2)
    else:
        # (3 - 11.5) / 20 * 2 by K, and a little further out by the lens.
        assert -0.9 < x < -0.855


def test_camera_without_depth_topic_subscribes_to_none(rig):
    rig.start(depth_topics=())
    node = rig.open("depth_camera")
    depth = node.advertise("/depth", "sensor_msgs/msg/Image", Qos())
    info = node.advertise("/camera_info", "sensor_msgs/msg/CameraInfo", Qos())
    assert (depth.count_subscribers(), info.count_subscribers()) == (0, 0)

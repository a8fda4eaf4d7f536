"""Depth and calibration give detections their position in space, on every transport."""

from __future__ import annotations

import numpy as np

from tests.node.wire import Inbox, make_camera_info, make_depth, wait_until
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos

MS = 1_000_000


def test_misspelt_depth_topic_is_a_warning_and_in_the_result(rig, caplog):
    rig.start(depth_topics=("dpeth",), camera_timeout_s=0.3, diagnostics_period_s=0.1)
    diagnostics = Inbox(rig.client, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Qos())

    def find_depth(array):
        (status,) = [one for one in array.status if one.name == "vl2: camera image depth"]
        return status

    array = diagnostics.wait(1, lambda array: "no depth ever" in find_depth(array).message)[0]
    # ROS 2 has a byte here as bytes, the type library as a number.
    assert find_depth(array).level in (1, b"\x01")
    assert "/dpeth/compressedDepth: nothing publishes there" in find_depth(array).message
    (line,) = [one for one in caplog.messages if "no depth ever came on /dpeth" in one]
    assert line.startswith("camera image depth:")
    rig.show(rig.open_camera(), 1 * MS)
    rig.command("a")
    assert "no depth image came on /dpeth" in rig.results.wait_for("a")[0].message


def test_depth_and_calibration_place_what_was_found(rig):
    rig.start()
    camera = rig.open_camera()
    node = rig.open("depth_camera")
    info = node.advertise("/camera_info", "sensor_msgs/msg/CameraInfo", Qos(reliable=False))
    depth = node.advertise("/depth", "sensor_msgs/msg/Image", Qos(reliable=False))
    wait_until(lambda: info.count_subscribers() and depth.count_subscribers(), "depth is read")
    detections = Inbox(
        rig.client, rig.name_of("~/detections_3d"), "vision_msgs/msg/Detection3DArray", Qos()
    )
    markers = Inbox(
        rig.client, rig.name_of("~/markers"), "visualization_msgs/msg/MarkerArray", Qos()
    )

    def show_and_ask() -> bool:
        # Best effort: on a busy machine one of the three may be lost, so they come again.
        info.publish(make_camera_info(node.types))
        depth.publish(make_depth(node.types, 1 * MS, np.full((16, 24), 2000, np.uint16)))
        rig.show(camera, 1 * MS)
        last = rig.ask("a")
        assert last.status == Status.OK
        # What was lost is named.
        assert not last.message or "nothing is placed in space" in last.message
        return bool(detections.list() and markers.list())

    wait_until(show_and_ask, "both have come")
    (mug, bowl) = detections.list()[0].detections
    position = mug.bbox.center.position
    # Pixels 1..6 of 24x16, focal length 20, two metres away.
    np.testing.assert_allclose((position.x, position.y, position.z), (-0.85, -0.45, 2.0))
    np.testing.assert_allclose((mug.bbox.size.x, mug.bbox.size.y), (0.5, 0.5))
    assert (mug.results[0].hypothesis.class_id, bowl.results[0].hypothesis.class_id) == (
        "mug",
        "bowl",
    )
    assert [one.type for one in markers.list()[0].markers[1:]] == [1, 9, 1, 9]

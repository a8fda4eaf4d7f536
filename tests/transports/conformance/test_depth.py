"""Depth and calibration give detections their position in space, on every transport."""

from __future__ import annotations

import numpy as np

from tests.node.wire import Inbox, make_camera_info, make_depth, wait_until
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos

MS = 1_000_000


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
        rig.command("a")
        last = rig.results.wait_for("a", len(rig.results.list()) + 1)[-1]
        assert (last.status, last.message) == (Status.OK, "")
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

"""Things in space come out in the target frame, by transforms of every transport."""

from __future__ import annotations

import numpy as np

from tests.node.frames.moving_camera import (
    BASE_FROM_CAMERA,
    MS,
    MovingCamera,
    position_of,
    rotation_of,
)
from tests.node.wire import Inbox, stamp_of, wait_until
from vl2_ros.node.request import Status
from vl2_ros.processing.results.rigid_transform import RigidTransform

#: Where the mug of the scripted perceiver lies in the optical frame, two metres away.
MUG = np.array([-0.85, -0.45, 2.0])


def is_placed(array) -> bool:
    """Whether an array of markers shows objects, and not their removal alone."""
    return len(array.markers) > 2


def ask_until_placed(rig, camera, outputs: tuple[Inbox, ...], stamp_ns: int) -> None:
    """Ask until depth and transforms, which best effort may lose, have come, and every output."""

    def ask() -> bool:
        camera.show(stamp_ns)
        last = rig.ask("a", "segment it")
        assert last.status == Status.OK
        assert last.header.frame_id == "image_link"
        return last.message == "" and all(inbox.list() for inbox in outputs)

    wait_until(ask, "an answer is placed")


def test_three_topics_have_the_target_frame_and_its_axes(rig):
    rig.start(target_frame="odom")
    camera = MovingCamera(rig)
    names = ("~/detections_3d", "~/markers", "~/points", "~/detections")
    places, markers, clouds, boxes = (rig.subscribe(name) for name in names)
    # The base moves along its x, a metre in 100 ms; the camera is fixed to it.
    camera.send(0, child="image_link", topic="/tf_static")
    for stamp_ns, x in ((100 * MS, 4.0), (200 * MS, 5.0)):
        pose = RigidTransform(np.eye(3), np.array([x, 0.0, 0.0]))
        camera.send(stamp_ns, pose, child="base_link", parent="odom")
    ask_until_placed(rig, camera, (places, markers, clouds, boxes), 150 * MS)
    expected = BASE_FROM_CAMERA.apply(MUG) + (4.5, 0, 0)
    array = places.list()[-1]
    assert (array.header.frame_id, stamp_of(array)) == ("odom", 150 * MS)
    mug = array.detections[0]
    assert mug.header.frame_id == "odom"
    for pose in (mug.bbox.center, mug.results[0].pose.pose):
        np.testing.assert_allclose(position_of(pose), expected, atol=1e-6)
        np.testing.assert_allclose(rotation_of(pose), BASE_FROM_CAMERA.rotation, atol=1e-9)
    np.testing.assert_allclose((mug.bbox.size.x, mug.bbox.size.y), (0.5, 0.5), atol=1e-6)

    cube, text = markers.wait(keep=is_placed)[0].markers[1:3]
    assert cube.header.frame_id == text.header.frame_id == "odom"
    np.testing.assert_allclose(position_of(cube.pose), expected, atol=1e-6)
    np.testing.assert_allclose(rotation_of(cube.pose), BASE_FROM_CAMERA.rotation, atol=1e-9)
    # Up in the image is up in the base frame.
    np.testing.assert_allclose(position_of(text.pose) - expected, [0, 0, 0.29], atol=1e-6)

    cloud = clouds.wait()[-1]
    assert (cloud.header.frame_id, stamp_of(cloud)) == ("odom", 150 * MS)
    assert [one.name for one in cloud.fields] == ["x", "y", "z", "rgb", "label", "instance"]
    rows = np.asarray(cloud.data).reshape(cloud.width, cloud.point_step)
    xyz = np.ascontiguousarray(rows[:, :12]).view(np.float32)
    np.testing.assert_allclose(xyz[:, 0], 6.5, atol=1e-5)
    assert boxes.wait()[-1].header.frame_id == "image_link"
    assert rig.results.list()[-1].space_frame_id == "odom"


def test_without_a_transform_results_stay_in_the_optical_frame_and_say_why(rig):
    rig.start(target_frame="base_link", transform_timeout_s=0.0)
    camera = MovingCamera(rig)
    places = rig.subscribe("~/detections_3d")

    def ask() -> bool:
        camera.show(1 * MS)
        last = rig.ask("a")
        assert last.status == Status.OK
        return (
            bool(places.list()) and "not in target_frame 'base_link': no transform" in last.message
        )

    wait_until(ask, "an answer is placed")
    array = places.list()[-1]
    assert array.header.frame_id == "image_link"
    np.testing.assert_allclose(position_of(array.detections[0].bbox.center), MUG, atol=1e-6)

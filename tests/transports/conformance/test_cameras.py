"""Images from cameras: several, compressed, of any quality of service, remapped, large."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest

from tests.node.wire import Inbox, make_compressed_image, make_image, stamp_of, wait_until
from vl2_ros.node.request import Mode, Status
from vl2_ros.node.transport import Qos

MS = 1_000_000


def test_two_cameras_are_distinguished(rig):
    rig.start(cameras=("left", "rear/image"))
    left, rear = rig.open_camera("/left"), rig.open_camera("/rear/image")
    rig.show(left, 1 * MS, name="left")
    rig.show(rear, 2 * MS, name="rear/image")
    rig.command("rear", camera="rear/image")
    rig.command("left", camera="left")
    (of_rear,) = rig.results.wait_for("rear")
    (of_left,) = rig.results.wait_for("left")
    assert (stamp_of(of_rear), of_rear.camera) == (2 * MS, "rear/image")
    assert of_rear.header.frame_id == "rear/image_link"
    assert (stamp_of(of_left), of_left.camera) == (1 * MS, "left")


def test_compressed_image_is_used(rig):
    rig.start()
    camera = rig.open_camera("/image/compressed", compressed=True)
    rig.show(camera, 4 * MS, message=make_compressed_image(rig.client.types, 4 * MS))
    rig.command("a")
    (result,) = rig.results.wait_for("a")
    assert (result.status, stamp_of(result)) == (Status.OK, 4 * MS)
    frame, _ = rig.perceiver.seen[0]
    assert frame.rgb.shape == (16, 24, 3)
    assert frame.rgb[0, 0].tolist() == [200, 0, 0]


def test_image_that_comes_raw_and_compressed_is_used_once(rig):
    rig.start()
    raw = rig.open_camera()
    compressed = rig.open_camera("/image/compressed", compressed=True)
    rig.command("w", mode=int(Mode.WATCH))
    rig.show(raw, 1 * MS)
    rig.results.wait_for("w")
    compressed.publish(make_compressed_image(rig.client.types, 1 * MS))
    # The way of a command and its answer is long enough for the double to arrive.
    rig.command("meanwhile")
    rig.results.wait_for("meanwhile")
    rig.show(compressed, 2 * MS, message=make_compressed_image(rig.client.types, 2 * MS))
    results = rig.results.wait_for("w", 2)
    assert [stamp_of(result) for result in results] == [1 * MS, 2 * MS]
    assert rig.received() == 2


@pytest.mark.parametrize("reliable", [False, True])
@pytest.mark.parametrize("reliability", ["auto", "best_effort"])
def test_image_of_every_publisher_is_taken(rig, reliable, reliability):
    rig.start(image_reliability=reliability)
    camera = rig.open_camera(reliable=reliable)

    def is_taken() -> bool:
        # Best effort: on a busy machine an image may be lost, so it comes again.
        camera.publish(make_image(rig.client.types, 1 * MS))
        time.sleep(0.05)
        return rig.received() > 0

    wait_until(is_taken, "an image has come")
    rig.command("a")
    (result,) = rig.results.wait_for("a")
    assert (result.status, stamp_of(result)) == (Status.OK, 1 * MS)


def test_wrong_quality_of_service_is_a_warning_and_not_silence(rig, caplog):
    rig.start(
        image_reliability="reliable",
        image_transport="raw",
        camera_timeout_s=0.3,
        diagnostics_period_s=0.1,
    )
    diagnostics = Inbox(rig.client, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Qos())
    with caplog.at_level(logging.WARNING):
        node = rig.open("camera")
        camera = node.advertise("/image", "sensor_msgs/msg/Image", Qos(reliable=False))
        wait_until(lambda: rig.client.count_publishers("/image") == 1, "the camera is known")

        def is_said(message) -> bool:
            return any("although 1 publish" in status.message for status in message.status)

        array = diagnostics.wait(1, is_said)[0]
        camera.publish(make_image(node.types))
    (status,) = [one for one in array.status if one.name == "vl2: camera image"]
    # ROS 2 has a byte here as bytes, the type library as a number.
    assert status.level in (1, b"\x01")
    assert "no image ever came on /image" in status.message
    assert "reliable as image_reliability asks" in status.message
    assert any(
        "/image" in one.getMessage() and "eliab" in one.getMessage() for one in caplog.records
    )
    assert rig.received() == 0
    assert camera.count_subscribers() == 0


def test_namespace_and_remapping_move_the_topics(rig):
    rig.start(options={"namespace": "/robot", "remap": {"image": "/head/image_raw"}})
    assert rig.node_name == "/robot/vl2"
    camera = rig.open_camera("/head/image_raw")
    rig.show(camera, 3 * MS)
    rig.command("a")
    (result,) = rig.results.wait_for("a")
    assert (stamp_of(result), result.camera) == (3 * MS, "image")
    compressed = rig.open_camera("/head/image_raw/compressed", compressed=True)
    rig.show(compressed, 4 * MS, message=make_compressed_image(rig.client.types, 4 * MS))


def test_large_image_arrives_as_it_was_sent(rig):
    rig.start()
    camera = rig.open_camera()
    rgb = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    rig.show(camera, 1 * MS, message=make_image(rig.client.types, 1 * MS, rgb=rgb))
    rig.command("a")
    rig.results.wait_for("a")
    np.testing.assert_array_equal(rig.perceiver.seen[0][0].rgb, rgb)

"""Images from cameras: several, compressed, of any quality of service, remapped, large."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest

from tests.node.wire import Inbox, make_compressed_image, make_image, stamp_of, wait_until
from vl2_ros.node.cameras.camera_topic import SETTLE_S
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


def test_driver_of_raw_and_compressed_images_compresses_none(rig):
    rig.start(depth_topics=())
    raw = rig.open_camera()
    driver = rig.open("driver")
    compressed = driver.advertise("/image/compressed", "sensor_msgs/msg/CompressedImage", Qos())
    rig.command("w", mode=int(Mode.WATCH))
    for index in range(6):
        rig.show(raw, index * MS)
        assert compressed.count_subscribers() == 0
        # Longer than the node takes to follow a change.
        time.sleep(SETTLE_S / 2)
    results = rig.results.wait_for("w", 6)
    assert [stamp_of(result) for result in results] == [index * MS for index in range(6)]


def test_raw_and_compressed_images_take_turns_as_their_drivers_do(rig):
    rig.start(depth_topics=())
    rig.command("w", mode=int(Mode.WATCH))
    compressed = rig.open_camera("/image/compressed", compressed=True)
    rig.show(compressed, 1 * MS, message=make_compressed_image(rig.client.types, 1 * MS))
    raw = rig.open_camera()
    wait_until(lambda: compressed.count_subscribers() == 0, "it is left for the raw images")
    rig.show(raw, 2 * MS)
    results = rig.results.wait_for("w", 2)
    assert [stamp_of(result) for result in results] == [1 * MS, 2 * MS]
    assert rig.received() == 2, "the camera's counts go on"


def test_subscription_becomes_as_reliable_as_its_publishers(rig):
    rig.start(diagnostics_period_s=0.2)
    diagnostics = Inbox(rig.client, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Qos())

    def wait_for(reliability: str) -> None:
        def is_said(message) -> bool:
            values = {one.key: one.value for one in message.status[1].values}
            return (values["topic"], values["reliability"]) == ("/image", reliability)

        diagnostics.clear()
        diagnostics.wait(1, is_said)

    first = rig.open_camera()
    wait_for("reliable")
    rig.show(first, 1 * MS)
    node = rig.open("another")
    second = node.advertise("/image", "sensor_msgs/msg/Image", Qos(reliable=False))
    wait_for("best_effort")
    rig.show(second, 2 * MS)
    rig.show(first, 3 * MS)
    node.close()
    wait_for("reliable")
    rig.show(first, 4 * MS)
    rig.command("a")
    (result,) = rig.results.wait_for("a")
    assert (result.status, stamp_of(result)) == (Status.OK, 4 * MS)


def test_a_camera_is_also_named_by_its_topic(rig):
    rig.start(cameras=("image", "rear"), options={"remap": {"rear": "/rear/image_raw"}})
    rear = rig.open_camera("/rear/image_raw")
    rig.show(rear, 3 * MS, name="rear")
    for index, name in enumerate(("rear", "/rear/image_raw")):
        rig.command(f"{index}", camera=name)
        (result,) = rig.results.wait_for(f"{index}")
        assert (result.status, result.camera, stamp_of(result)) == (Status.OK, "rear", 3 * MS)
    # The results of a watch and a refusal have the camera's own name as well.
    rig.command("w", mode=int(Mode.WATCH), camera="/rear/image_raw")
    assert rig.results.wait_for("w")[0].camera == "rear"
    assert [one.camera for one in rig.server.node.list_watches()] == ["rear"]
    rig.command("bad", "", camera="/rear/image_raw")
    assert rig.results.wait_for("bad")[0].camera == "rear"
    rig.command("wrong", camera="/rear/image")
    (refused,) = rig.results.wait_for("wrong")
    assert refused.status == Status.INVALID
    assert "there is no camera '/rear/image'; the node has: image, rear" in refused.message


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
    assert "but 1 of 1 publishers offer best effort" in status.message
    assert "set image_reliability to auto" in status.message
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


def test_compressed_topic_follows_the_raw_one(rig):
    rig.start(
        image_transport="compressed",
        options={"namespace": "/robot", "remap": {"image": "/head/image_raw"}},
    )
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

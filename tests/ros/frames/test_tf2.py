"""Target frames on ROS 2: tf2's own buffer in the node, and our rules beside tf2's."""

from __future__ import annotations

import numpy as np
import pytest

from tests.node.frames.moving_camera import BASE_FROM_CAMERA, MS, position_of, rotation_of
from tests.node.wire import (
    Inbox,
    make_camera_info,
    make_depth,
    make_image,
    make_transforms,
    wait_until,
)
from tests.ros.test_simulated_time import Simulator
from vl2_ros.node.frames.frame_lookup import MissingTransformError
from vl2_ros.node.frames.transform_listener import (
    TRANSFORM_TOPICS,
    TRANSFORM_TYPE,
    TransformListener,
)
from vl2_ros.node.frames.transform_tree import TransformTree
from vl2_ros.node.messages.result_messages import DETECTIONS_3D, RESULT
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos
from vl2_ros.processing.results.rigid_transform import RigidTransform

pytestmark = pytest.mark.ros
S = 1_000_000_000


def make_random_links(random: np.random.Generator):
    """Return transforms of a robot with two arms and a camera, some at uneven times."""
    parents = {
        "base": "odom",
        "torso": "base",
        "left": "torso",
        "gripper": "left",
        "right": "torso",
        "camera": "right",
        "odom": "map",
        "camera_optical": "camera",
    }
    for child, parent in parents.items():
        is_static = child in ("torso", "camera_optical")
        stamps_s = [0.0] if is_static else np.sort(random.uniform(0.0, 8.0, 40))
        for stamp_s in stamps_s:
            quaternion = random.normal(size=4)
            pose = RigidTransform.from_quaternion(quaternion, random.normal(size=3))
            yield child, parent, round(stamp_s * S) + 1, pose, is_static


def test_transforms_are_those_of_tf2_at_any_time_between_any_frames(client):
    import tf2_ros
    from rclpy.time import Time

    random = np.random.default_rng(15)
    tree, buffer, frames = TransformTree(), tf2_ros.Buffer(), set()
    for child, parent, stamp_ns, pose, is_static in make_random_links(random):
        frames |= {child, parent}
        message = make_transforms(client.transport.types, child, parent, stamp_ns, pose)
        (one,) = message.transforms
        (buffer.set_transform_static if is_static else buffer.set_transform)(one, "test")
        rotation, shift = one.transform.rotation, one.transform.translation
        tree.add(
            child,
            parent,
            stamp_ns,
            (rotation.x, rotation.y, rotation.z, rotation.w),
            (shift.x, shift.y, shift.z),
            is_static=is_static,
        )
    found = missing = 0
    for _ in range(2000):
        target, source = (str(one) for one in random.choice(sorted(frames), 2))
        stamp_ns = int(random.uniform(-0.5, 8.5) * S) + S
        try:
            theirs = buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns)).transform
        except tf2_ros.TransformException:
            missing += 1
            with pytest.raises(MissingTransformError):
                tree.find(target, source, stamp_ns)
            continue
        found += 1
        ours = tree.find(target, source, stamp_ns)
        one = theirs.rotation
        rotation = RigidTransform.from_quaternion(
            [one.x, one.y, one.z, one.w], np.zeros(3)
        ).rotation
        np.testing.assert_allclose(ours.rotation, rotation, atol=1e-9)
        shift = [theirs.translation.x, theirs.translation.y, theirs.translation.z]
        np.testing.assert_allclose(ours.translation_m, shift, atol=1e-9)
    assert found > 500 and missing > 200


class Robot:
    """Publishes a camera with depth and its transforms to the node under test."""

    def __init__(self, client) -> None:
        self.client, self.types = client, client.transport.types
        kinds = {
            "/image": "sensor_msgs/msg/Image",
            "/camera_info": "sensor_msgs/msg/CameraInfo",
            "/depth": "sensor_msgs/msg/Image",
        }
        advertise = client.transport.advertise
        self._topics = {name: advertise(name, kind, Qos()) for name, kind in kinds.items()}
        self._topics |= {
            name: advertise(name, TRANSFORM_TYPE, qos) for name, qos in TRANSFORM_TOPICS.items()
        }
        self.results = Inbox(
            client.transport, "/vl2/result", RESULT.type_name, Qos(transient_local=True, depth=100)
        )
        self.places = Inbox(
            client.transport, "/vl2/detections_3d", DETECTIONS_3D.type_name, Qos(depth=100)
        )
        self._asked = 0

    def wait(self) -> None:
        wait_until(
            lambda: all(one.count_subscribers() for one in self._topics.values()),
            "the node is subscribed",
        )

    def send(self, stamp_ns: int, x: float = 0.0) -> None:
        """Send where the base is at a time."""
        pose = RigidTransform(np.eye(3), np.array([x, 0.0, 0.0]))
        message = make_transforms(self.types, "base_link", "odom", stamp_ns, pose)
        self._topics["/tf"].publish(message)

    def send_static(self) -> None:
        """Send where the camera is on its base."""
        message = make_transforms(self.types, "camera_link", "base_link", 0, BASE_FROM_CAMERA)
        self._topics["/tf_static"].publish(message)

    def ask(self, stamp_ns: int):
        """Show an image with depth and ask about it."""
        self._topics["/camera_info"].publish(make_camera_info(self.types))
        values = np.full((16, 24), 2.0, np.float32)
        self._topics["/depth"].publish(make_depth(self.types, stamp_ns, values))
        self._topics["/image"].publish(make_image(self.types, stamp_ns))
        self._asked += 1
        result = self.client.ask(self.results, f"a{self._asked}")
        assert result.status == Status.OK
        return result

    def ask_until(self, stamp_ns: int, is_meant) -> None:
        """Ask until the image and its depth, which may be lost, and transforms have come."""

        def ask() -> bool:
            result = self.ask(stamp_ns)
            is_of_image = result.header.stamp.nanosec + result.header.stamp.sec * S == stamp_ns
            return is_of_image and bool(self.places.list()) and is_meant(result)

        wait_until(ask, "an answer as meant has come")


def test_detections_are_in_the_target_frame_by_the_buffer_of_tf2(running, client):
    running.start(target_frame="odom", transform_timeout_s=0.05)
    client.activate()
    robot = Robot(client)
    robot.wait()
    # Nothing is known yet: results stay where they are and say so.
    robot.ask_until(100 * MS, lambda result: "not in target_frame 'odom'" in result.message)
    assert robot.places.list()[-1].header.frame_id == "camera_link"
    robot.send_static()
    robot.send(100 * MS, 4.0)
    robot.send(200 * MS, 5.0)
    robot.ask_until(150 * MS, lambda result: result.message == "")
    array = robot.places.list()[-1]
    assert array.header.frame_id == "odom"
    center = array.detections[0].bbox.center
    expected = BASE_FROM_CAMERA.apply(np.array([-0.85, -0.45, 2.0])) + (4.5, 0, 0)
    np.testing.assert_allclose(position_of(center), expected, atol=1e-6)
    np.testing.assert_allclose(rotation_of(center), BASE_FROM_CAMERA.rotation, atol=1e-9)
    # An image that is newer than all transforms, and one that is older.
    for stamp_ns in (900 * MS, 50 * MS):
        robot.ask_until(stamp_ns, lambda result: "extrapolation" in result.message)
        assert robot.places.list()[-1].header.frame_id == "camera_link"


def test_a_transform_that_comes_after_the_image_is_waited_for(running, client):
    running.start(target_frame="odom", transform_timeout_s=10.0)
    client.activate()
    robot = Robot(client)
    robot.wait()
    robot.send_static()
    robot.send(100 * MS, 4.0)
    robot.ask_until(100 * MS, lambda result: result.message == "")
    seen = len(running.perceiver.seen)

    import threading

    def send() -> None:
        wait_until(lambda: len(running.perceiver.seen) > seen, "the command runs")
        robot.send(300 * MS, 6.0)

    sender = threading.Thread(target=send)
    sender.start()
    assert robot.ask(200 * MS).message == ""
    sender.join()


def test_lifecycle_starts_and_ends_the_buffer(running, client):
    running.start(target_frame="odom")
    assert client.change_state("configure")
    count = client.node.count_subscribers
    assert (count("/tf"), count("/tf_static")) == (0, 0)
    for _ in range(2):
        assert client.change_state("activate")
        wait_until(lambda: (count("/tf"), count("/tf_static")) == (1, 1), "it listens")
        assert client.change_state("deactivate")
        wait_until(lambda: (count("/tf"), count("/tf_static")) == (0, 0), "it does not")


def test_without_a_target_frame_nothing_listens_to_transforms(running, client):
    running.start()
    client.activate()
    assert client.node.count_subscribers("/tf") == 0
    assert running.failures == []


def test_without_tf2_a_target_frame_is_refused_when_it_is_configured(
    running, client, monkeypatch, caplog
):
    import sys

    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    running.start(target_frame="odom")
    assert not client.change_state("configure")
    assert client.get_state() == "unconfigured"
    assert "install the package tf2_ros_py" in caplog.text


def test_transforms_of_a_simulation_that_starts_again_count(running, client):
    running.start(target_frame="odom", use_sim_time=True, diagnostics_period_s=0.1)
    client.activate()
    robot, simulator = Robot(client), Simulator(client)
    robot.wait()
    robot.send_static()
    for now_s, x in ((100, 4.0), (20, 7.0)):
        simulator.set(now_s)
        # More than ten seconds before what was kept, which tf2 would ignore.
        robot.send(now_s * S, x)
        robot.ask_until(now_s * S, lambda result: result.message == "")
        center = robot.places.list()[-1].detections[0].bbox.center
        np.testing.assert_allclose(center.position.x, x + 2.0, atol=1e-6)


def test_a_node_without_ros_hears_the_broadcasters_of_tf2(client):
    pytest.importorskip("cyclonedds")
    from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster

    from vl2_ros.transports.dds.transport import DdsTransport

    def broadcast(broadcaster, child: str, parent: str, stamp_ns: int, pose: RigidTransform):
        message = make_transforms(client.transport.types, child, parent, stamp_ns, pose)
        broadcaster.sendTransform(list(message.transforms))

    moving = TransformBroadcaster(client.node)
    broadcast(StaticTransformBroadcaster(client.node), "camera", "base", 0, BASE_FROM_CAMERA)
    transport = DdsTransport("without_ros")
    lookup = TransformListener(transport)
    try:

        def is_found() -> bool:
            for stamp_ns, x in ((100 * MS, 1.0), (200 * MS, 3.0)):
                pose = RigidTransform(np.eye(3), np.array([x, 0.0, 0.0]))
                broadcast(moving, "base", "odom", stamp_ns, pose)
            try:
                lookup.find("odom", "camera", 150 * MS)
            except MissingTransformError:
                return False
            return True

        wait_until(is_found, "the transforms have come")
        found = lookup.find("odom", "camera", 150 * MS)
        np.testing.assert_allclose(found.translation_m, [2.0, 0.0, 1.0], atol=1e-12)
        np.testing.assert_allclose(found.rotation, BASE_FROM_CAMERA.rotation, atol=1e-12)
    finally:
        lookup.close()
        transport.close()

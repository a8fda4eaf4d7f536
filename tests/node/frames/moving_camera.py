"""A camera with depth whose pose in a base frame is published as transforms."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.node.wire import make_camera_info, make_depth, make_transforms, wait_until
from tests.transports.harness import Rig
from vl2_ros.node.frames.transform_listener import TRANSFORM_TOPICS, TRANSFORM_TYPE
from vl2_ros.node.transport import Publisher, Qos
from vl2_ros.processing.results.rigid_transform import RigidTransform

MS = 1_000_000
#: The optical frame's z is the base's x, its x is -y, its y is -z; a metre above the base.
BASE_FROM_CAMERA = RigidTransform.from_quaternion([-0.5, 0.5, -0.5, 0.5], [0.0, 0.0, 1.0])


class MovingCamera:
    """Publishes images, calibration, depth and transforms to a started rig."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.image = rig.open_camera()
        node = rig.open("moving_camera")
        self.types = node.types
        self._info = node.advertise("/camera_info", "sensor_msgs/msg/CameraInfo", Qos())
        self._depth = node.advertise("/depth", "sensor_msgs/msg/Image", Qos())
        self._transforms: dict[str, Publisher] = {
            topic: node.advertise(topic, TRANSFORM_TYPE, qos)
            for topic, qos in TRANSFORM_TOPICS.items()
        }
        wait_until(
            lambda: all(
                one.count_subscribers()
                for one in (self._info, self._depth, *self._transforms.values())
            ),
            "everything is subscribed to",
        )

    def show(self, stamp_ns: int, metres: float = 2.0) -> None:
        """Show an image with its depth."""
        self._info.publish(make_camera_info(self.types))
        values = np.full((16, 24), metres, np.float32)
        self._depth.publish(make_depth(self.types, stamp_ns, values))
        self._rig.show(self.image, stamp_ns)

    def send(
        self,
        stamp_ns: int,
        transform: RigidTransform = BASE_FROM_CAMERA,
        *,
        child: str = "image_link",
        parent: str = "base_link",
        topic: str = "/tf",
    ) -> None:
        """Send the pose of a frame."""
        message = make_transforms(self.types, child, parent, stamp_ns, transform)
        self._transforms[topic].publish(message)


def position_of(pose: Any) -> np.ndarray:
    return np.array([pose.position.x, pose.position.y, pose.position.z])


def rotation_of(pose: Any) -> np.ndarray:
    one = pose.orientation
    return RigidTransform.from_quaternion([one.x, one.y, one.z, one.w], np.zeros(3)).rotation

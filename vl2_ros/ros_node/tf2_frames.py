"""The transforms of ROS 2's own buffer, tf2, for an rclpy node."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from vl2_ros.errors import ConfigError
from vl2_ros.node.frames.frame_lookup import FrameLookup, MissingTransformError
from vl2_ros.node.transport import Transport
from vl2_ros.processing.results.rigid_transform import RigidTransform


class Tf2Frames:
    """Opens lookups in a buffer of tf2 that the node's own threads fill.

    Args:
        node: spun by the caller.

    Raises:
        ConfigError: if tf2's Python is missing.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        try:
            self._tf2 = importlib.import_module("tf2_ros")
        except ImportError as error:
            raise ConfigError(
                f"target_frame needs tf2's Python, which is missing ({error}); install the package "
                "tf2_ros_py (apt install ros-$ROS_DISTRO-tf2-ros-py), or leave target_frame empty"
            ) from error

    def open(self, transport: Transport) -> FrameLookup:
        """Listen to transforms until the lookup is closed."""
        return _Tf2Lookup(self._tf2, self._node)


class _Tf2Lookup:
    def __init__(self, tf2: Any, node: Node) -> None:
        self._tf2 = tf2
        self._buffer = tf2.Buffer()
        self._listener = tf2.TransformListener(self._buffer, node)
        # The buffer would ignore what comes after simulated time has begun again.
        threshold = JumpThreshold(
            min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True
        )
        self._jump = node.get_clock().create_jump_callback(
            threshold, post_callback=lambda jump: self._buffer.clear()
        )

    def find(self, target: str, source: str, stamp_ns: int) -> RigidTransform:
        """Return how points of `source` become points of `target`; see `FrameLookup.find`."""
        try:
            found = self._buffer.lookup_transform(
                target, source, Time(nanoseconds=stamp_ns)
            ).transform
        except self._tf2.TransformException as error:
            raise self._explain(target, source, stamp_ns, error) from error
        rotation, shift = found.rotation, found.translation
        return RigidTransform.from_quaternion(
            [rotation.x, rotation.y, rotation.z, rotation.w], [shift.x, shift.y, shift.z]
        )

    def close(self) -> None:
        """Stop listening."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.unregister()
            self._jump.unregister()

    def _explain(
        self, target: str, source: str, stamp_ns: int, error: Exception
    ) -> MissingTransformError:
        late_s = 0.0
        if isinstance(error, self._tf2.ExtrapolationException):
            with contextlib.suppress(self._tf2.TransformException):
                latest = self._buffer.get_latest_common_time(target, source)
                late_s = max(0.0, (stamp_ns - latest.nanoseconds) / 1e9)
        return MissingTransformError(str(error), late_s=late_s)

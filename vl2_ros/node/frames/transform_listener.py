"""Listen to /tf and /tf_static on any transport."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from vl2_ros.errors import InputError
from vl2_ros.node.frames.transform_tree import TransformTree
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.transport import Qos, Transport
from vl2_ros.processing.printable import make_printable
from vl2_ros.processing.results.rigid_transform import RigidTransform

TRANSFORM_TYPE = "tf2_msgs/msg/TFMessage"
#: Topic to its quality of service, that of tf2's own listeners.
TRANSFORM_TOPICS = {
    "/tf": Qos(depth=100),
    "/tf_static": Qos(depth=100, transient_local=True),
}


class TransformListener:
    """A `FrameLookup` of the transforms that a transport receives.

    Args:
        transport: receives them.
    """

    def __init__(self, transport: Transport) -> None:
        self._tree = TransformTree()
        self._log = RepeatedLog(logging.getLogger(__name__))
        self._subscriptions = [
            transport.subscribe(topic, TRANSFORM_TYPE, qos, partial(self._take, qos))
            for topic, qos in TRANSFORM_TOPICS.items()
        ]

    def find(self, target: str, source: str, stamp_ns: int) -> RigidTransform:
        """Return how points of `source` become points of `target`; see `FrameLookup.find`."""
        return self._tree.find(target, source, stamp_ns)

    def close(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            subscription.close()

    def _take(self, qos: Qos, message: Any) -> None:
        for fault in add_transforms(self._tree, message, is_static=qos.transient_local):
            self._log.log(
                logging.WARNING, "unusable", "skipped a transform: %s", make_printable(fault)
            )


def add_transforms(tree: TransformTree, message: Any, *, is_static: bool) -> list[str]:
    """Keep the transforms of a tf2_msgs/TFMessage; returns why others are skipped."""
    faults = []
    for one in message.transforms:
        stamp, rotation, shift = (
            one.header.stamp,
            one.transform.rotation,
            one.transform.translation,
        )
        try:
            tree.add(
                one.child_frame_id,
                one.header.frame_id,
                int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec),
                (rotation.x, rotation.y, rotation.z, rotation.w),
                (shift.x, shift.y, shift.z),
                is_static=is_static,
            )
        except InputError as error:
            faults.append(str(error))
    return faults

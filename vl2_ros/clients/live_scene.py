"""Pass what a node has placed in space on to a viewer."""

from __future__ import annotations

from typing import Any, Protocol

from vl2_ros.clients.client import PerceptionClient
from vl2_ros.node.messages.result_messages import DETECTIONS_3D
from vl2_ros.node.transport import Transport
from vl2_ros.views.live.placed_box import PlacedBox


class SceneOutput(Protocol):
    """Shows boxes in space."""

    @property
    def wants_boxes(self) -> bool:
        """Return whether anyone would see them now."""

    def show_boxes(self, stamp_ns: int, frame_id: str, boxes: list[PlacedBox]) -> None:
        """Show the boxes of one result, in place of all before."""


def follow_scene(transport: Transport, client: PerceptionClient, output: SceneOutput) -> None:
    """Show the boxes of every result from now on, until the transport is closed.

    Args:
        transport: receives them.
        client: of the node.
        output: shows them.
    """

    def show(message: Any) -> None:
        if output.wants_boxes:
            stamp = message.header.stamp
            stamp_ns = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
            boxes = [_read_box(one) for one in message.detections]
            output.show_boxes(stamp_ns, message.header.frame_id, boxes)

    topic = client.resolve(DETECTIONS_3D.name)
    transport.subscribe(topic, DETECTIONS_3D.type_name, DETECTIONS_3D.qos, show)


def _read_box(detection: Any) -> PlacedBox:
    """Read a vision_msgs/Detection3D."""
    center, size = detection.bbox.center, detection.bbox.size
    position, turned = center.position, center.orientation
    names = [f"{one.hypothesis.class_id} {one.hypothesis.score:.2f}" for one in detection.results]
    return PlacedBox(
        label=", ".join(names),
        center_m=(position.x, position.y, position.z),
        size_m=(size.x, size.y, size.z),
        turned=(turned.x, turned.y, turned.z, turned.w),
    )

"""Instances placed in space to messages: Detection3DArray for programs, MarkerArray for viewers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vl2_ros.node.request import Answer
from vl2_ros.node.transport import MessageTypes
from vl2_ros.processing.overlay import PALETTE
from vl2_ros.processing.spatial import Boxes3D

MARKER_TYPE = "visualization_msgs/msg/Marker"
# Constants of visualization_msgs/Marker.
_ADD, _DELETE_ALL = 0, 3
_CUBE, _TEXT = 1, 9
_ALPHA = 0.45
_TEXT_HEIGHT_M = 0.04
#: A marker of a watch that has stopped goes by itself; those of an ask stay until the next answer.
_WATCH_LIFETIME_S = 2


class SpatialMessages:
    """Makes the messages about things in space, in the optical frame of their picture.

    Args:
        types: makes the transport's message classes.
    """

    def __init__(self, types: MessageTypes) -> None:
        self._make = types.make

    def make_detections(self, answer: Answer, header: Any) -> Any:
        """Make the vision_msgs/Detection3DArray of all instances that have a depth."""
        return self._make(
            "vision_msgs/msg/Detection3DArray",
            header=header,
            detections=[
                self._make_detection(header, label, score, boxes, index)
                for label, score, boxes, index, _ in _list_placed(answer)
            ],
        )

    def make_markers(self, answer: Answer, header: Any) -> Any:
        """Make the visualization_msgs/MarkerArray: what was there before goes, then cube and name.

        Markers stand in a namespace named like the command.
        """
        markers = [self._make(MARKER_TYPE, header=header, ns=answer.request_id, action=_DELETE_ALL)]
        for number, (label, score, boxes, index, color) in enumerate(_list_placed(answer)):
            position, size = boxes.centers_m[index], boxes.sizes_m[index]
            text = f"{label} {score:.2f}"
            shared = self._share(answer, header, color)
            markers.append(
                self._make(
                    MARKER_TYPE,
                    id=2 * number,
                    type=_CUBE,
                    pose=self._make_pose(position),
                    scale=self._make_vector(*(max(float(one), 1e-3) for one in size)),
                    **shared,
                )
            )
            above = position - (0.0, size[1] / 2 + _TEXT_HEIGHT_M, 0.0)
            markers.append(
                self._make(
                    MARKER_TYPE,
                    id=2 * number + 1,
                    type=_TEXT,
                    text=text,
                    pose=self._make_pose(above),
                    scale=self._make_vector(0.0, 0.0, _TEXT_HEIGHT_M),
                    **shared,
                )
            )
        return self._make("visualization_msgs/msg/MarkerArray", markers=markers)

    def _share(self, answer: Answer, header: Any, color: tuple[int, int, int]) -> dict[str, Any]:
        red, green, blue = (one / 255 for one in color)
        lifetime_s = 0 if answer.is_final else _WATCH_LIFETIME_S
        return {
            "header": header,
            "ns": answer.request_id,
            "action": _ADD,
            "color": self._make("std_msgs/msg/ColorRGBA", r=red, g=green, b=blue, a=_ALPHA),
            "lifetime": self._make("builtin_interfaces/msg/Duration", sec=lifetime_s),
        }

    def _make_detection(
        self, header: Any, label: str, score: float, boxes: Boxes3D, index: int
    ) -> Any:
        pose = self._make_pose(boxes.centers_m[index])
        size = self._make_vector(*(float(one) for one in boxes.sizes_m[index]))
        hypothesis = self._make("vision_msgs/msg/ObjectHypothesis", class_id=label, score=score)
        with_pose = self._make(
            "vision_msgs/msg/ObjectHypothesisWithPose",
            hypothesis=hypothesis,
            pose=self._make("geometry_msgs/msg/PoseWithCovariance", pose=pose),
        )
        return self._make(
            "vision_msgs/msg/Detection3D",
            header=header,
            results=[with_pose],
            bbox=self._make("vision_msgs/msg/BoundingBox3D", center=pose, size=size),
        )

    def _make_pose(self, position_m: Any) -> Any:
        x, y, z = (float(one) for one in position_m)
        return self._make(
            "geometry_msgs/msg/Pose", position=self._make("geometry_msgs/msg/Point", x=x, y=y, z=z)
        )

    def _make_vector(self, x: float, y: float, z: float) -> Any:
        return self._make("geometry_msgs/msg/Vector3", x=x, y=y, z=z)


_Placed = tuple[str, float, Boxes3D, int, tuple[int, int, int]]


def _list_placed(answer: Answer) -> Iterator[_Placed]:
    """Yield label, score, boxes, index and colour of each instance that has a depth."""
    if answer.space is None or answer.result is None:
        return
    for branch in answer.result.branches:
        found = branch.detections
        boxes = answer.space.locate(found)
        for index, (_, score, label) in enumerate(found):
            if boxes.is_placed[index]:
                color = PALETTE[int(found.class_ids[index]) % len(PALETTE)]
                yield label, score, boxes, index, color

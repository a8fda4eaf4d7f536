"""Make messages of instances in space: Detection3DArray for programs, MarkerArray for viewers.

Viewers keep a marker until a message removes it. So asks share one namespace, which each answer
clears; a watch has one of its own, which each of its results clears, and its end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vl2_ros.node.messages.instance_messages import name_track
from vl2_ros.node.request import Answer, Status
from vl2_ros.node.transport import MessageTypes
from vl2_ros.processing.results.rigid_transform import find_quaternion
from vl2_ros.views.overlay import choose_color

MARKER_TYPE = "visualization_msgs/msg/Marker"
# Constants of visualization_msgs/Marker.
_ADD, _DELETE_ALL = 0, 3
_CUBE, _TEXT = 1, 9
_ALPHA = 0.45
_TEXT_HEIGHT_M = 0.04
_ASK_NAMESPACE = "ask"


class SpatialMessages:
    """Makes the messages about things in space, in the frame of the answer's view.

    Thread-safe; one for all answers of a node, as it knows which markers viewers still show.

    Args:
        types: makes the transport's message classes.
        find_lifetime_s: returns the lifetime of each answer's markers; 0: until they are cleared.
    """

    def __init__(self, types: MessageTypes, find_lifetime_s: Callable[[], float]) -> None:
        self._make = types.make
        self._find_lifetime_s = find_lifetime_s
        self._shown: set[str] = set()
        self._lock = threading.Lock()

    def make_detections(self, answer: Answer, header: Any) -> Any:
        """Make the vision_msgs/Detection3DArray of all instances that have a depth."""
        return self._make(
            "vision_msgs/msg/Detection3DArray",
            header=header,
            detections=[self._make_detection(header, placed) for placed in _list_placed(answer)],
        )

    def make_markers(self, answer: Answer, header: Any) -> list[Any]:
        """Make at most one visualization_msgs/MarkerArray: clear old markers, add cube and name.

        An answer without positions in space clears what viewers still show of its namespace; no
        message where they show nothing. An ask that was not answered changes nothing.
        """
        namespace = _name_space(answer)
        if namespace == _ASK_NAMESPACE and answer.status is not Status.OK:
            return []
        with self._lock:
            was_shown = namespace in self._shown
            if answer.space is None or answer.result is None:
                self._shown.discard(namespace)
            else:
                self._shown.add(namespace)
            is_shown = namespace in self._shown
        if not (was_shown or is_shown):
            return []
        clear = self._make(MARKER_TYPE, header=header, ns=namespace, action=_DELETE_ALL)
        markers = [clear, *self._make_placed(answer, header, namespace)]
        return [self._make("visualization_msgs/msg/MarkerArray", markers=markers)]

    def forget(self, answer: Answer) -> None:
        """Forget the markers of a watch that ends while its topic has no subscribers."""
        if answer.status is Status.ENDED:
            with self._lock:
                self._shown.discard(_name_space(answer))

    def _make_placed(self, answer: Answer, header: Any, namespace: str) -> Iterator[Any]:
        lifetime = self._make_duration(self._find_lifetime_s())
        for number, placed in enumerate(_list_placed(answer)):
            size = placed.size_m
            text = f"{placed.title} {placed.score:.2f}"
            # An object keeps its markers from frame to frame; those without a track count down.
            marker = placed.track_id or -1 - number
            shared = {
                "header": header,
                "ns": namespace,
                "action": _ADD,
                "color": self._make_color(placed.color),
                "lifetime": lifetime,
            }
            yield self._make(
                MARKER_TYPE,
                id=2 * marker,
                type=_CUBE,
                pose=self._make_pose(placed.center_m, placed.rotation),
                scale=self._make_vector(*(max(float(one), 1e-3) for one in size)),
                **shared,
            )
            # Above in the image.
            above = placed.center_m - placed.rotation[:, 1] * (size[1] / 2 + _TEXT_HEIGHT_M)
            yield self._make(
                MARKER_TYPE,
                id=2 * marker + 1,
                type=_TEXT,
                text=text,
                pose=self._make_pose(above, placed.rotation),
                scale=self._make_vector(0.0, 0.0, _TEXT_HEIGHT_M),
                **shared,
            )

    def _make_color(self, color: tuple[int, int, int]) -> Any:
        red, green, blue = (one / 255 for one in color)
        return self._make("std_msgs/msg/ColorRGBA", r=red, g=green, b=blue, a=_ALPHA)

    def _make_duration(self, duration_s: float) -> Any:
        sec, nanosec = divmod(round(duration_s * 1e9), 1_000_000_000)
        return self._make("builtin_interfaces/msg/Duration", sec=sec, nanosec=nanosec)

    def _make_detection(self, header: Any, placed: _Placed) -> Any:
        pose = self._make_pose(placed.center_m, placed.rotation)
        size = self._make_vector(*(float(one) for one in placed.size_m))
        hypothesis = self._make(
            "vision_msgs/msg/ObjectHypothesis", class_id=placed.label, score=placed.score
        )
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
            id=name_track(placed.track_id),
        )

    def _make_pose(self, position_m: np.ndarray, rotation: np.ndarray) -> Any:
        x, y, z = (float(one) for one in position_m)
        return self._make(
            "geometry_msgs/msg/Pose",
            position=self._make("geometry_msgs/msg/Point", x=x, y=y, z=z),
            orientation=self._make(
                "geometry_msgs/msg/Quaternion",
                **dict(zip("xyzw", map(float, find_quaternion(rotation)), strict=True)),
            ),
        )

    def _make_vector(self, x: float, y: float, z: float) -> Any:
        return self._make("geometry_msgs/msg/Vector3", x=x, y=y, z=z)


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """An instance that has a depth, and the axes of its box; `track_id` is 0 without a track."""

    label: str
    title: str
    score: float
    track_id: int
    center_m: np.ndarray
    size_m: np.ndarray
    rotation: np.ndarray
    color: tuple[int, int, int]


def _name_space(answer: Answer) -> str:
    """Return the namespace of an answer's markers; no id of a watch makes it that of asks."""
    is_watch = not answer.is_final or answer.status is Status.ENDED
    return f"watch/{answer.request_id}" if is_watch else _ASK_NAMESPACE


def _list_placed(answer: Answer) -> Iterator[_Placed]:
    """Yield each instance that has a depth."""
    if answer.space is None or answer.result is None:
        return
    for branch in answer.result.branches:
        found = branch.detections
        boxes = answer.space.locate(found)
        for index, (_, score, label) in enumerate(found):
            if boxes.is_placed[index]:
                track_id = found.get_track_id(index)
                yield _Placed(
                    label=label,
                    title=found.get_title(index),
                    score=score,
                    track_id=track_id,
                    center_m=boxes.centers_m[index],
                    size_m=boxes.sizes_m[index],
                    color=choose_color(track_id, int(found.class_ids[index])),
                    rotation=boxes.rotation,
                )

"""Serve frames and results to Foxglove: images, annotations in them, and boxes in space.

Foxglove connects as a page of another origin or as a program, and its server asks neither for an
origin nor for a token; so it only sends, and is bound to this machine alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import foxglove
import numpy as np
from foxglove.channels import CompressedImageChannel, ImageAnnotationsChannel, SceneUpdateChannel
from foxglove.messages import (
    Color,
    CompressedImage,
    CubePrimitive,
    ImageAnnotations,
    Point2,
    PointsAnnotation,
    PointsAnnotationType,
    Pose,
    Quaternion,
    SceneEntity,
    SceneEntityDeletion,
    SceneEntityDeletionType,
    SceneUpdate,
    TextAnnotation,
    TextPrimitive,
    Timestamp,
    Vector3,
)

from vl2_ros.errors import ConfigError
from vl2_ros.structures import Detections, Frame, Result
from vl2_ros.views.live.frames import encode_jpeg
from vl2_ros.views.live.placed_box import PlacedBox
from vl2_ros.views.overlay import PALETTE

_HOST = "127.0.0.1"
#: Messages that wait for one client; then the oldest is dropped.
_BACKLOG = 16
_LINE_PX, _TEXT_PX, _TEXT_M = 2.0, 14.0, 0.04
_WHITE, _CUBE_ALPHA = Color(r=1.0, g=1.0, b=1.0, a=1.0), 0.45


class FoxgloveOutput:
    """Serves the topics /vl2/image, /vl2/annotations and /vl2/scene until it is closed.

    Args:
        port: to bind to on this machine; 0 takes a free one.

    Attributes:
        url: for Foxglove's "open connection".

    Raises:
        ConfigError: if it cannot be bound there.
    """

    def __init__(self, port: int = 0) -> None:
        # Of its own, so that no other channel of the process is served; it has to outlive them.
        self._context = context = foxglove.Context()
        self._image = CompressedImageChannel("/vl2/image", context=context)
        self._annotations = ImageAnnotationsChannel("/vl2/annotations", context=context)
        self._scene = SceneUpdateChannel("/vl2/scene", context=context)
        try:
            self._server = foxglove.start_server(
                name="vl2", host=_HOST, port=port, context=context, message_backlog_size=_BACKLOG
            )
        except RuntimeError as error:
            raise ConfigError(
                f"Foxglove cannot be served on port {port}: {error}; choose another --foxglove-port"
            ) from error
        self.url = f"ws://{_HOST}:{self._server.port}"

    @property
    def wants_frame(self) -> bool:
        """Return whether a client has subscribed to images or annotations."""
        return self._image.has_sinks() or self._annotations.has_sinks()

    @property
    def wants_boxes(self) -> bool:
        """Return whether a client has subscribed to the scene."""
        return self._scene.has_sinks()

    def show(self, frame: Frame, results: Sequence[Result], age_s: float | None) -> None:
        """Send a frame as JPEG, and what was found as annotations of the same stamp."""
        stamp = _make_stamp(frame.stamp_ns)
        if self._image.has_sinks():
            image = CompressedImage(
                timestamp=stamp,
                frame_id=frame.frame_id,
                data=encode_jpeg(frame.rgb),
                format="jpeg",
            )
            self._image.log(image, log_time=frame.stamp_ns)
        points: list[PointsAnnotation] = []
        texts: list[TextAnnotation] = []
        for result in results:
            for branch in result.branches:
                points += _outline(branch.detections, stamp)
                texts += _name(branch.detections, stamp)
        annotations = ImageAnnotations(timestamp=stamp, points=points, texts=texts)
        self._annotations.log(annotations, log_time=frame.stamp_ns)

    def show_boxes(self, stamp_ns: int, frame_id: str, boxes: Sequence[PlacedBox]) -> None:
        """Send the boxes of one result in space, in place of all before.

        Args:
            stamp_ns: of its image, nanoseconds since the epoch.
            frame_id: optical frame that the boxes are in.
            boxes: what was found and has a depth.
        """
        stamp = _make_stamp(stamp_ns)
        gone = SceneEntityDeletion(timestamp=stamp, type=SceneEntityDeletionType.All)
        entities = [
            SceneEntity(
                timestamp=stamp,
                frame_id=frame_id,
                id=f"{index}",
                cubes=[_make_cube(box, PALETTE[index % len(PALETTE)])],
                texts=[_make_text(box)],
            )
            for index, box in enumerate(boxes)
        ]
        self._scene.log(SceneUpdate(deletions=[gone], entities=entities), log_time=stamp_ns)

    def close(self) -> None:
        """End the server."""
        self._server.stop()


def _make_stamp(stamp_ns: int) -> Timestamp:
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return Timestamp(seconds, nanoseconds)


def _make_color(rgb: Sequence[int], alpha: float = 1.0) -> Color:
    red, green, blue = (value / 255.0 for value in rgb)
    return Color(r=red, g=green, b=blue, a=alpha)


def _outline(found: Detections, stamp: Timestamp) -> Iterator[PointsAnnotation]:
    """Yield the box of each instance, and its keypoints with their lines."""
    for index, box in enumerate(found.boxes_xyxy):
        color = _make_color(PALETTE[index % len(PALETTE)])
        x1, y1, x2, y2 = (float(value) for value in box)
        corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
        yield _make_points(PointsAnnotationType.LineLoop, corners, color, stamp)
        if found.keypoints is not None:
            xy = found.keypoints.points_xy[index]
            yield _make_points(PointsAnnotationType.Points, xy, color, stamp, 3 * _LINE_PX)
            edges = [xy[end] for edge in found.keypoints.edges for end in edge]
            yield _make_points(PointsAnnotationType.LineList, edges, color, stamp)


def _make_points(
    kind: PointsAnnotationType,
    points_xy: Sequence[tuple[float, float]] | Sequence[np.ndarray] | np.ndarray,
    color: Color,
    stamp: Timestamp,
    thickness: float = _LINE_PX,
) -> PointsAnnotation:
    return PointsAnnotation(
        timestamp=stamp,
        type=kind,
        points=[Point2(x=float(x), y=float(y)) for x, y in points_xy],
        outline_color=color,
        thickness=thickness,
    )


def _name(found: Detections, stamp: Timestamp) -> Iterator[TextAnnotation]:
    tracks = found.track_ids
    for index, (box, score, label) in enumerate(found):
        track = f" #{tracks[index]}" if tracks is not None and tracks[index] else ""
        yield TextAnnotation(
            timestamp=stamp,
            position=Point2(x=float(box[0]), y=float(box[1])),
            text=f"{label} {score:.2f}{track}",
            font_size=_TEXT_PX,
            text_color=_WHITE,
            background_color=_make_color(PALETTE[index % len(PALETTE)]),
        )


def _make_cube(box: PlacedBox, rgb: Sequence[int]) -> CubePrimitive:
    x, y, z, w = box.turned
    pose = Pose(position=_make_vector(box.center_m), orientation=Quaternion(x=x, y=y, z=z, w=w))
    color = _make_color(rgb, _CUBE_ALPHA)
    return CubePrimitive(pose=pose, size=_make_vector(box.size_m), color=color)


def _make_text(box: PlacedBox) -> TextPrimitive:
    pose = Pose(position=_make_vector(box.center_m), orientation=Quaternion(w=1.0))
    return TextPrimitive(pose=pose, billboard=True, font_size=_TEXT_M, color=_WHITE, text=box.label)


def _make_vector(xyz: Sequence[float]) -> Vector3:
    x, y, z = xyz
    return Vector3(x=x, y=y, z=z)

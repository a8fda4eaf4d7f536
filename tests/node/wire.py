"""Messages as senders make them, and inboxes that wait for messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from vl2_ros.node.frames.transform_listener import TRANSFORM_TYPE
from vl2_ros.node.transport import MessageTypes, Qos, Transport
from vl2_ros.processing.results.rigid_transform import RigidTransform

#: No test is right only when something is fast: this is how long the slowest machine may take.
PATIENCE_S = 30.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, f"waited in vain until {what}"
        time.sleep(0.005)


class Inbox:
    """The messages that one subscription received, in order."""

    def __init__(self, transport: Transport, topic: str, type_name: str, qos: Qos) -> None:
        self._messages: list[Any] = []
        self._came = threading.Condition()
        transport.subscribe(topic, type_name, qos, self._store)

    def list(self) -> list[Any]:
        with self._came:
            return list(self._messages)

    def clear(self) -> None:
        with self._came:
            self._messages.clear()

    def wait(self, count: int = 1, keep: Callable[[Any], bool] = lambda message: True) -> list[Any]:
        """Wait until `count` messages that are to be kept are there; return all of these."""

        def kept() -> list[Any]:
            return [message for message in self._messages if keep(message)]

        with self._came:
            came = self._came.wait_for(lambda: len(kept()) >= count, PATIENCE_S)
            assert came, f"{len(kept())} of {count} messages came: {self._messages}"
            return kept()

    def wait_for(self, command_id: str, count: int = 1) -> list[Any]:
        """Wait for results of one command."""
        return self.wait(count, lambda message: message.command_id == command_id)

    def _store(self, message: Any) -> None:
        with self._came:
            self._messages.append(message)
            self._came.notify_all()


def make_header(types: MessageTypes, stamp_ns: int, frame_id: str = "camera_link") -> Any:
    stamp = types.make(
        "builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
    )
    return types.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def make_image(
    types: MessageTypes,
    stamp_ns: int = 1_000_000_007,
    *,
    rgb: np.ndarray | None = None,
    frame_id: str = "camera_link",
    **changes: Any,
) -> Any:
    """Make an rgb8 Image; `changes` are fields that contradict the image."""
    if rgb is None:
        rgb = np.full((16, 24, 3), 90, np.uint8)
    fields: dict[str, Any] = {
        "header": make_header(types, stamp_ns, frame_id),
        "height": rgb.shape[0],
        "width": rgb.shape[1],
        "encoding": "rgb8",
        "step": rgb.shape[1] * 3,
        "data": rgb.reshape(-1),
    }
    return types.make("sensor_msgs/msg/Image", **(fields | changes))


def make_compressed_image(
    types: MessageTypes, stamp_ns: int = 1_000_000_007, *, data: np.ndarray | None = None
) -> Any:
    """Make a CompressedImage, of an even red PNG unless `data` says otherwise."""
    if data is None:
        bgr = np.zeros((16, 24, 3), np.uint8)
        bgr[..., 2] = 200
        data = cv2.imencode(".png", bgr)[1].reshape(-1)
    header = make_header(types, stamp_ns)
    return types.make("sensor_msgs/msg/CompressedImage", header=header, format="png", data=data)


def make_camera_info(types: MessageTypes, **changes: Any) -> Any:
    """Make the CameraInfo of 24x16 pixels: focal length 20, the axis through the middle."""
    fields: dict[str, Any] = {
        "header": make_header(types, 1),
        "height": 16,
        "width": 24,
        "distortion_model": "plumb_bob",
        "d": np.zeros(5),
        "k": np.array([20.0, 0, 11.5, 0, 20.0, 7.5, 0, 0, 1]),
    }
    return types.make("sensor_msgs/msg/CameraInfo", **(fields | changes))


def make_depth(types: MessageTypes, stamp_ns: int, values: np.ndarray, **changes: Any) -> Any:
    """Make a depth image of (H, W) uint16 millimetres or float32 metres."""
    fields: dict[str, Any] = {
        "header": make_header(types, stamp_ns),
        "height": values.shape[0],
        "width": values.shape[1],
        "encoding": {"uint16": "16UC1", "float32": "32FC1"}[values.dtype.name],
        "step": values.shape[1] * values.itemsize,
        "data": values.reshape(-1).view(np.uint8),
    }
    return types.make("sensor_msgs/msg/Image", **(fields | changes))


def make_transforms(
    types: MessageTypes,
    child: str,
    parent: str,
    stamp_ns: int,
    transform: RigidTransform,
) -> Any:
    """Make a TFMessage with the pose of one frame in its parent."""
    numbers = dict(zip("xyzw", map(float, transform.quaternion_xyzw), strict=True))
    shift = dict(zip("xyz", map(float, transform.translation_m), strict=True))
    one = types.make(
        "geometry_msgs/msg/TransformStamped",
        header=make_header(types, stamp_ns, parent),
        child_frame_id=child,
        transform=types.make(
            "geometry_msgs/msg/Transform",
            translation=types.make("geometry_msgs/msg/Vector3", **shift),
            rotation=types.make("geometry_msgs/msg/Quaternion", **numbers),
        ),
    )
    return types.make(TRANSFORM_TYPE, transforms=[one])


def make_points(types: MessageTypes, *points_xy: tuple[float, float]) -> list[Any]:
    return [types.make("vision_msgs/msg/Point2D", x=float(x), y=float(y)) for x, y in points_xy]


def stamp_of(message: Any) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec

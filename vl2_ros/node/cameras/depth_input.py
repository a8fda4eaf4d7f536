"""Match one camera's calibration and depth to its images.

Depth is matched to an image by its stamp and kept with it, so that it lives as long as the image
does, however long an answer takes.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.node.cameras.camera_info import is_rectified, read_camera_info
from vl2_ros.node.cameras.camera_topic import CameraTopic
from vl2_ros.node.cameras.compressed_depth import decode_compressed_depth
from vl2_ros.node.cameras.topic_choice import TopicChoice
from vl2_ros.node.transport import Transport
from vl2_ros.processing.results.spatial import DepthImage, SpatialView
from vl2_ros.structures import MAX_FRAME_PIXELS

CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
DEPTH_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_DEPTH_TYPE = "sensor_msgs/msg/CompressedImage"
#: What image_transport adds to the name of a topic for its compressed depth.
COMPRESSED_SUFFIX = "/compressedDepth"

#: sensor_msgs/Image.encoding of depth -> dtype and metres of the value 1 (REP-118).
DEPTH_UNITS = {"16UC1": ("u2", 1e-3), "32FC1": ("f4", 1.0)}
#: Images that still wait for their depth, and depth images for theirs.
_LOOK_BACK = 4


class DepthMatch:
    """Calibration and depth of one image, as messages; read when a command uses the image."""

    def __init__(
        self,
        stamp_ns: int,
        tolerance_ns: int,
        *,
        rectified: bool = False,
        max_pixels: int = MAX_FRAME_PIXELS,
    ) -> None:
        self._stamp_ns = stamp_ns
        self._distance_ns = tolerance_ns + 1
        self._rectified = rectified
        self._max_pixels = max_pixels
        self._depth: Any = None
        self.camera_info: Any = None

    def offer(self, message: Any, stamp_ns: int) -> None:
        """Keep a depth image if none that was offered is as near in time."""
        distance_ns = abs(stamp_ns - self._stamp_ns)
        if distance_ns < self._distance_ns:
            self._depth, self._distance_ns = message, distance_ns

    def read(self, frame_hw: tuple[int, int]) -> SpatialView | None:
        """Return calibration and depth of the image; None when one of them is missing.

        Args:
            frame_hw: height and width of the image.

        Raises:
            InputError: if the calibration or the depth image cannot be used.
        """
        if self.camera_info is None:
            return None
        camera = read_camera_info(self.camera_info, rectified=self._rectified)
        if camera.frame_hw != frame_hw:
            raise InputError(
                f"camera_info is for {camera.frame_hw[1]}x{camera.frame_hw[0]} pixels, the image "
                f"has {frame_hw[1]}x{frame_hw[0]}; publish the calibration of this image"
            )
        if self._depth is None:
            return None
        return SpatialView(camera, read_depth(self._depth, max_pixels=self._max_pixels))


class DepthInput:
    """Subscribes to the calibration and the depth of one camera.

    Depth is raw, or compressed where a publisher of that is there and none of raw depth.

    The calibration is expected where image_transport has it: `camera_info` beside the image.

    Args:
        image_topic: absolute name of the camera's raw image topic.
        depth_topic: registered depth, as a user writes it.
        tolerance_s: a depth image belongs to an image when their stamps lie within it.
        transport: receives the messages; one callback at a time.
        rectification: whether the image is a rectified one: auto, always or never.
        reliability: of both subscriptions: auto, reliable or best_effort.
        max_pixels: compressed depth of more is refused.
    """

    def __init__(
        self,
        image_topic: str,
        depth_topic: str,
        tolerance_s: float,
        transport: Transport,
        rectification: str = "auto",
        reliability: str = "auto",
        max_pixels: int = MAX_FRAME_PIXELS,
    ) -> None:
        info_topic = image_topic.rpartition("/")[0] + "/camera_info"
        self.camera_info = CameraTopic(
            info_topic, CAMERA_INFO_TYPE, reliability, 1, transport, self._take_camera_info
        )

        def make(topic: str, type_name: str) -> CameraTopic:
            return CameraTopic(
                topic, type_name, reliability, _LOOK_BACK, transport, self._take_depth
            )

        name = transport.resolve(depth_topic)
        # A user may name the compressed topic itself.
        named = name.removesuffix(COMPRESSED_SUFFIX)
        compressed = make(f"{named}{COMPRESSED_SUFFIX}", COMPRESSED_DEPTH_TYPE)
        raw = () if named != name else (make(depth_topic, DEPTH_TYPE),)
        self.depth = TopicChoice((*raw, compressed))
        self._rectified = is_rectified(image_topic, rectification)
        self._max_pixels = max_pixels
        self._tolerance_ns = round(tolerance_s * 1e9)
        self._camera_info: Any = None
        self._matches: deque[DepthMatch] = deque(maxlen=_LOOK_BACK)
        self._depths: deque[tuple[Any, int]] = deque(maxlen=_LOOK_BACK)

    def subscribe(self) -> None:
        """Open the subscriptions."""
        for topic in (self.camera_info, self.depth):
            topic.open()

    def update(self, now_s: float) -> None:
        """Follow the publishers of both topics.

        Args:
            now_s: monotonic time.
        """
        for topic in (self.camera_info, self.depth):
            topic.update(now_s)

    def close(self) -> None:
        """Close the subscriptions and drop what was received; `subscribe` opens them again."""
        for topic in (self.camera_info, self.depth):
            topic.close()
        self._matches.clear()
        self._depths.clear()

    def match(self, stamp_ns: int) -> DepthMatch:
        """Start to collect calibration and depth for an image that has just come."""
        match = DepthMatch(
            stamp_ns, self._tolerance_ns, rectified=self._rectified, max_pixels=self._max_pixels
        )
        match.camera_info = self._camera_info
        for message, depth_stamp_ns in self._depths:
            match.offer(message, depth_stamp_ns)
        self._matches.append(match)
        return match

    def _take_camera_info(self, message: Any) -> None:
        self._camera_info = message
        for match in self._matches:
            match.camera_info = match.camera_info or message

    def _take_depth(self, message: Any) -> None:
        stamp = message.header.stamp
        stamp_ns = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
        self._depths.append((message, stamp_ns))
        for match in self._matches:
            match.offer(message, stamp_ns)


def read_depth(message: Any, *, max_pixels: int = MAX_FRAME_PIXELS) -> DepthImage:
    """Read a depth image of encoding 16UC1 or 32FC1, raw without a copy, or compressed.

    Args:
        message: a sensor_msgs/Image, or a sensor_msgs/CompressedImage of the form compressedDepth.
        max_pixels: a compressed image that declares more is refused.

    Raises:
        InputError: if the encoding is another one, the sizes contradict each other or compressed
            data are damaged.
    """
    if hasattr(message, "format"):
        data = np.asarray(message.data)
        return decode_compressed_depth(message.format, data, max_pixels=max_pixels)
    if message.encoding not in DEPTH_UNITS:
        raise InputError(
            f"the depth image has encoding {message.encoding!r}, expected 16UC1 (millimetres) "
            "or 32FC1 (metres)"
        )
    name, unit_m = DEPTH_UNITS[message.encoding]
    dtype = np.dtype(name).newbyteorder(">" if message.is_bigendian else "<")
    height, width, step = int(message.height), int(message.width), int(message.step)
    data = np.asarray(message.data)
    row_bytes = width * dtype.itemsize
    if not height or not width or step < row_bytes or data.size != height * step:
        raise InputError(
            f"the depth image of {width}x{height} pixels, step {step} and {data.size} bytes "
            f"contradicts itself; expected at least {row_bytes} bytes a row"
        )
    return DepthImage(data.reshape(height, step)[:, :row_bytes].view(dtype), unit_m)

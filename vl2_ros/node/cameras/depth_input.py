"""Match one camera's calibration and depth to its images, and explain what is missing.

Depth is matched to an image by its stamp and kept with it, so that it lives as long as the image
does, however long an answer takes.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Any

from vl2_ros.errors import InputError
from vl2_ros.node.cameras.arrivals import Arrivals
from vl2_ros.node.cameras.camera_info import is_rectified, read_camera_info
from vl2_ros.node.cameras.camera_topic import CameraTopic
from vl2_ros.node.cameras.depth_image import read_depth
from vl2_ros.node.cameras.source import Source, SourceHealth
from vl2_ros.node.cameras.topic_choice import TopicChoice
from vl2_ros.node.clock import NodeClock
from vl2_ros.node.names import resolve_topic
from vl2_ros.node.transport import Transport
from vl2_ros.processing.results.camera_model import CameraModel
from vl2_ros.processing.results.spatial import DepthImage, SpatialView
from vl2_ros.structures import MAX_FRAME_PIXELS

CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
DEPTH_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_DEPTH_TYPE = "sensor_msgs/msg/CompressedImage"
#: What image_transport adds to the name of a topic for its compressed depth.
COMPRESSED_SUFFIX = "/compressedDepth"
#: The depth topic where no other is named: a camera without depth is no fault then.
DEFAULT_DEPTH_TOPIC = "depth"

#: Images that still wait for their depth, and depth images for theirs.
_LOOK_BACK = 4


class DepthMatch:
    """Calibration and depth of one image, as messages; read when a command uses the image."""

    def __init__(self, source: DepthInput, stamp_ns: int) -> None:
        self._source, self._stamp_ns = source, stamp_ns
        self._depth: Any = None
        self._distance_ns: int | None = None
        self.camera_info: Any = None

    @property
    def gap_s(self) -> float | None:
        """Return by how much the nearest depth image is newer than the image; None without any."""
        return None if self._distance_ns is None else self._distance_ns * 1e-9

    def offer(self, message: Any, stamp_ns: int, tolerance_ns: int) -> bool:
        """Keep a depth image if none that was offered is as near in time; True when it fits."""
        distance_ns = stamp_ns - self._stamp_ns
        fits = abs(distance_ns) <= tolerance_ns
        if self._distance_ns is None or abs(distance_ns) < abs(self._distance_ns):
            self._distance_ns = distance_ns
            self._depth = message if fits else None
        return fits

    def read(self, frame_hw: tuple[int, int]) -> SpatialView | None:
        """Return calibration and depth of the image; None where no depth is to be expected.

        Args:
            frame_hw: height and width of the image.

        Raises:
            InputError: if the calibration or the depth image is missing or cannot be used.
        """
        self._source.note_size(frame_hw)
        if self._depth is None and not self._source.is_expected:
            return None
        if missing := self._source.explain_missing(self.camera_info, self._depth, self.gap_s):
            raise InputError(missing)
        camera = self._source.read_calibration(self.camera_info, frame_hw)
        return SpatialView(camera, self._source.read_depth(self._depth, frame_hw))


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
        clock: of ages and rates; None: real time.

    Attributes:
        camera_info: the topic of the calibration.
        depth: the topics of depth, of which one is subscribed.
        is_expected: depth should be there: its topic was chosen, by name or by remapping, or has
            had a publisher. Else a camera without depth is as good as one with it.
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
        clock: NodeClock | None = None,
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
        self._info = Source("camera_info", (self.camera_info,))
        self._depth = Source("depth", self.depth.topics)
        namespace, _, node_name = transport.resolve("~").rpartition("/")
        self.is_expected = name != resolve_topic(DEFAULT_DEPTH_TOPIC, node_name, namespace)
        self._max_pixels = max_pixels
        self._rectified = is_rectified(image_topic, rectification)
        self._tolerance_s, self._tolerance_ns = tolerance_s, round(tolerance_s * 1e9)
        self._clock = clock or NodeClock()
        # Callbacks, the worker and the supervisor look at what came.
        self._lock = threading.Lock()
        self._images = Arrivals()
        self._frame_hw: tuple[int, int] | None = None
        self._matched_s = -math.inf
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
        with self._lock:
            self._matches.clear()
            self._depths.clear()

    def match(self, stamp_ns: int, frame_hw: tuple[int, int] | None) -> DepthMatch:
        """Start to collect calibration and depth for an image that has just come.

        Args:
            stamp_ns: of the image.
            frame_hw: its height and width; None where only its decoder knows them.
        """
        match = DepthMatch(self, stamp_ns)
        now_s = self._clock.now().s
        with self._lock:
            self._images.add(now_s)
            self._frame_hw = frame_hw or self._frame_hw
            match.camera_info = self._info.message
            for message, depth_stamp_ns in self._depths:
                self._offer(match, message, depth_stamp_ns, now_s)
            self._matches.append(match)
        return match

    @property
    def size_bytes(self) -> int:
        """Return the bytes of the last depth image as received; 0 before the first one."""
        with self._lock:
            return len(self._depths[-1][0].data) if self._depths else 0

    def note_size(self, frame_hw: tuple[int, int]) -> None:
        """Note height and width of an image that was decoded."""
        with self._lock:
            self._frame_hw = frame_hw

    def read_calibration(self, message: Any, frame_hw: tuple[int, int]) -> CameraModel:
        """Read a CameraInfo.

        Raises:
            InputError: if it cannot be used, or not for an image of this height and width.
        """
        camera = read_camera_info(message, rectified=self._rectified)
        if camera.frame_hw != frame_hw:
            raise InputError(
                f"camera_info is for {camera.frame_hw[1]}x{camera.frame_hw[0]} pixels, the image "
                f"has {frame_hw[1]}x{frame_hw[0]}; publish the calibration of this image"
            )
        return camera

    def read_depth(self, message: Any, frame_hw: tuple[int, int] | None) -> DepthImage:
        """Read a depth image.

        Raises:
            InputError: if it cannot be used, or not for an image of this height and width.
        """
        return read_depth(message, frame_hw, max_pixels=self._max_pixels)

    def explain_missing(self, camera_info: Any, depth: Any, gap_s: float | None) -> str:
        """Return what an image lacks to be placed in space; empty when it has all."""
        missing = []
        if camera_info is None:
            missing.append(f"no camera_info came on {self._info.where}; publish the calibration")
        if gap_s is None:
            missing.append(f"no depth image came on {self._depth.where}; check that it sends there")
        elif depth is None:
            missing.append(self._explain_gap(gap_s))
        return "; ".join(missing)

    def check(self, active_s: float, timeout_s: float) -> tuple[SourceHealth, ...]:
        """Judge both topics.

        Args:
            active_s: seconds since the node began to listen.
            timeout_s: seconds of silence, or without a depth image for any image, that are a fault.
        """
        counts = self._info.count_publishers(), self._depth.count_publishers()
        # Something else may be published under the default name.
        self.is_expected |= any(topic.list_publishers() for topic in self.depth.topics)
        info_fault, depth_fault = "", ""
        if self.is_expected:
            # Without the lock: compressed depth takes its time.
            info_fault, depth_fault = self._find_info_fault(), self._find_depth_fault()
        now_s = self._clock.now().s
        with self._lock:
            if self.is_expected:
                depth_fault = depth_fault or self._find_gap_fault(now_s, active_s, timeout_s)
            # Where none is expected, no silence is too long.
            patience_s = timeout_s if self.is_expected else math.inf
            return (
                self._info.check(
                    self.camera_info, info_fault, counts[0], now_s, active_s, patience_s
                ),
                self._depth.check(
                    self.depth.topic, depth_fault, counts[1], now_s, active_s, patience_s
                ),
            )

    def _find_info_fault(self) -> str:
        message, frame_hw = self._info.message, self._frame_hw
        if message is None or frame_hw is None:
            return ""
        try:
            self.read_calibration(message, frame_hw)
        except InputError as error:
            return str(error)
        return ""

    def _find_depth_fault(self) -> str:
        message = self._depth.message
        if message is None:
            return ""
        try:
            self.read_depth(message, self._frame_hw)
        except InputError as error:
            return str(error)
        return ""

    def _find_gap_fault(self, now_s: float, active_s: float, timeout_s: float) -> str:
        gaps_s = [match.gap_s for match in self._matches if match.gap_s is not None]
        is_unmatched = min(now_s - self._matched_s, active_s) >= timeout_s
        are_images_there = self._images.find_age_s(now_s) < timeout_s
        return self._explain_gap(gaps_s[-1]) if gaps_s and is_unmatched and are_images_there else ""

    def _explain_gap(self, gap_s: float) -> str:
        nearest = f"{abs(gap_s):.3f} s {'newer' if gap_s > 0 else 'older'}"
        return (
            f"no depth image on {self.depth.topic.name} is within depth_tolerance_s of "
            f"{self._tolerance_s:g} s of its image, the nearest is {nearest}; let depth come all "
            "the time with the stamp of its image, or raise depth_tolerance_s"
        )

    def _take_camera_info(self, message: Any) -> None:
        now_s = self._clock.now().s
        with self._lock:
            self._info.take(message, now_s)
            for match in self._matches:
                match.camera_info = match.camera_info or message

    def _take_depth(self, message: Any) -> None:
        stamp = message.header.stamp
        stamp_ns = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
        now_s = self._clock.now().s
        with self._lock:
            self.is_expected = True
            self._depth.take(message, now_s)
            self._depths.append((message, stamp_ns))
            for match in self._matches:
                self._offer(match, message, stamp_ns, now_s)

    def _offer(self, match: DepthMatch, message: Any, stamp_ns: int, now_s: float) -> None:
        if match.offer(message, stamp_ns, self._tolerance_ns):
            self._matched_s = now_s

"""Make messages of frames, images, boxes, masks and instances, in the transport's classes."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from vl2_ros.node.request import Answer, StoredImage
from vl2_ros.node.transport import MessageTypes
from vl2_ros.processing.results.spatial import SpatialView
from vl2_ros.structures import (
    UNLABELLED,
    Branch,
    Detections,
    Frame,
    GeneratedImage,
    Keypoints,
    Masks,
    Result,
    Route,
)

#: The largest builtin_interfaces/Time.sec.
_LAST_SECOND = 2**31 - 1


class InstanceMessages:
    """Makes the messages that answers are composed of.

    Args:
        types: makes the transport's message classes.
    """

    def __init__(self, types: MessageTypes) -> None:
        self.types = types
        self._make = types.make

    def make_header(self, frame: Frame | StoredImage | None) -> Any:
        """Make the std_msgs/Header of an image, decoded or not; zero and empty without one."""
        if frame is None:
            return self._make("std_msgs/msg/Header")
        seconds, nanoseconds = divmod(frame.stamp_ns, 1_000_000_000)
        # Too many nanoseconds of a camera may lead beyond the last second of a message.
        seconds = min(seconds, _LAST_SECOND)
        stamp = self._make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return self._make("std_msgs/msg/Header", stamp=stamp, frame_id=frame.frame_id)

    def make_space_header(self, answer: Answer) -> Any:
        """Make the std_msgs/Header of what an answer has in space: the image's stamp, own frame."""
        header = self.make_header(answer.frame)
        header.frame_id = name_space_frame(answer) or header.frame_id
        return header

    def make_image(self, pixels: np.ndarray, encoding: str, frame: Frame | None) -> Any:
        """Make a sensor_msgs/Image with the header of a frame.

        Args:
            pixels: (H, W) or (H, W, C), in the machine's byte order; not copied when contiguous.
            encoding: of the message.
            frame: the image that it belongs to.
        """
        height, width = pixels.shape[:2]
        data = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
        return self._make(
            "sensor_msgs/msg/Image",
            header=self.make_header(frame),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=int(sys.byteorder == "big"),
            step=data.size // height,
            data=data,
        )

    def make_generated(self, image: GeneratedImage, frame: Frame | None) -> Any:
        """Make the vl2_ros/GeneratedImage of a generated or edited image."""
        return self._make(
            "vl2_ros/msg/GeneratedImage",
            image=self._make_image(image, frame),
            route=route_name(image.route),
            seed=image.seed,
            steps=image.steps,
            scheduler=image.scheduler,
        )

    def _make_image(self, image: GeneratedImage, frame: Frame | None) -> Any:
        message = self.make_image(image.rgb, "rgb8", frame)
        if image.route is not Route.EDIT:
            # A generated image is no view of the camera; with its frame_id it could be projected.
            message.header.frame_id = ""
        return message

    def make_text(self, text: str) -> Any:
        """Make the std_msgs/String of an answer in words."""
        return self._make("std_msgs/msg/String", data=text)

    def make_instances(self, branch: Branch, space: SpatialView | None) -> list[Any]:
        """Make a vl2_ros/Instance of each instance of a branch, in its order."""
        found = branch.detections
        positions_m = None if space is None else space.locate_keypoints(found)
        route, edges = route_name(branch.route), _flatten_edges(found.keypoints)
        return [
            self._make(
                "vl2_ros/msg/Instance",
                route=route,
                label=label,
                class_id=int(found.class_ids[index]),
                score=score,
                track_id=found.get_track_id(index),
                box=self._make_box(box),
                mask=self._make_mask(found.masks, index),
                keypoints=self._make_keypoints(
                    found.keypoints, index, None if positions_m is None else positions_m[index]
                ),
                skeleton_edges=edges,
            )
            for index, (box, score, label) in enumerate(found)
        ]

    def make_instance_array(self, answer: Answer, branch: Branch, instances: list[Any]) -> Any:
        """Make the vl2_ros/InstanceArray of a branch from its instances."""
        return self._make(
            "vl2_ros/msg/InstanceArray",
            header=self.make_header(answer.frame),
            space_frame_id=name_space_frame(answer),
            command_id=answer.request_id,
            route=route_name(branch.route),
            phrases=list(branch.phrases),
            instances=instances,
        )

    def make_detections(self, frame: Frame | None, result: Result) -> Any:
        """Make the vision_msgs/Detection2DArray of the boxes of all branches."""
        return self._make(
            "vision_msgs/msg/Detection2DArray",
            header=self.make_header(frame),
            detections=[
                self._make_detection(frame, branch.detections, index)
                for branch in result.branches
                for index in range(len(branch.detections))
            ],
        )

    def make_label_image(self, branch: Branch, frame: Frame) -> Any:
        """Make the sensor_msgs/Image of `draw_labels`."""
        return self.make_image(draw_labels(branch, frame.frame_hw), "16UC1", frame)

    def make_label_info(self, branch: Branch, frame: Frame | None) -> Any:
        """Make the vision_msgs/LabelInfo that names the class of each number in the label image."""
        return self._make(
            "vision_msgs/msg/LabelInfo",
            header=self.make_header(frame),
            class_map=[
                self._make("vision_msgs/msg/VisionClass", class_id=index, class_name=phrase)
                for index, phrase in enumerate(branch.phrases)
            ],
            threshold=branch.label_map.threshold if branch.label_map else 0.0,
        )

    def _make_keypoints(
        self, keypoints: Keypoints | None, index: int, positions_m: np.ndarray | None
    ) -> list[Any]:
        """Make the keypoints of one instance; (K, 3) positions, or None without depth."""
        if keypoints is None:
            return []
        if positions_m is None:
            positions_m = np.zeros((len(keypoints.names), 3))
        rows = zip(
            keypoints.names,
            keypoints.points_xy[index],
            keypoints.scores[index],
            positions_m,
            strict=True,
        )
        return [
            self._make(
                "vl2_ros/msg/Keypoint",
                name=name,
                x=float(x),
                y=float(y),
                score=float(score),
                position=self._make(
                    "geometry_msgs/msg/Point",
                    **dict(zip("xyz", map(float, position_m), strict=True)),
                ),
            )
            for name, (x, y), score, position_m in rows
        ]

    def _make_mask(self, masks: Masks | None, index: int) -> Any:
        if masks is None:
            return self._make("vl2_ros/msg/InstanceMask")
        (height, width), counts = masks.frame_hw, masks.crops[index].encode(masks.frame_hw).counts
        return self._make("vl2_ros/msg/InstanceMask", height=height, width=width, counts=counts)

    def _make_box(self, box_xyxy: np.ndarray) -> Any:
        x1, y1, x2, y2 = (float(value) for value in box_xyxy)
        point = self._make("vision_msgs/msg/Point2D", x=(x1 + x2) / 2, y=(y1 + y2) / 2)
        center = self._make("vision_msgs/msg/Pose2D", position=point)
        return self._make(
            "vision_msgs/msg/BoundingBox2D", center=center, size_x=x2 - x1, size_y=y2 - y1
        )

    def _make_detection(self, frame: Frame | None, found: Detections, index: int) -> Any:
        hypothesis = self._make(
            "vision_msgs/msg/ObjectHypothesis",
            class_id=found.labels[index],
            score=float(found.scores[index]),
        )
        return self._make(
            "vision_msgs/msg/Detection2D",
            header=self.make_header(frame),
            results=[self._make("vision_msgs/msg/ObjectHypothesisWithPose", hypothesis=hypothesis)],
            bbox=self._make_box(found.boxes_xyxy[index]),
            id=name_track(found.get_track_id(index)),
        )


def _flatten_edges(keypoints: Keypoints | None) -> np.ndarray:
    edges = () if keypoints is None else keypoints.edges
    return np.array(edges, dtype=np.uint16).reshape(-1)


def name_space_frame(answer: Answer) -> str:
    """Return the frame of what an answer has in space; empty without depth."""
    if answer.space is None:
        return ""
    return answer.space.frame_id or (answer.frame.frame_id if answer.frame else "")


def name_track(track_id: int) -> str:
    """Return what vision_msgs calls the id of a detection: its track; empty where it is 0."""
    return str(track_id) if track_id else ""


def route_name(route: Route) -> str:
    """Return the word for a route in messages: answer, detect, ground, segment, pose, ..."""
    return route.name.lower()


def draw_labels(branch: Branch, frame_hw: tuple[int, int]) -> np.ndarray:
    """Draw which class each pixel belongs to.

    Args:
        branch: with a label map; without one its instances are drawn, the best score on top.
        frame_hw: height and width of the camera image.

    Returns:
        (H, W) uint16 index into the phrases, `UNLABELLED` elsewhere.
    """
    if branch.label_map is not None:
        return branch.label_map.class_ids
    labels = np.full(frame_hw, UNLABELLED, np.uint16)
    found = branch.detections
    if found.masks is not None:
        for index in reversed(range(len(found))):
            crop = found.masks.crops[index]
            labels[crop.place][crop.pixels] = found.class_ids[index]
    return labels

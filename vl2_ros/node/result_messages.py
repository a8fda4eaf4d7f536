"""An `Answer` to messages: which topics it goes out on, and what stands in its VisionResult.

Written once for every transport: messages are made by the transport's own classes. The routes of
the answer choose the topics by one table, `ROUTE_TOPICS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vl2_ros.node.instance_messages import InstanceMessages, route_name
from vl2_ros.node.request import Answer, Status
from vl2_ros.node.spatial_messages import SpatialMessages
from vl2_ros.node.transport import LATCHED, MessageTypes, Qos
from vl2_ros.structures import Branch, ModelInfo, Route


@dataclass(frozen=True, slots=True)
class ResultTopic:
    """One outgoing topic.

    Attributes:
        name: private to the node, such as `~/result`.
        type_name: such as `std_msgs/msg/String`.
        qos: of the publisher.
    """

    name: str
    type_name: str
    qos: Qos = Qos()


# A late subscriber gets the last one or as many as it asks for. More than one is kept, because
# results can come in a burst, and none may push out another that is not yet received.
RESULT = ResultTopic("~/result", "vl2_ros/msg/VisionResult", Qos(transient_local=True))
ANSWER = ResultTopic("~/answer", "std_msgs/msg/String")
DETECTIONS = ResultTopic("~/detections", "vision_msgs/msg/Detection2DArray")
DETECTIONS_3D = ResultTopic("~/detections_3d", "vision_msgs/msg/Detection3DArray")
MARKERS = ResultTopic("~/markers", "visualization_msgs/msg/MarkerArray")
SEGMENTATION = ResultTopic("~/segmentation", "vl2_ros/msg/InstanceArray")
LABEL_IMAGE = ResultTopic("~/label_image", "sensor_msgs/msg/Image")
# Beside the picture and kept for late subscribers, as vision_msgs asks for.
LABEL_INFO = ResultTopic("~/label_info", "vision_msgs/msg/LabelInfo", LATCHED)
POSES = ResultTopic("~/poses", "vl2_ros/msg/InstanceArray")
GENERATED_IMAGE = ResultTopic("~/generated_image", "sensor_msgs/msg/Image")

#: Only sent about a picture for which there is depth and a calibration.
SPATIAL_TOPICS = (DETECTIONS_3D, MARKERS)
_BOXES = (DETECTIONS, *SPATIAL_TOPICS)
#: What an answer with each route is published on, beside ~/result.
ROUTE_TOPICS: Mapping[Route, tuple[ResultTopic, ...]] = {
    Route.ANSWER: (ANSWER,),
    Route.DETECT: (ANSWER, *_BOXES),
    Route.GROUND: (ANSWER, *_BOXES),
    Route.SEGMENT: (ANSWER, *_BOXES, SEGMENTATION, LABEL_INFO, LABEL_IMAGE),
    Route.POSE: (ANSWER, *_BOXES, POSES),
    Route.GENERATE: (ANSWER, GENERATED_IMAGE),
    Route.EDIT: (ANSWER, GENERATED_IMAGE),
}
#: Every topic of results, in the order in which one answer is published; ~/result comes last, so
#: that whoever has it knows that the others have been sent.
RESULT_TOPICS: tuple[ResultTopic, ...] = (
    *dict.fromkeys(topic for topics in ROUTE_TOPICS.values() for topic in topics),
    RESULT,
)


class ResultMessages:
    """Makes the messages of answers.

    Args:
        types: makes the transport's message classes.
        tell_info: tells the model that answers; asked for each message, since large weights are
            hashed beside the first answers.
    """

    def __init__(self, types: MessageTypes, tell_info: Callable[[], ModelInfo]) -> None:
        self._make = types.make
        self._parts = InstanceMessages(types)
        self._tell_info = tell_info

    def make_messages(
        self, answer: Answer, is_wanted: Callable[[ResultTopic], bool] = lambda topic: True
    ) -> tuple[tuple[ResultTopic, Any], ...]:
        """Make the messages of an answer with their topics, in the order of `RESULT_TOPICS`.

        Args:
            answer: one that is not OK is a VisionResult and nothing else.
            is_wanted: False leaves a topic out, except for ~/result.

        Returns:
            Pairs of topic and message; the last one is the VisionResult.
        """
        # Made once, shown by ~/result and by the topic of its route.
        found = self._find_parts(answer)
        complete = (RESULT, self._make_result(answer, found))
        if answer.status is not Status.OK or answer.result is None:
            return (complete,)
        wanted = {topic for route in answer.result.routes for topic in ROUTE_TOPICS[route]}
        parts = [
            (topic, message)
            for topic in RESULT_TOPICS
            if topic in wanted and is_wanted(topic)
            for message in _MAKERS[topic](self._parts, answer, found)
        ]
        return (*parts, complete)

    def make_result(self, answer: Answer) -> Any:
        """Make the vl2_ros/VisionResult of an answer alone."""
        return self._make_result(answer, self._find_parts(answer))

    def _find_parts(self, answer: Answer) -> _Found:
        if answer.result is None:
            return _Found([], [])
        return _Found(
            [(branch, self._parts.make_instances(branch)) for branch in answer.result.branches],
            [self._parts.make_generated(one, answer.frame) for one in answer.result.images],
        )

    def _make_result(self, answer: Answer, found: _Found) -> Any:
        result, info = answer.result, self._tell_info()
        return self._make(
            RESULT.type_name,
            header=self._parts.make_header(answer.frame),
            command_id=answer.request_id,
            command_text=answer.text,
            camera=answer.camera,
            status=int(answer.status),
            message=answer.message,
            is_final=answer.is_final,
            sequence=answer.sequence,
            text=result.text if result else "",
            routes=[route_name(route) for route in result.routes] if result else [],
            instances=[row for _, rows in found.branches for row in rows],
            images=found.images,
            stage_times=[
                self._make("vl2_ros/msg/StageTime", stage=stage, duration_ms=float(spent))
                for stage, spent in answer.stage_ms.items()
            ],
            model=info.name,
            model_identity=info.identity,
            engine=info.engine,
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """Messages of the instances of each branch, and of the drawn and edited pictures."""

    branches: list[tuple[Branch, list[Any]]]
    images: list[Any]


_Maker = Callable[[InstanceMessages, Answer, _Found], list[Any]]


def _make_text(parts: InstanceMessages, answer: Answer, found: _Found) -> list[Any]:
    return [parts.make_text(answer.result.text)] if answer.result else []


def _make_detections(parts: InstanceMessages, answer: Answer, found: _Found) -> list[Any]:
    return [parts.make_detections(answer.frame, answer.result)] if answer.result else []


def _make_detections_3d(parts: InstanceMessages, answer: Answer, found: _Found) -> list[Any]:
    if answer.space is None:
        return []
    header = parts.make_header(answer.frame)
    return [SpatialMessages(parts.types).make_detections(answer, header)]


def _make_markers(parts: InstanceMessages, answer: Answer, found: _Found) -> list[Any]:
    if answer.space is None:
        return []
    header = parts.make_header(answer.frame)
    return [SpatialMessages(parts.types).make_markers(answer, header)]


def _make_arrays(route: Route) -> _Maker:
    def make(parts: InstanceMessages, answer: Answer, found: _Found) -> list[Any]:
        return [
            parts.make_instance_array(answer, branch, instances)
            for branch, instances in found.branches
            if branch.route is route
        ]

    return make


def _make_label_images(parts: InstanceMessages, answer: Answer, found: _Found) -> list[Any]:
    return [
        parts.make_label_image(branch, answer.frame)
        for branch, _ in found.branches
        if branch.route is Route.SEGMENT and answer.frame is not None
    ]


def _make_label_infos(parts: InstanceMessages, answer: Answer, found: _Found) -> list[Any]:
    return [
        parts.make_label_info(branch, answer.frame)
        for branch, _ in found.branches
        if branch.route is Route.SEGMENT
    ]


def _pick_images(parts: InstanceMessages, answer: Answer, found: _Found) -> list[Any]:
    return [one.image for one in found.images]


_MAKERS: Mapping[ResultTopic, _Maker] = {
    ANSWER: _make_text,
    DETECTIONS: _make_detections,
    DETECTIONS_3D: _make_detections_3d,
    MARKERS: _make_markers,
    SEGMENTATION: _make_arrays(Route.SEGMENT),
    LABEL_IMAGE: _make_label_images,
    LABEL_INFO: _make_label_infos,
    POSES: _make_arrays(Route.POSE),
    GENERATED_IMAGE: _pick_images,
}

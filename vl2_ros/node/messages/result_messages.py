"""Make the messages of an `Answer`: its topics, and the fields of its VisionResult.

Written once for every transport: messages are made by the transport's own classes. The routes of
the answer choose the topics by one table, `ROUTE_TOPICS`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

from vl2_ros.node.guarded import catch_failure, describe_error
from vl2_ros.node.messages.instance_messages import (
    InstanceMessages,
    name_space_frame,
    route_name,
)
from vl2_ros.node.messages.point_messages import POINTS_TYPE, lift_masks, make_points
from vl2_ros.node.messages.spatial_messages import SpatialMessages
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.request import Answer, Status
from vl2_ros.node.transport import LATCHED, MessageTypes, Qos
from vl2_ros.structures import Branch, ModelInfo, Result, Route


@dataclass(frozen=True, slots=True, eq=False)
class ResultTopic:
    """One outgoing topic; it equals no other, and is found by its identity.

    Attributes:
        name: private to the node, such as `~/result`.
        type_name: such as `std_msgs/msg/String`.
        qos: of the publisher.
        is_optional: skipped where the transport has no such type.
    """

    name: str
    type_name: str
    qos: Qos = Qos()
    is_optional: bool = False


# A late subscriber gets the last one or as many as it asks for, ten at most. Many more are kept
# until they are received, because results can come in a burst, and none may push out another.
RESULT = ResultTopic(
    "~/result", "vl2_ros/msg/VisionResult", Qos(transient_local=True, depth=1024, latched=10)
)
ANSWER = ResultTopic("~/answer", "std_msgs/msg/String")
DETECTIONS = ResultTopic("~/detections", "vision_msgs/msg/Detection2DArray")
DETECTIONS_3D = ResultTopic("~/detections_3d", "vision_msgs/msg/Detection3DArray")
MARKERS = ResultTopic("~/markers", "visualization_msgs/msg/MarkerArray")
POINTS = ResultTopic("~/points", POINTS_TYPE)
SEGMENTATION = ResultTopic("~/segmentation", "vl2_ros/msg/InstanceArray")
LABEL_IMAGE = ResultTopic("~/label_image", "sensor_msgs/msg/Image")
# Beside the image and kept for late subscribers, as vision_msgs asks for; its releases before 4.1
# do not have the type.
LABEL_INFO = ResultTopic("~/label_info", "vision_msgs/msg/LabelInfo", LATCHED, is_optional=True)
POSES = ResultTopic("~/poses", "vl2_ros/msg/InstanceArray")
GENERATED_IMAGE = ResultTopic("~/generated_image", "sensor_msgs/msg/Image")

#: Only sent for an image with depth and a calibration, and to clear markers.
SPATIAL_TOPICS = (DETECTIONS_3D, MARKERS, POINTS)
_BOXES = (DETECTIONS, DETECTIONS_3D, MARKERS)
#: What an answer with each route is published on, beside ~/result.
ROUTE_TOPICS: Mapping[Route, tuple[ResultTopic, ...]] = {
    Route.ANSWER: (ANSWER,),
    Route.DETECT: (ANSWER, *_BOXES),
    Route.GROUND: (ANSWER, *_BOXES),
    Route.SEGMENT: (ANSWER, *_BOXES, POINTS, SEGMENTATION, LABEL_INFO, LABEL_IMAGE),
    Route.POSE: (ANSWER, *_BOXES, POSES),
    Route.GENERATE: (ANSWER, GENERATED_IMAGE),
    Route.EDIT: (ANSWER, GENERATED_IMAGE),
}
#: Every topic of results, in the order in which one answer is published; ~/result comes last, so
#: that its receivers know that the others have been sent.
RESULT_TOPICS: tuple[ResultTopic, ...] = (
    *dict.fromkeys(topic for topics in ROUTE_TOPICS.values() for topic in topics),
    RESULT,
)


class DomainValue(IntEnum):
    """VisionResult.in_domain."""

    UNKNOWN = 0
    INSIDE = 1
    OUTSIDE = 2

    @classmethod
    def of(cls, result: Result | None) -> DomainValue:
        """Return the value of a result, UNKNOWN without one."""
        if result is None or result.in_domain is None:
            return cls.UNKNOWN
        return cls.INSIDE if result.in_domain else cls.OUTSIDE

    def read(self) -> bool | None:
        """Return the value of `Result.in_domain`."""
        return None if self is DomainValue.UNKNOWN else self is DomainValue.INSIDE


_NO_MODEL = ModelInfo("", "", "", "", ())


class ResultMessages:
    """Makes the messages of answers.

    Args:
        types: makes the transport's message classes.
        find_info: returns the model's info; called for each message, since large weights are hashed
            beside the first answers.
        find_marker_lifetime_s: called for each answer's markers; 0: until they are cleared.
    """

    def __init__(
        self,
        types: MessageTypes,
        find_info: Callable[[], ModelInfo],
        find_marker_lifetime_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._make = types.make
        self._parts = InstanceMessages(types)
        self._spatial = SpatialMessages(types, find_marker_lifetime_s)
        self._makers: Mapping[ResultTopic, _Maker] = {
            **_MAKERS,
            DETECTIONS_3D: self._make_detections_3d,
            MARKERS: self._make_markers,
            POINTS: self._make_points,
        }
        self._find_info = find_info
        self._log = RepeatedLog(logging.getLogger(__name__))

    def list_topics(self, answer: Answer) -> tuple[ResultTopic, ...]:
        """List the topics of an answer in the order of `RESULT_TOPICS`, without `~/result`.

        Args:
            answer: one that is not OK goes out on `~/result`, and clears markers.
        """
        # Every answer may have to clear markers that viewers show.
        topics = {MARKERS}
        if answer.status is Status.OK and answer.result is not None:
            topics.update(*(ROUTE_TOPICS[route] for route in answer.result.routes))
        return tuple(topic for topic in RESULT_TOPICS if topic in topics)

    def open_parts(self, answer: Answer) -> AnswerParts:
        """Return the parts that the messages of an answer share."""
        return AnswerParts(self._parts, answer)

    def make_messages(self, topic: ResultTopic, parts: AnswerParts) -> list[Any]:
        """Make the messages of an answer on one of its topics."""
        return self._makers[topic](self._parts, parts.answer, parts)

    def skip(self, topic: ResultTopic, answer: Answer) -> None:
        """Note that an answer is not published on a topic, as it has no subscribers."""
        if topic is MARKERS:
            self._spatial.forget(answer)

    def make_result(
        self, answer: Answer, parts: AnswerParts | None = None, failures: Sequence[str] = ()
    ) -> Any:
        """Make the vl2_ros/VisionResult of an answer; never fails, whatever the answer contains.

        Args:
            answer: to a command.
            parts: of the answer, where they are there already.
            failures: what could not be sent on other topics; the message reports it.

        Returns:
            The message; FAILED, with the reason, when the answer cannot be written.
        """
        notes = (answer.message, answer.result.message if answer.result else "", *failures)
        message = "; ".join(one for one in notes if one)
        answer = replace(answer, message=message)
        made: list[Any] = []
        failure = catch_failure(
            "making a result",
            lambda: made.append(
                self._make_result(answer, parts or self.open_parts(answer), self._find_info())
            ),
            self._log,
        )
        if failure is None:
            return made[0]
        return self.make_failed(answer, f"the answer cannot be written: {describe_error(failure)}")

    def make_failed(self, answer: Answer, reason: str) -> Any:
        """Make the vl2_ros/VisionResult that replaces one that cannot be made."""
        failed = replace(
            answer, status=Status.FAILED, message=reason, frame=None, space=None, result=None
        )
        infos = [_NO_MODEL]
        catch_failure("naming the model", lambda: infos.append(self._find_info()), self._log)
        return self._make_result(failed, self.open_parts(failed), infos[-1])

    def _make_detections_3d(
        self, parts: InstanceMessages, answer: Answer, found: AnswerParts
    ) -> list[Any]:
        if answer.space is None:
            return []
        return [self._spatial.make_detections(answer, parts.make_space_header(answer))]

    def _make_markers(
        self, parts: InstanceMessages, answer: Answer, found: AnswerParts
    ) -> list[Any]:
        return self._spatial.make_markers(answer, parts.make_space_header(answer))

    def _make_points(
        self, parts: InstanceMessages, answer: Answer, found: AnswerParts
    ) -> list[Any]:
        points = lift_masks(answer)
        return [] if points is None else [make_points(parts, answer, points)]

    def _make_result(self, answer: Answer, found: AnswerParts, info: ModelInfo) -> Any:
        result = answer.result
        return self._make(
            RESULT.type_name,
            header=self._parts.make_header(answer.image or answer.frame),
            space_frame_id=name_space_frame(answer),
            command_id=answer.request_id,
            command_text=answer.text,
            camera=answer.camera,
            status=int(answer.status),
            message=answer.message,
            is_final=answer.is_final,
            sequence=answer.sequence,
            text=result.text if result else "",
            raw_text=result.raw_text if result else "",
            routes=[route_name(route) for route in result.routes] if result else [],
            in_domain=int(DomainValue.of(result)),
            answer_score=(result.answer_score or 0.0) if result else 0.0,
            answer_age=result.answer_age if result else 0,
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


class AnswerParts:
    """Messages that several topics of an answer show; each is made once, when it is needed.

    Args:
        messages: makes them.
        answer: to a command.
    """

    def __init__(self, messages: InstanceMessages, answer: Answer) -> None:
        self._messages = messages
        self.answer = answer

    @cached_property
    def branches(self) -> list[tuple[Branch, list[Any]]]:
        """The branches with a vl2_ros/Instance of each of their instances."""
        result = self.answer.result
        return [
            (branch, self._messages.make_instances(branch, self.answer.space))
            for branch in (result.branches if result else ())
        ]

    @cached_property
    def images(self) -> list[Any]:
        """A vl2_ros/GeneratedImage of each generated or edited image."""
        result = self.answer.result
        images = result.images if result else ()
        return [self._messages.make_generated(one, self.answer.frame) for one in images]


_Maker = Callable[[InstanceMessages, Answer, AnswerParts], list[Any]]


def _make_text(parts: InstanceMessages, answer: Answer, found: AnswerParts) -> list[Any]:
    return [parts.make_text(answer.result.text)] if answer.result else []


def _make_detections(parts: InstanceMessages, answer: Answer, found: AnswerParts) -> list[Any]:
    return [parts.make_detections(answer.frame, answer.result)] if answer.result else []


def _make_arrays(route: Route) -> _Maker:
    def make(parts: InstanceMessages, answer: Answer, found: AnswerParts) -> list[Any]:
        return [
            parts.make_instance_array(answer, branch, instances)
            for branch, instances in found.branches
            if branch.route is route
        ]

    return make


def _make_label_images(parts: InstanceMessages, answer: Answer, found: AnswerParts) -> list[Any]:
    return [
        parts.make_label_image(branch, answer.frame)
        for branch, _ in found.branches
        if branch.route is Route.SEGMENT and answer.frame is not None
    ]


def _make_label_infos(parts: InstanceMessages, answer: Answer, found: AnswerParts) -> list[Any]:
    return [
        parts.make_label_info(branch, answer.frame)
        for branch, _ in found.branches
        if branch.route is Route.SEGMENT
    ]


def _pick_images(parts: InstanceMessages, answer: Answer, found: AnswerParts) -> list[Any]:
    return [one.image for one in found.images]


_MAKERS: Mapping[ResultTopic, _Maker] = {
    ANSWER: _make_text,
    DETECTIONS: _make_detections,
    SEGMENTATION: _make_arrays(Route.SEGMENT),
    LABEL_IMAGE: _make_label_images,
    LABEL_INFO: _make_label_infos,
    POSES: _make_arrays(Route.POSE),
    GENERATED_IMAGE: _pick_images,
}

"""Publish answers: each one on the topics of its routes, and as an annotated image."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from vl2_ros.node.annotated_output import (
    ANNOTATED,
    ANNOTATED_COMPRESSED,
    AnnotatedOutput,
    DrawingThread,
)
from vl2_ros.node.guarded import catch_failure, describe_error, guarded
from vl2_ros.node.messages.result_messages import (
    ANSWER,
    RESULT,
    RESULT_TOPICS,
    AnswerParts,
    ResultMessages,
    ResultTopic,
)
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.request import Answer
from vl2_ros.node.transport import Publisher, Transport
from vl2_ros.structures import ModelInfo

_logger = logging.getLogger(__name__)


class ResultOutput:
    """Publishes answers; may be called from several threads.

    `~/result` and the legend of labels, which are kept for late subscribers, are always sent. All
    other messages cost time to make and are only made for topics that have subscribers.

    Args:
        transport: sends the messages.
        find_info: returns the model's info; called for each message, since large weights are hashed
            beside the first answers.
        find_marker_lifetime_s: called for each answer's markers; 0: until they are cleared.
        draws_beside: answers are drawn into their images on a thread of its own, so that none
            waits for the images of those before; call `finish` at the end. False: before the result
            is sent.
    """

    def __init__(
        self,
        transport: Transport,
        find_info: Callable[[], ModelInfo],
        find_marker_lifetime_s: Callable[[], float] = lambda: 0.0,
        *,
        draws_beside: bool = False,
    ) -> None:
        self._log = RepeatedLog(_logger)
        self._types = transport.types
        self._messages = ResultMessages(transport.types, find_info, find_marker_lifetime_s)
        self._publishers: dict[ResultTopic, Publisher] = {
            topic: transport.advertise(topic.name, topic.type_name, topic.qos)
            for topic in (*RESULT_TOPICS, ANNOTATED, ANNOTATED_COMPRESSED)
            if _is_offered(topic, transport)
        }
        self._annotated = AnnotatedOutput(transport.types, self._publishers)
        self._drawing = DrawingThread(self._annotated, self._log) if draws_beside else None
        if self._drawing is not None:
            self._draw = guarded(self._drawing.publish, f"drawing {ANNOTATED.name}", self._log)

    def publish(self, answer: Answer) -> None:
        """Publish an answer on each of its topics, `~/result` last but for what is drawn beside.

        A failure on one topic stops no other: it is logged, and the result's message reports it.
        A result that cannot be sent is sent as FAILED, with the reason.

        Raises:
            TransportError: if not even that can be sent.
        """
        failures: list[str] = []
        parts = self._messages.open_parts(answer)
        for topic in self._messages.list_topics(answer):
            if topic in self._publishers:
                self._try(topic.name, partial(self._publish_parts, topic, parts), failures)
        if self._drawing is None:
            self._try(ANNOTATED.name, partial(self._annotated.publish, answer), failures)
        result = self._messages.make_result(answer, parts, failures)
        send = self._publishers[RESULT].publish
        failure = catch_failure(f"publishing {RESULT.name}", partial(send, result), self._log)
        if failure is not None:
            reason = f"the result cannot be sent: {describe_error(failure)}"
            send(self._messages.make_failed(answer, reason))
        if self._drawing is not None:
            # Last, so that the thread that draws does not take turns with this one.
            self._draw(answer)

    def say(self, text: str) -> None:
        """Publish a text on `~/answer`, where nothing was answered anew.

        Raises:
            TransportError: if it cannot be sent.
        """
        self._publishers[ANSWER].publish(self._types.make(ANSWER.type_name, data=text))

    def finish(self, timeout_s: float) -> None:
        """Draw the images that wait, as far as the time allows."""
        if self._drawing is not None:
            self._drawing.finish(timeout_s)

    def flush_log(self) -> None:
        """Log counts of repeats that are a minute old; to be called by a timer."""
        self._log.flush()

    def _try(self, name: str, send: Callable[[], None], failures: list[str]) -> None:
        failure = catch_failure(f"publishing {name}", send, self._log)
        if failure is not None:
            failures.append(f"nothing was sent on {name}: {describe_error(failure)}")

    def _publish_parts(self, topic: ResultTopic, parts: AnswerParts) -> None:
        if not self._is_wanted(topic):
            self._messages.skip(topic, parts.answer)
            return
        for message in self._messages.make_messages(topic, parts):
            self._publishers[topic].publish(message)

    def _is_wanted(self, topic: ResultTopic) -> bool:
        return topic.qos.transient_local or self._publishers[topic].count_subscribers() > 0


def _is_offered(topic: ResultTopic, transport: Transport) -> bool:
    is_offered = not topic.is_optional or transport.types.has(topic.type_name)
    if not is_offered:
        _logger.info(
            "%s is not offered: %s is missing; a newer release of its package has it",
            topic.name,
            topic.type_name,
        )
    return is_offered

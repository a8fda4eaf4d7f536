"""Publish answers drawn into their images; beside the worker, which never waits for it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np

from vl2_ros.node.cameras.camera_input import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE
from vl2_ros.node.guarded import guarded
from vl2_ros.node.messages.instance_messages import InstanceMessages
from vl2_ros.node.messages.result_messages import ResultTopic
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.request import Answer
from vl2_ros.node.transport import MessageTypes, Publisher
from vl2_ros.views.overlay import draw_overlay
from vl2_ros.views.shrink import shrink

ANNOTATED = ResultTopic("~/annotated", IMAGE_TYPE)
ANNOTATED_COMPRESSED = ResultTopic("~/annotated/compressed", COMPRESSED_IMAGE_TYPE)

_JPEG_QUALITY = 85
#: Commands whose newest answers wait; beyond that the one that has waited longest is dropped.
_MOST_WAITING = 8


class AnnotatedOutput:
    """Draws answers and publishes them, as long as there are subscribers.

    The image has the stamp and the frame_id of the one that the answer is about, and a longer side
    of at most `shrink.MAX_SIDE` pixels.

    Args:
        types: makes the transport's message classes.
        publishers: of the two topics.
    """

    def __init__(self, types: MessageTypes, publishers: Mapping[ResultTopic, Publisher]) -> None:
        self._make = types.make
        self._parts = InstanceMessages(types)
        self._publishers = publishers
        self._makers: Mapping[ResultTopic, Callable[[np.ndarray, Answer], Any]] = {
            ANNOTATED: self._make_image,
            ANNOTATED_COMPRESSED: self._make_compressed,
        }

    def is_wanted(self, answer: Answer) -> bool:
        """Return whether there is something to draw, and a subscriber."""
        return answer.frame is not None and answer.result is not None and bool(self._find_topics())

    def publish(self, answer: Answer) -> None:
        """Draw an answer and send it; does nothing where it is not wanted."""
        topics = self._find_topics()
        if answer.frame is None or answer.result is None or not topics:
            return
        rgb = draw_overlay(*shrink(answer.frame, answer.result), question=answer.text)
        for topic in topics:
            self._publishers[topic].publish(self._makers[topic](rgb, answer))

    def _find_topics(self) -> list[ResultTopic]:
        return [topic for topic in self._makers if self._publishers[topic].count_subscribers() > 0]

    def _make_image(self, rgb: np.ndarray, answer: Answer) -> Any:
        return self._parts.make_image(rgb, "rgb8", answer.frame)

    def _make_compressed(self, rgb: np.ndarray, answer: Answer) -> Any:
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        return self._make(
            COMPRESSED_IMAGE_TYPE,
            header=self._parts.make_header(answer.frame),
            format="rgb8; jpeg compressed bgr8",
            data=data.reshape(-1),
        )


class DrawingThread:
    """Draws answers on a thread of its own, of each command the newest that waits.

    Args:
        output: draws and publishes.
        log: receives failures; they stop nothing.
    """

    def __init__(self, output: AnnotatedOutput, log: RepeatedLog) -> None:
        self._output = output
        self._draw_one = guarded(output.publish, f"publishing {ANNOTATED.name}", log)
        self._changed = threading.Condition()
        self._waiting: OrderedDict[tuple[str, str], Answer] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._ending: threading.Thread | None = None

    def publish(self, answer: Answer) -> None:
        """Let an answer be drawn soon, in place of an older one of its command; returns at once."""
        if not self._output.is_wanted(answer):
            return
        with self._changed:
            # In its old place, so that each command has its turn.
            self._waiting[answer.camera, answer.request_id] = answer
            if len(self._waiting) > _MOST_WAITING:
                self._waiting.popitem(last=False)
            if self._thread is None:
                self._thread = threading.Thread(target=self._draw, name="vl2 overlay", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def finish(self, timeout_s: float) -> None:
        """End the thread when it has drawn what waits; what it has not by then is dropped."""
        end_s = time.monotonic() + timeout_s
        with self._changed:
            thread, self._thread = self._thread, None
            self._ending = thread
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting, timeout_s)
            self._waiting.clear()
            # One that still draws takes nothing of a thread that is started after it.
            self._ending = None
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, end_s - time.monotonic()))

    def _draw(self) -> None:
        while (answer := self._take()) is not None:
            self._draw_one(answer)

    def _take(self) -> Answer | None:
        """Wait for an answer; None when this thread is to end."""
        own = threading.current_thread()
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._thread is not own)
            if not self._waiting or own not in (self._thread, self._ending):
                return None
            _, answer = self._waiting.popitem(last=False)
            self._changed.notify_all()
            return answer

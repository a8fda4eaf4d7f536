"""The action `~/perceive`: a command with feedback while it runs, true cancel, one result."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from vl2_ros.node.guarded import ends_process, guarded, log_failure
from vl2_ros.node.messages.command_messages import read_sender
from vl2_ros.node.messages.instance_messages import route_name
from vl2_ros.node.messages.result_messages import RESULT
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.request import Answer, Mode, Status
from vl2_ros.node.server import PerceptionServer
from vl2_ros.node.service_calls import ACTION_NAME, ACTION_TYPE, INACTIVE
from vl2_ros.node.transport import MessageTypes
from vl2_ros.structures import Event, ProgressEvent, StageEvent, TextEvent
from vl2_ros.transports.ros.message_types import find_class
from vl2_ros.transports.ros.qos import make_server_profile

#: How often a goal that runs looks whether it is to be canceled, in seconds.
_LOOK_PERIOD_S = 0.01
#: How long a goal waits for its answer after the node was stopped, in seconds.
_LAST_WAIT_S = 5.0
#: How long a result is kept for a client that has not asked for it, in seconds: results may contain
#: images, and rclpy would keep each for a quarter of an hour.
_RESULT_KEPT_S = 60

_log = logging.getLogger(__name__)


class PerceiveAction:
    """Serves the action; goals are rejected while the node is not active.

    It stays as long as the rclpy node: destroying an action while an executor waits on it ends
    the executor.

    A goal keeps one thread of the executor until its answer is there: in this rclpy, a coroutine
    that waits keeps a whole core busy. So the number of goals is bounded.

    Args:
        node: the rclpy node.
        types: makes the messages.
        find_server: returns the node; None while there is none.
        most_goals: more at a time are answered BUSY.
    """

    def __init__(
        self,
        node: Node,
        types: MessageTypes,
        find_server: Callable[[], PerceptionServer | None],
        most_goals: int,
    ) -> None:
        self._make = types.make
        self._find_server = find_server
        self._most_goals = most_goals
        self._quiet_log = RepeatedLog(_log)
        self._places = threading.BoundedSemaphore(most_goals)
        self._node = node
        self._lock = threading.Lock()
        self._kept: deque[tuple[float, Any]] = deque()
        self._action = ActionServer(
            node,
            find_class(ACTION_TYPE),
            ACTION_NAME,
            self._execute_guarded,
            callback_group=ReentrantCallbackGroup(),
            # Without an answer, as after a failure, rclpy rejects.
            goal_callback=guarded(self._admit, f"taking a goal of {ACTION_NAME}", self._quiet_log),
            cancel_callback=lambda handle: CancelResponse.ACCEPT,
            goal_service_qos_profile=make_server_profile(),
            cancel_service_qos_profile=make_server_profile(),
            result_service_qos_profile=make_server_profile(),
            # Of the status, each message has all goals: the last one is enough.
            feedback_pub_qos_profile=make_server_profile(),
            result_timeout=_RESULT_KEPT_S,
        )

    def _execute_guarded(self, handle: ServerGoalHandle) -> Any:
        try:
            return self._execute(handle)
        except BaseException as error:
            # It would end the executor; the client must not wait for ever either.
            if ends_process(error):
                raise
            log_failure(self._quiet_log, f"a goal of {ACTION_NAME}", error)
            if handle.is_active:
                handle.abort()
            message = f"the goal failed: {type(error).__name__}; see the log of the node"
            return self._refuse(handle, message, Status.FAILED)

    def _admit(self, goal: Any) -> GoalResponse:
        # Full is no reason to reject: the result says BUSY, and what to do.
        is_active = self._find_active() is not None
        return GoalResponse.ACCEPT if is_active else GoalResponse.REJECT

    def _find_active(self) -> PerceptionServer | None:
        server = self._find_server()
        return server if server is not None and server.is_active else None

    def _execute(self, handle: ServerGoalHandle) -> Any:
        server = self._find_active()
        if server is None:
            handle.abort()
            return self._refuse(handle, INACTIVE)
        if not self._places.acquire(blocking=False):
            handle.abort()
            most = f"{self._most_goals} goals run already, no more are taken; ask again later"
            return self._refuse(handle, most)
        try:
            answer = self._follow(server, handle)
        finally:
            self._places.release()
        result = self._make(f"{ACTION_TYPE}_Result", result=server.make_result(answer))
        if self._node.get_clock().ros_time_is_active:
            self._keep(result)
        if answer.status is Status.OK:
            handle.succeed()
        elif answer.status is Status.CANCELED and handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return result

    def _keep(self, result: Any) -> None:
        """Note a result, and empty those that were kept for long enough.

        rclpy counts in simulated time. In a short recording that is played again and again, that
        never comes so far, and results with their images would pile up.
        """
        now_s = time.monotonic()
        with self._lock:
            while self._kept and now_s - self._kept[0][0] > _RESULT_KEPT_S:
                old = self._kept.popleft()[1]
                message = f"the result was kept for {_RESULT_KEPT_S:g} s; ask for it earlier"
                old.result = self._make(
                    RESULT.type_name,
                    command_id=old.result.command_id,
                    status=int(Status.FAILED),
                    message=message,
                    is_final=True,
                )
            self._kept.append((now_s, result))

    def _follow(self, server: PerceptionServer, handle: ServerGoalHandle) -> Answer:
        """Submit the goal, pass on what happens, and cancel it when that is asked for.

        Ends with the answer that every command gets; the limit is for a thread that cannot be
        waited for when the process ends.
        """
        # Feedback and answers are made by the worker; here they become messages, so that a slow
        # client does not delay the worker.
        events: queue.SimpleQueue[Event | Answer] = queue.SimpleQueue()
        command_id = server.submit(
            handle.request.command, Mode.ASK, on_event=events.put, on_answer=events.put
        )
        feedback = self._make(f"{ACTION_TYPE}_Feedback")
        event: Event | Answer | None
        is_canceled = False
        end_s = math.inf
        while time.monotonic() < end_s:
            if end_s == math.inf and not server.is_active:
                end_s = time.monotonic() + _LAST_WAIT_S
            try:
                event = events.get(timeout=_LOOK_PERIOD_S)
            except queue.Empty:
                event = None
            if isinstance(event, Answer):
                return event
            if event is not None and _update(feedback, event):
                handle.publish_feedback(feedback)
            # In every round, as words may come faster than the period; after the answer of a goal
            # that was refused because its id is another command's, which must continue.
            if handle.is_cancel_requested and not is_canceled:
                is_canceled = True
                server.node.cancel(command_id)
        sender = read_sender(handle.request.command)
        message = "the node was stopped and has not answered"
        return Answer(command_id, sender.text, sender.camera, Status.FAILED, message=message)

    def _refuse(self, handle: ServerGoalHandle, message: str, status: Status = Status.BUSY) -> Any:
        command = handle.request.command
        result = self._make(
            RESULT.type_name,
            command_id=command.id,
            command_text=command.text,
            camera=command.camera,
            status=int(status),
            message=message,
            is_final=True,
        )
        return self._make(f"{ACTION_TYPE}_Result", result=result)


def _update(feedback: Any, event: Event) -> bool:
    """Put an event into the feedback message; False when there is nothing to report."""
    if isinstance(event, StageEvent):
        feedback.stage, feedback.progress = event.stage, 0.0
    elif isinstance(event, ProgressEvent):
        feedback.stage, feedback.progress = event.stage, event.step / event.steps
    elif isinstance(event, TextEvent):
        feedback.text = event.text
        feedback.routes = [route_name(route) for route in event.routes]
    else:
        return False
    return True

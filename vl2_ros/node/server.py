"""A `PerceptionNode` on a transport: images and commands in, typed results and diagnostics out.

The same on every transport; knows topics and messages, but neither ROS nor DDS.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from vl2_ros.errors import ConfigError, InputError
from vl2_ros.node.cameras.camera_set import CameraSet
from vl2_ros.node.clock import NodeClock
from vl2_ros.node.fault_log import FaultLog
from vl2_ros.node.frames.frame_lookup import OpenFrames
from vl2_ros.node.frames.target_frame import TargetFrame
from vl2_ros.node.frames.transform_listener import TransformListener
from vl2_ros.node.guarded import catch_failure, describe_error, error_text, guarded
from vl2_ros.node.hearing.heard_messages import HEARD_TOPIC, HEARD_TYPE
from vl2_ros.node.hearing.spoken_commands import NodeActions, SpokenCommands
from vl2_ros.node.hearing.vocabulary_output import VocabularyOutput
from vl2_ros.node.messages.command_drain import CommandDrain
from vl2_ros.node.messages.command_messages import (
    Sender,
    read_command,
    read_sender,
    read_text_command,
)
from vl2_ros.node.messages.diagnostic_messages import DiagnosticMessages
from vl2_ros.node.messages.result_messages import ResultMessages
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.perceiver import Perceiver
from vl2_ros.node.perception import STOP_S, PerceptionNode
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.request import Answer, Mode, Request, Status, StoredImage
from vl2_ros.node.result_output import ResultOutput
from vl2_ros.node.scheduling.schedule import refuse_id
from vl2_ros.node.transport import Publisher, Qos, Subscription, Transport
from vl2_ros.processing.printable import make_printable
from vl2_ros.structures import Event

COMMAND_TOPIC, COMMAND_TYPE = "~/command", "std_msgs/msg/String"
VISION_COMMAND_TOPIC, VISION_COMMAND_TYPE = "~/vision_command", "vl2_ros/msg/VisionCommand"
DIAGNOSTICS_TOPIC, DIAGNOSTICS_TYPE = "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray"

# Every command is answered, so a burst of them must fit; the node's own queue decides on "busy".
_COMMAND_QOS = Qos(depth=4096, keep_all=True)

#: Statuses that are always logged.
_REPORTED = (Status.BUSY, Status.EXPIRED, Status.INVALID, Status.FAILED)

#: Most seconds between two looks at threads and at the publishers of cameras.
_LOOK_PERIOD_S = 0.5

_LOG = logging.getLogger(__name__)


class PerceptionServer:
    """Binds a PerceptionNode to a transport.

    The transport stays the caller's: stop the server first, then close the transport.

    Args:
        perceiver: answers one command about one frame.
        transport: carries the messages.
        parameters: of the node.
        on_failure: called once, with the reason, when no command can be answered any more, as a
            thread has ended; the process should end then, with a code that is not 0.
        open_frames: opens the lookup of transforms into the parameter target_frame.
    """

    def __init__(
        self,
        perceiver: Perceiver,
        transport: Transport,
        parameters: NodeParameters,
        on_failure: Callable[[str], None] = _LOG.critical,
        open_frames: OpenFrames = TransformListener,
    ) -> None:
        """Store the parts; no topic is opened before `advertise` or `start`.

        Raises:
            ConfigError: if the name of a camera is no topic name.
        """
        self._clock = NodeClock(transport.find_simulated_ns)
        self._target_frame = TargetFrame(parameters.target_frame, transport, open_frames)
        self.node = PerceptionNode(
            perceiver, parameters, self._publish, self._target_frame, self._clock
        )
        actions = NodeActions(self._admit, self._refuse, self._say, transport.now_ns)
        self._spoken = SpokenCommands(self.node, actions)
        self._vocabulary: VocabularyOutput | None = None
        self._transport = transport
        self._on_failure = on_failure
        self._log = RepeatedLog(_LOG)
        self._drain = CommandDrain()
        self._result_messages = ResultMessages(transport.types, lambda: perceiver.info)
        self._output: ResultOutput | None = None
        self._diagnostics: Publisher | None = None
        self._diagnostic_messages = DiagnosticMessages(
            transport.types, transport.resolve("~").lstrip("/"), lambda: perceiver.info
        )
        self._cameras = CameraSet(parameters, transport, self._put_image, self._clock)
        self._subscriptions: list[Subscription] = []
        self._faults = FaultLog(_LOG)
        self._timer: threading.Thread | None = None
        self._stopping = threading.Event()
        self._has_failed = False
        self._active_since_s = 0.0

    @property
    def is_active(self) -> bool:
        """Return whether it accepts and answers commands."""
        return self._timer is not None

    def advertise(self) -> None:
        """Open the outgoing topics; a second call does nothing."""
        if self._output is None:
            self._output = ResultOutput(
                self._transport,
                lambda: self.node.info,
                lambda: self.node.parameters.marker_lifetime_s,
                draws_beside=True,
            )
            self._vocabulary = VocabularyOutput(self._transport)
            self._diagnostics = self._transport.advertise(
                DIAGNOSTICS_TOPIC, DIAGNOSTICS_TYPE, Qos()
            )

    def start(self) -> None:
        """Subscribe to cameras and commands and start to answer.

        Raises:
            ConfigError: if it runs already.
        """
        if self._timer is not None:
            raise ConfigError("the server runs already; stop it before it is started again")
        self.advertise()
        self._stopping.clear()
        self._has_failed = False
        # A fault that has lasted is logged again, and one that is over meanwhile is no news.
        self._faults = FaultLog(_LOG)
        self._active_since_s = self._clock.now().s
        self.node.start()
        self._timer = threading.Thread(target=self._supervise, name="vl2 diagnostics", daemon=True)
        self._timer.start()
        # Last, so that no command comes before it can be answered.
        self._subscribe()

    def stop(self) -> bool:
        """End every command, each with an answer, and stop listening; twice is harmless.

        What comes meanwhile is answered BUSY. The outgoing topics stay open; closing the transport
        closes them. The time is bounded, whatever the perceiver does.

        Returns:
            False when the worker hangs in the perceiver, so that only the end of the process
            ends it.

        Raises:
            ConfigError: if called from a callback of the node; nothing is stopped then.
        """
        self.node.refuse_own_thread()
        timer, self._timer = self._timer, None
        self._stopping.set()
        if timer is None:
            return self.node.stop()
        # Commands last: those that the transport has already are also answered.
        is_ended = self.node.stop()
        self._drain.wait()
        self._unsubscribe()
        if self._output is not None:
            self._output.finish(STOP_S)
        # The callback of a failure may stop the server on this very thread.
        if timer is not threading.current_thread():
            timer.join(STOP_S)
        return is_ended

    def submit(
        self,
        message: Any,
        mode: Mode,
        *,
        on_event: Callable[[Event], None] | None = None,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> str:
        """Accept a VisionCommand that did not come by topic; its results go out on the topics.

        Args:
            message: the VisionCommand; one that cannot be used is answered INVALID at once.
            mode: ASK or WATCH, whatever the message says.
            on_event: called with stages, words and steps while the command runs.
            on_answer: called with every answer.

        Returns:
            The id of the command.
        """
        sender = read_sender(message)

        def read() -> Request:
            return replace(self._read_command(message, sender), mode=mode)

        return self._admit(read, sender, on_event=on_event, on_answer=on_answer)

    def cancel(self, command_id: str) -> int:
        """End a waiting or running command or a watch; all of them when the id is empty.

        Returns:
            How many were ended.

        Raises:
            InputError: if the id is empty and `allow_stop_all` is off.
        """
        if not command_id and not self.node.parameters.allow_stop_all:
            raise InputError(
                "a stop must name the id of a command or a watch: stopping all of them at once is "
                "switched off here (parameter allow_stop_all)"
            )
        return self.node.cancel(command_id)

    def make_result(self, answer: Answer) -> Any:
        """Make the VisionResult of an answer."""
        return self._result_messages.make_result(answer)

    def _subscribe(self) -> None:
        self._target_frame.open()
        self._cameras.subscribe()
        for topic, type_name, take in (
            (COMMAND_TOPIC, COMMAND_TYPE, self._take_text),
            (VISION_COMMAND_TOPIC, VISION_COMMAND_TYPE, self._take_vision_command),
            (HEARD_TOPIC, HEARD_TYPE, self._spoken.take),
        ):
            callback = partial(self._drain.take, take)
            self._subscriptions.append(
                self._transport.subscribe(topic, type_name, _COMMAND_QOS, callback)
            )

    def _unsubscribe(self) -> None:
        self._target_frame.close()
        self._cameras.close()
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()

    def _put_image(self, camera: str, image: StoredImage) -> None:
        if not self._stopping.is_set():
            self.node.put_image(camera, image)

    def _take_text(self, message: Any) -> None:
        sender = read_sender(message)
        self._admit(partial(read_text_command, message, sender), sender)

    def _take_vision_command(self, message: Any) -> None:
        if message.mode == Mode.STOP:
            self._stop_command(message)
        else:
            sender = read_sender(message)
            self._admit(partial(self._read_command, message, sender), sender)

    def _stop_command(self, message: Any) -> None:
        """End the command that a STOP names; a STOP that ends nothing is answered INVALID."""
        sender = read_sender(message)
        try:
            if not self.cancel(message.id):
                what = f"with the id {sender.id!r} " if message.id else ""
                raise InputError(
                    f"there is nothing to stop: no command {what}waits, runs or watches"
                )
        except InputError as error:
            self._refuse(replace(sender, id=refuse_id(sender.id)), error)

    def _admit(
        self,
        read: Callable[[], Request],
        sender: Sender,
        *,
        on_event: Callable[[Event], None] | None = None,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> str:
        """Submit the request of a message; one that cannot be read is answered at once.

        Returns:
            The id that its answers have.
        """
        requests: list[Request] = []
        failure = catch_failure("reading a command", lambda: requests.append(read()), self._log)
        if failure is None:
            self.node.submit(requests[0], on_event=on_event, on_answer=on_answer)
            return sender.id
        sender = self._name_refused(sender)
        self._refuse(sender, failure, on_answer)
        return sender.id

    def _refuse(
        self,
        sender: Sender,
        error: BaseException,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> None:
        """Answer an unreadable message: INVALID, or FAILED where its sender is not at fault."""
        camera = self._cameras.find_name(sender.camera) or self.node.parameters.cameras[0]
        status, message = Status.INVALID, error_text(error)
        if not isinstance(error, InputError):
            status, message = Status.FAILED, f"it cannot be read: {describe_error(error)}"
        answer = Answer(sender.id, sender.text, camera, status, message=message)
        self.node.count_answer(answer)
        self._publish(answer)
        if on_answer is not None:
            on_answer(answer)

    def _name_refused(self, sender: Sender) -> Sender:
        """Return another id for the refusal where a command has the id already."""
        return replace(sender, id=refuse_id(sender.id)) if self.node.has(sender.id) else sender

    def _read_command(self, message: Any, sender: Sender) -> Request:
        request = read_command(message, sender, self.node.parameters)
        return replace(request, camera=self._cameras.find_name(request.camera))

    def _publish(self, answer: Answer) -> None:
        # A watch that continues with failures would fill the log; diagnostics count them.
        if answer.is_final and answer.status in _REPORTED:
            self._log.log(
                logging.WARNING,
                answer.status.name,
                "command %s: %s: %s",
                make_printable(answer.request_id),
                answer.status.name,
                make_printable(answer.message),
            )
        self._spoken.note_answer(answer)
        if self._output is not None:
            self._output.publish(answer)

    def _say(self, text: str) -> None:
        if self._output is not None:
            self._output.say(text)

    def _supervise(self) -> None:
        report = guarded(self._report, "reporting diagnostics", self._log)
        look_after = guarded(self._look_after, "the supervisor", self._log)
        follow = guarded(self._cameras.update, "following the publishers of cameras", self._log)
        due_s = time.monotonic() + self.node.parameters.diagnostics_period_s
        while not self._stopping.wait(min(_LOOK_PERIOD_S, max(0.0, due_s - time.monotonic()))):
            look_after()
            follow(time.monotonic())
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + self.node.parameters.diagnostics_period_s
                report()

    def _look_after(self) -> None:
        self._log.flush()
        self._faults.note_clock(self._clock)
        self._faults.flush()
        self.node.flush_log()
        if self._output is not None:
            self._output.flush_log()
        failure = self._find_failure()
        if failure and not self._has_failed:
            self._has_failed = True
            self._on_failure(failure)
        # Last: a transport that has failed may raise.
        self._serve_hearing()

    def _serve_hearing(self) -> None:
        """Renew the words that are likely, and keep images while a hearing node is there."""
        if self._vocabulary is not None:
            watches = [watch.text for watch in self.node.list_watches()]
            self._vocabulary.update(self.node.info.names, self.node.parameters.cameras, watches)
        is_end = self.node.parameters.speech_frame == "end"
        self.node.keep_history(is_end and self._transport.count_publishers(HEARD_TOPIC) > 0)

    def _report(self) -> None:
        report = self.node.report()
        active_s = self._clock.now().s - self._active_since_s
        cameras = self._cameras.check(
            report.cameras, self.node.parameters, active_s, time.monotonic()
        )
        self._faults.note_cameras(cameras)
        if self._diagnostics is not None:
            self._diagnostics.publish(
                self._diagnostic_messages.make_array(
                    report,
                    cameras,
                    self._transport.now_ns(),
                    lost_commands=sum(one.lost_count for one in self._subscriptions),
                    frames=self._target_frame.report(),
                    clock_fault=self._clock.explain_standstill() if self._clock.is_unset else "",
                )
            )

    def _find_failure(self) -> str:
        """Return why nothing can be answered any more; empty while it works."""
        if not self.node.report().is_worker_alive and not self._stopping.is_set():
            return "the worker or its timekeeper has ended; the process must be started again"
        return self._transport.failure

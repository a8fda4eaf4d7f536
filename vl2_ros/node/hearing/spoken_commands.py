"""Do what was heard: ask, watch, stop, ask again, say again.

The hearing node publishes what it heard; the node that sees does it, as it alone knows what runs,
what it watches and what it has answered.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from vl2_ros.errors import InputError
from vl2_ros.node.guarded import catch_failure
from vl2_ros.node.hearing.camera_names import split_camera
from vl2_ros.node.hearing.heard_messages import read_action, read_time_ns
from vl2_ros.node.messages.command_messages import Sender, check_text, make_sender
from vl2_ros.node.perception import PerceptionNode
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.request import Answer, Mode, Request, Status
from vl2_ros.speech.dialogue import (
    Action,
    Ask,
    Repeat,
    SayAgain,
    StartWatch,
    StopAll,
    StopWatch,
    asks_same,
)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NodeActions:
    """What spoken commands need of the server.

    Attributes:
        admit: submits the request that a function reads, for its sender; what it raises is
            answered.
        refuse: answers a sender that its command cannot be done.
        say: publishes a text on ~/answer.
        now_ns: returns the time of the transport's clock.
    """

    admit: Callable[[Callable[[], Request], Sender], str]
    refuse: Callable[[Sender, BaseException], None]
    say: Callable[[str], None]
    now_ns: Callable[[], int]


class SpokenCommands:
    """Does what accepted utterances ask for; what cannot be done is answered INVALID.

    Args:
        node: that sees.
        actions: of its server.
    """

    def __init__(self, node: PerceptionNode, actions: NodeActions) -> None:
        self._node, self._actions = node, actions
        self._log = RepeatedLog(_LOG)
        self._ids: list[str] = []
        self._asked_id = self._asked_text = self._answered_text = ""

    def take(self, message: Any) -> None:
        """Do what a vl2_ros/Utterance asks for; called for one at a time."""
        if not message.accepted:
            return
        command_id = message.command_id or f"heard-{uuid.uuid4().hex[:8]}"
        sender = make_sender(command_id, message.command or message.text)

        def do() -> None:
            self._do(read_action(message), sender, read_time_ns(message.end))

        failure = catch_failure("doing what was heard", do, self._log)
        if failure is not None:
            self._actions.refuse(sender, failure)

    def note_answer(self, answer: Answer) -> None:
        """Keep the last answer, to be said again."""
        if answer.status is Status.OK and answer.is_final and answer.result is not None:
            self._answered_text = answer.result.text

    def _do(self, action: Action, sender: Sender, end_ns: int) -> None:
        if isinstance(action, Ask | Repeat):
            text = action.text if isinstance(action, Ask) else self._require_asked()
            self._ask(text, sender, end_ns)
        elif isinstance(action, StartWatch):
            self._watch(action.text or self._require_asked(), sender)
        elif isinstance(action, StopAll):
            self._stop_all()
        elif isinstance(action, StopWatch):
            self._stop_watches(action)
        elif isinstance(action, SayAgain):
            if not self._answered_text:
                raise InputError("nothing was answered before, so nothing can be said again")
            self._actions.say(self._answered_text)

    def _ask(self, text: str, sender: Sender, end_ns: int) -> None:
        if self._node.parameters.barge_in and self._asked_id:
            self._node.cancel(self._asked_id)
        age_s = 0.0
        if self._node.parameters.speech_frame == "end" and end_ns:
            age_s = max(0.0, (self._actions.now_ns() - end_ns) * 1e-9)
        self._submit(text, sender, image_age_s=age_s)
        self._asked_id, self._asked_text = sender.id, text

    def _watch(self, text: str, sender: Sender) -> None:
        """Start a watch, unless one by speech does the same already: people repeat themselves."""
        cameras = self._node.parameters.cameras
        question, camera = split_camera(text, cameras)
        camera = camera or cameras[0]
        for watch in self._node.list_watches():
            is_spoken = watch.id in self._ids and watch.camera == camera
            if is_spoken and asks_same(watch.text, question):
                raise InputError(
                    f"{watch.text!r} is watched already, as {watch.id}; to end it say "
                    '"stop watching"'
                )
        self._submit(text, sender, mode=Mode.WATCH)

    def _submit(self, text: str, sender: Sender, **fields: Any) -> None:
        question, camera = split_camera(text, self._node.parameters.cameras)

        def read() -> Request:
            return Request(text=check_text(question), id=sender.id, camera=camera, **fields)

        self._actions.admit(read, replace(sender, text=question, camera=camera))
        self._ids = [one for one in (*self._ids, sender.id) if self._node.has(one)]

    def _stop_all(self) -> None:
        if self._node.parameters.allow_stop_all:
            count = self._node.cancel("")
        else:
            count = sum(self._node.cancel(one) for one in self._ids)
        if not count:
            raise InputError("there is nothing to stop: no command waits, runs or watches")

    def _stop_watches(self, action: StopWatch) -> None:
        watches = self._node.list_watches()
        if not self._node.parameters.allow_stop_all:
            watches = tuple(watch for watch in watches if watch.id in self._ids)
        what, camera = split_camera(action.text, self._node.parameters.cameras)
        named = StopWatch(what)
        meant = [one for one in watches if named.is_about(one.text) and camera in ("", one.camera)]
        if not sum(self._node.cancel(watch.id) for watch in meant):
            listed = ", ".join(repr(watch.text) for watch in watches) or "none"
            about = f" of {action.text!r}" if action.text else ""
            raise InputError(f"there is no watch{about} to stop; the watches are: {listed}")

    def _require_asked(self) -> str:
        if not self._asked_text:
            raise InputError(
                'nothing was asked by speech before; say all of it, such as "find the red mug"'
            )
        return self._asked_text

"""A client that sends commands to one node and receives its results, over any transport."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from vl2_ros.clients.received_result import ReceivedResult, read_result
from vl2_ros.errors import InputError, TransportError
from vl2_ros.node.messages.command_messages import MAX_ID_CHARACTERS
from vl2_ros.node.messages.result_messages import RESULT
from vl2_ros.node.names import join_node_name, resolve_topic
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.request import Mode
from vl2_ros.node.scheduling.schedule import refuse_id
from vl2_ros.node.transport import MessageTypes, Qos, Transport
from vl2_ros.processing.printable import make_printable
from vl2_ros.structures import ImageOptions, PromptKind, VisualPrompt, WatchMode

COMMAND_TYPE = "vl2_ros/msg/VisionCommand"
OPTIONS_TYPE = "vl2_ros/msg/ImageOptions"
PROMPT_TYPE = "vl2_ros/msg/VisualPrompt"
#: How often the graph is looked at while the node is not there yet, in seconds.
_LOOK_PERIOD_S = 0.05
#: Results that wait to be received. Enough for a burst; one more pushes out the oldest, so that
#: a client that does not receive them does not fill the memory.
MOST_WAITING = 2048
#: A late client gets the last of the node's; of a burst none is lost.
_RESULT_QOS = Qos(transient_local=True, depth=4096, keep_all=True)
#: Commands of a burst that are kept until the node has them.
_COMMAND_QOS = Qos(depth=1024)
#: Characters of an error about a result that a log line shows.
_ERROR_LENGTH = 500

_log = logging.getLogger(__name__)


class PerceptionClient:
    """Sends commands to one node; receives every result of that node, of any client.

    Args:
        transport: of the asking process; its callbacks only store.
        node_name: of the node that is asked.
        namespace: of that node.
    """

    def __init__(
        self, transport: Transport, *, node_name: str = "vl2", namespace: str = ""
    ) -> None:
        self._types = transport.types
        self._make = transport.types.make
        self._transport = transport
        self.node = join_node_name(node_name, namespace)
        self._names = (node_name, namespace)
        self.result_topic = self.resolve(RESULT.name)
        command_topic = self.resolve("~/vision_command")
        self._waiting = _Waiting(self.result_topic)
        transport.subscribe(self.result_topic, RESULT.type_name, _RESULT_QOS, self._waiting.put)
        self._commands = transport.advertise(command_topic, COMMAND_TYPE, _COMMAND_QOS)

    def resolve(self, topic: str) -> str:
        """Return the absolute name of one of the node's topics, such as `~/annotated`."""
        return resolve_topic(topic, *self._names)

    def has_node(self) -> bool:
        """Return whether the node accepts commands and publishes results now."""
        takes_commands = self._commands.count_subscribers() > 0
        return takes_commands and self._transport.count_publishers(self.result_topic) > 0

    def wait_for_node(self, timeout_s: float) -> bool:
        """Wait until the node accepts commands and publishes results; False when it does not."""
        end = time.monotonic() + timeout_s
        while not self.has_node():
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK_PERIOD_S)
        return True

    def require_node(self, timeout_s: float) -> None:
        """Wait until the node accepts commands and publishes results.

        Raises:
            TransportError: if it does not come within the time.
        """
        if not self.wait_for_node(timeout_s):
            raise TransportError(
                f"no node {self.node} came within {timeout_s:g} s; start one with `vl2 serve`, or "
                "name the right one with --node-name, --namespace and --domain"
            )

    def send(
        self,
        text: str,
        *,
        command_id: str = "",
        mode: Mode = Mode.ASK,
        camera: str = "",
        rate_hz: float = 0.0,
        duration_s: float = 0.0,
        watch_mode: WatchMode | None = None,
        deadline_s: float = 0.0,
        score_threshold: float = 0.0,
        visual_prompts: Sequence[VisualPrompt] = (),
        image_options: ImageOptions | None = None,
    ) -> str:
        """Send a command; 0, empty and None leave the choice to the node.

        Args:
            text: the sentence.
            command_id: comes back in the results; empty: a new one is made.
            mode: ASK or WATCH.
            camera: one of the node's cameras; empty: the first.
            rate_hz: of a watch, the most results a second.
            duration_s: of a watch, seconds until it ends by itself.
            watch_mode: of a watch, how images after the first are answered.
            deadline_s: of an ask, seconds until the answer is worthless.
            score_threshold: instances scored below it are dropped, 0..1.
            visual_prompts: where the sentence points in the camera's image; no masks.
            image_options: how an image is generated or edited.

        Returns:
            The id.

        Raises:
            InputError: if an option is 0, which means the default in messages, the id is longer
                than a result repeats it, or a visual prompt is a mask.
        """
        if len(command_id) > MAX_ID_CHARACTERS:
            raise InputError(
                f"an id has at most {MAX_ID_CHARACTERS} characters, got {len(command_id)}"
            )
        command_id = command_id or f"ask-{uuid.uuid4().hex[:8]}"
        message = self._make(
            COMMAND_TYPE,
            id=command_id,
            mode=int(mode),
            text=text,
            camera=camera,
            rate_hz=rate_hz,
            duration_s=duration_s,
            watch_mode=int(watch_mode or 0),
            deadline_s=deadline_s,
            score_threshold=score_threshold,
            visual_prompts=[make_prompt_message(self._types, one) for one in visual_prompts],
            image_options=make_options_message(self._types, image_options or ImageOptions()),
        )
        self._commands.publish(message)
        return command_id

    def stop(self, command_id: str) -> None:
        """End a waiting or running command or a watch; all of them when the id is empty."""
        self._commands.publish(self._make(COMMAND_TYPE, id=command_id, mode=int(Mode.STOP)))

    @property
    def dropped_count(self) -> int:
        """Return how many results were dropped because they were not received in time."""
        return self._waiting.dropped_count

    def receive(self, timeout_s: float) -> ReceivedResult | None:
        """Return the next result of the node; None when there is none within the time.

        Raises:
            TransportError: if the message is of another version, or no messages are received any
                more.
        """
        message = self._take(timeout_s)
        return None if message is None else read_result(message)

    def listen(self) -> Iterator[ReceivedResult]:
        """Yield every result of the node, of any client; never ends by itself.

        Results that cannot be read, such as those of another version, are logged and skipped.

        Raises:
            TransportError: if no messages are received any more.
        """
        quiet_log = RepeatedLog(_log)
        while True:
            # With a time limit, because some systems let no Ctrl-C through while there is none.
            message = self._take(1.0)
            if message is None:
                continue
            try:
                received = read_result(message)
            except TransportError as error:
                text = make_printable(error, most=_ERROR_LENGTH)
                quiet_log.log(logging.WARNING, "unreadable", "skipped a result: %s", text)
            else:
                yield received

    def follow(self, command_id: str, timeout_s: float) -> Iterator[ReceivedResult]:
        """Yield the results of one command until its last; those of others are skipped.

        Args:
            command_id: of the command.
            timeout_s: the longest time between two of its results.

        Raises:
            TransportError: if there is none within the time, or it is of another version.
        """
        due = time.monotonic() + timeout_s
        while True:
            message = self._take(max(0.0, due - time.monotonic()))
            if message is None:
                raise TransportError(
                    f"{self.node} sent no result for command {command_id!r} within "
                    f"{timeout_s:g} s; see /diagnostics for what it is doing, or wait longer"
                )
            is_refused = message.command_id == refuse_id(command_id) and message.command_text
            if message.command_id == command_id or is_refused:
                received = read_result(message)
                yield received
                if received.is_final:
                    return
                due = time.monotonic() + timeout_s

    def _take(self, timeout_s: float) -> Any | None:
        message = self._waiting.take(timeout_s)
        if message is None and self._transport.failure:
            raise TransportError(f"{self._transport.failure}; start the command again")
        return message


class _Waiting:
    """The messages not received yet; when full, the oldest is dropped."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._messages: deque[Any] = deque(maxlen=MOST_WAITING)
        self._changed = threading.Condition()
        self._quiet_log = RepeatedLog(_log)
        self.dropped_count = 0

    def put(self, message: Any) -> None:
        with self._changed:
            is_full = len(self._messages) == self._messages.maxlen
            self.dropped_count += is_full
            self._messages.append(message)
            self._changed.notify()
        if is_full:
            self._quiet_log.log(
                logging.WARNING,
                "full",
                "%s: results come faster than they are received, %d wait; the oldest is dropped",
                self._topic,
                self._messages.maxlen,
            )

    def take(self, timeout_s: float) -> Any | None:
        with self._changed:
            has_come = self._changed.wait_for(lambda: self._messages, timeout_s)
            return self._messages.popleft() if has_come else None


def make_options_message(types: MessageTypes, options: ImageOptions) -> Any:
    """Make the vl2_ros/ImageOptions of a command.

    Raises:
        InputError: if an option is 0, which means the default in messages.
    """
    given = {name: getattr(options, name) for name in ("seed", "steps", "guidance")}
    given["image_guidance"] = options.image_guidance
    for name, value in given.items():
        if value == 0:
            raise InputError(
                f"{name} 0 cannot be sent to a node, as 0 means the node's default; give a "
                "positive number"
            )
    height, width = options.size_hw or (0, 0)
    return types.make(
        OPTIONS_TYPE,
        **{name: value for name, value in given.items() if value is not None},
        height=height,
        width=width,
        scheduler=options.scheduler,
    )


def make_prompt_message(types: MessageTypes, prompt: VisualPrompt) -> Any:
    """Make the vl2_ros/VisualPrompt of a command.

    Raises:
        InputError: if the prompt is a mask.
    """
    if prompt.kind is PromptKind.MASK:
        raise InputError("masks are not sent to a node; point at the object with a polygon")
    points = [
        types.make("vision_msgs/msg/Point2D", x=float(x), y=float(y)) for x, y in prompt.points_xy
    ]
    return types.make(PROMPT_TYPE, kind=prompt.kind.value, image=prompt.image, points=points)

"""A live view of a node: its camera, its results, and a way to send it sentences.

A client like any other: it subscribes to the camera while a page is open, receives the results of
all clients, and sends commands. The node does not know that it is there.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any

from vl2_ros.clients.client import PerceptionClient
from vl2_ros.clients.live_answers import DrawnResults, describe_answer, describe_sent
from vl2_ros.clients.live_camera import LiveCamera
from vl2_ros.clients.received_result import ReceivedResult
from vl2_ros.errors import ConfigError, TransportError
from vl2_ros.node.guarded import guarded
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.request import Mode
from vl2_ros.node.transport import Qos, Transport
from vl2_ros.views.live.audience import Audience
from vl2_ros.views.live.frame_output import FrameOutput
from vl2_ros.views.live.page_commands import PageCommand, PageMode

DIAGNOSTICS_TOPIC, DIAGNOSTICS_TYPE = "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray"
#: Most frames a second that a view draws.
MAX_RATE_HZ = 60.0
#: Time without anybody who looks after which the camera's subscription is closed, in seconds.
_IDLE_S = 5.0
#: Seconds between two checks of whether a page is open.
_LOOK_PERIOD_S = 0.02
#: How often the state is sent; and the answers of a watch, which come faster than one reads.
_STATE_PERIOD_S, _ANSWER_PERIOD_S = 0.5, 0.2
#: Time that rates are counted over, in seconds.
_RATE_SPAN_S = 2.0
#: Questions that wait for their answers, and commands whose answers were shown; of more, the view
#: does not know the first.
_MOST_ASKS, _MOST_SHOWN = 100, 100
#: How long the watches of a view have for their last result, in seconds.
_LAST_WORD_S = 2.0

_log = logging.getLogger(__name__)


class LiveView:
    """Shows a node to an audience until it is closed.

    Args:
        client: of the node.
        transport: of the client.
        audience: gets state and answers; frames go to the outputs.
        outputs: where frames go.
        camera: name of the camera as the node calls it, or its topic; empty: the node's first.
        rate_hz: most frames a second, above 0.
        image_transport: auto, raw or compressed, as of the node.

    Attributes:
        has_sent: whether a page has sent a command.

    Raises:
        ConfigError: if the rate is out of range, or the camera's name is no topic name.
    """

    def __init__(
        self,
        client: PerceptionClient,
        transport: Transport,
        audience: Audience,
        outputs: Sequence[FrameOutput],
        *,
        camera: str = "",
        rate_hz: float = 20.0,
        image_transport: str = "auto",
    ) -> None:
        if not 0.0 < rate_hz <= MAX_RATE_HZ:
            raise ConfigError(
                f"the rate of a view lies above 0 and at most {MAX_RATE_HZ:g} frames a second, "
                f"got {rate_hz}"
            )
        self._client, self._transport = client, transport
        self._audience, self._outputs = audience, tuple(outputs)
        self._period_s, self._image_transport = 1.0 / rate_hz, image_transport
        self._log = RepeatedLog(_log)
        self._changed = threading.Condition()
        self._news = 0  # images and results that have come
        self._is_closed = threading.Event()
        self._lock = threading.Lock()
        self._drawn = DrawnResults()
        self.has_sent = False
        self._watches: set[str] = set()
        # With the camera that holds images for them.
        self._asks: OrderedDict[str, LiveCamera | None] = OrderedDict()
        self._rates = {name: _Rate() for name in ("camera", "shown", "results")}
        self._newest: ReceivedResult | None = None
        self._shown_s: dict[str, float] = {}
        self._silence = ""
        self._wanted = camera
        self._camera: LiveCamera | None = None
        if camera:
            self._choose_camera(camera, camera)
        transport.subscribe(DIAGNOSTICS_TOPIC, DIAGNOSTICS_TYPE, Qos(), self._read_diagnostics)
        self._threads = [
            threading.Thread(
                target=guarded(run, f"the thread of {name}", self._log),
                name=f"vl2-view-{name}",
                daemon=True,
            )
            for name, run in (("results", self._receive_all), ("frames", self._show_all))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def failure(self) -> str:
        """Return why the view shows nothing any more; empty while it does."""
        if self._is_closed.is_set():
            return ""
        ended = [one.name for one in self._threads if not one.is_alive()]
        return self._transport.failure or (f"{ended[0]} has ended" if ended else "")

    def handle(self, command: PageCommand) -> None:
        """Send a command of a page to the node; every page sees that, and the answer.

        Raises:
            VL2Error: if it cannot be sent.
        """
        if command.mode is PageMode.STOP:
            self._client.stop(command.id)
            return
        self.has_sent = True
        command_id, camera = f"view-{uuid.uuid4().hex[:8]}", self._camera
        if command.mode is PageMode.ASK:
            mode = Mode.ASK
            self._note_ask(command_id, camera)
        else:
            mode = Mode.WATCH
            with self._lock:
                self._watches.add(command_id)
        self._audience.show_document(command_id, describe_sent(command_id, command.text))
        self._client.send(
            command.text,
            command_id=command_id,
            mode=mode,
            camera="" if camera is None else camera.name,
            visual_prompts=command.visual_prompts,
        )

    def close(self) -> None:
        """End the watches that were started here, and the view; a second call does nothing."""
        if self._is_closed.is_set():
            return
        end = time.monotonic() + _LAST_WORD_S
        for command_id in self._list_watches():
            self._client.stop(command_id)
        with self._changed:
            # Their last words; leaving before, a stop might not have been sent yet.
            self._changed.wait_for(lambda: not self._list_watches(), end - time.monotonic())
        self._is_closed.set()
        self._note_news()
        for thread in self._threads:
            thread.join()

    def _note_ask(self, command_id: str, camera: LiveCamera | None) -> None:
        if camera is not None:
            camera.hold()
        with self._lock:
            self._asks[command_id] = camera
            forgotten = None
            if len(self._asks) > _MOST_ASKS:
                _, forgotten = self._asks.popitem(last=False)
        if forgotten is not None:
            forgotten.release()

    def _list_watches(self) -> list[str]:
        with self._lock:
            return list(self._watches)

    def _choose_camera(self, name: str, topic: str) -> None:
        def note_image() -> None:
            self._rates["camera"].count()
            self._note_news()

        self._camera = LiveCamera(name, topic, self._transport, self._image_transport, note_image)

    def _note_news(self) -> None:
        with self._changed:
            self._news += 1
            self._changed.notify_all()

    # Diagnostics: they name the node's cameras, and what is wrong with them.

    def _read_diagnostics(self, message: Any) -> None:
        prefix = f"{self._client.node.lstrip('/')}: camera "
        named = {
            one.name.removeprefix(prefix): one
            for one in message.status
            if one.name.startswith(prefix)
        }
        # Those with a second word are about the depth and calibration of a camera.
        cameras = {name: one for name, one in named.items() if " " not in name}
        topics = {name: _read_topic(name, one) for name, one in cameras.items()}
        name = self._find_wanted(topics)
        if name is None:
            return
        # It may be remapped in the node, and once more on this side.
        shown, topic = self._camera, self._transport.resolve(topics[name])
        if shown is None or (shown.name, shown.topic) != (name, topic):
            self._choose_camera(name, topics[name])
        level = cameras[name].level
        level = level[0] if isinstance(level, bytes) else int(level)
        self._silence = cameras[name].message if level else ""

    def _find_wanted(self, topics: Mapping[str, str]) -> str | None:
        """Return the camera that is to be shown, of names and their topics; None: not there."""
        self._wanted = self._wanted or next(iter(topics), "")
        if self._wanted in topics:
            return self._wanted
        if not self._wanted:
            return None
        wanted = (self._wanted, self._transport.resolve(self._wanted))
        return next((name for name, topic in topics.items() if topic in wanted), None)

    # The thread of results.

    def _receive_all(self) -> None:
        due = 0.0
        take = guarded(self._take_result, "showing a result", self._log)
        while not self._is_closed.is_set():
            try:
                received = self._client.receive(_STATE_PERIOD_S / 2)
            except TransportError as error:
                if self._transport.failure:
                    raise
                self._log.log(logging.WARNING, "unreadable", "skipped a result: %s", error)
                continue
            if received is not None:
                take(received)
            if time.monotonic() >= due:
                due = time.monotonic() + _STATE_PERIOD_S
                self._audience.show_document("state", self._describe_state())

    def _take_result(self, received: ReceivedResult) -> None:
        now, camera, holding = time.monotonic(), self._camera, None
        self._rates["results"].count()
        with self._lock:
            if received.is_final:
                self._watches.discard(received.command_id)
                holding = self._asks.pop(received.command_id, None)
            if received.result.stage_ms:
                self._newest = received
            if camera and received.camera == camera.name:
                self._drawn.add(received, now)
        image = None if holding is None else holding.release(received.result.stamp_ns)
        if received.is_final or now - self._shown_s.get(received.command_id, 0) > _ANSWER_PERIOD_S:
            self._shown_s[received.command_id] = now
            self._audience.show_document(received.command_id, describe_answer(received, image))
        if received.is_final:
            del self._shown_s[received.command_id]
        elif len(self._shown_s) > _MOST_SHOWN:
            # Their nodes have ended, and never will send a last result.
            self._shown_s.clear()
        self._note_news()

    def _describe_state(self) -> dict[str, Any]:
        camera, newest = self._camera, self._newest
        if not self._client.has_node():
            summary = f"no node {self._client.node} yet; start one with vl2 serve"
        elif newest is None:
            summary = f"{self._client.node} is there"
        else:
            summary = f"{self._client.node}, model {newest.model} on {newest.engine}"
        if camera is not None:
            summary += f", camera {camera.topic}"
        stages = list(newest.result.stage_ms.items()) if newest else []
        return {
            "type": "state",
            "summary": summary,
            "waiting": self._silence or "no image yet",
            "rates": [[name, rate.per_second] for name, rate in self._rates.items()],
            "stages": [list(one) for one in stages],
        }

    # The thread of frames.

    def _show_all(self) -> None:
        show = guarded(self._show_newest, "showing a frame", self._log)
        seen, looked_s, pause_s = 0, time.monotonic(), 0.0
        camera: LiveCamera | None = None
        while not self._is_closed.wait(pause_s):
            before, camera = camera, self._camera
            if before is not None and before is not camera:
                before.close()
            began, pause_s = time.monotonic(), _LOOK_PERIOD_S
            wanting = [one for one in self._outputs if one.wants_frame]
            if camera is None:
                continue
            if not wanting:
                if began - looked_s > _IDLE_S:
                    camera.close()
                continue
            looked_s = began
            camera.open()
            newest = self._wait_for_news(seen)
            if newest != seen:
                seen = newest
                show(camera, wanting)
                pause_s = max(0.0, began + self._period_s - time.monotonic())
        if camera is not None:
            camera.close()

    def _wait_for_news(self, seen: int) -> int:
        """Return how many images and results have come, as soon as they are more than before."""
        with self._changed:
            self._changed.wait_for(lambda: self._news != seen, _LOOK_PERIOD_S)
            return self._news

    def _show_newest(self, camera: LiveCamera, outputs: Sequence[FrameOutput]) -> None:
        image = camera.newest
        if image is None:
            return
        arrived = camera.find_arrival(image.stamp_ns) or time.monotonic()
        with self._lock:
            results, age_s = self._drawn.select(arrived, camera.find_arrival)
        frame = image.decode()
        for output in outputs:
            output.show(frame, results, age_s)
        self._rates["shown"].count()


def _read_topic(camera: str, status: Any) -> str:
    """Return the topic of a camera's raw images, from its status."""
    values = {one.key: one.value for one in status.values}
    return str(values.get("topic", camera)).removesuffix("/compressed")


class _Rate:
    """Events a second over the last seconds; thread-safe."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=1000)
        self._lock = threading.Lock()

    def count(self) -> None:
        with self._lock:
            self._times.append(time.monotonic())

    @property
    def per_second(self) -> float:
        with self._lock:
            since = time.monotonic() - _RATE_SPAN_S
            while self._times and self._times[0] < since:
                self._times.popleft()
            return len(self._times) / _RATE_SPAN_S

"""The drivers that load the node during a soak, each on a thread of its own."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from soaking.accounting import Ledger, Span, WatchRecord
from soaking.children import Child, NodeChild
from soaking.commands import COMMAND, CommandMaker
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.errors import TransportError
from vl2_ros.node.request import Mode
from vl2_ros.node.transport import Qos
from vl2_ros.transports.dds.transport import DdsTransport

#: Width, height and form of a camera's lives, one after the other.
CAMERA_LIVES = (
    (640, 480, "raw"),
    (1280, 720, "compressed"),
    (320, 240, "both"),
    (1280, 720, "raw"),
)
#: Seconds until a camera that died is started again.
DEAD_S = 5.5
#: Name, camera and rate of each watch; 0 is one result for every image.
WATCHES = (("every image", "image", 0.0), ("5 Hz", "image", 5.0), ("2 Hz, side", "side", 2.0))
_SIDE_CAMERA = (320, 240, "compressed", 10.0)
_PATIENCE_S = 20.0
#: Live parameters and values, and changes that must be refused.
_CHANGES: tuple[dict[str, Any], ...] = (
    {"score_threshold": 0.2},
    {"score_threshold": 0.6},
    {"max_instances": 1},
    {"max_instances": 100},
    {"max_new_tokens": 3},
    {"max_new_tokens": 192},
    {"max_watches": 3},
    {"max_watches": 4},
    {"command_deadline_s": 1.0},
    {"command_deadline_s": 10.0},
    {"camera_timeout_s": 0.5},
    {"camera_timeout_s": 3.0},
    {"score_threshold": 7.0},
    {"queue_size": 1},
    {"cameras": ["elsewhere"]},
)


@dataclass(eq=False)
class Soak:
    """State shared by the drivers.

    Attributes:
        ledger: of commands and results; a new one when the probes are over.
        node: the node's process.
        environment: of further processes.
        seed: of every choice.
        total_s: length of the run.
        is_over: set at its end.
        counts: of what was done.
        troubles: of drivers; any one makes the run worthless.
        camera_up: when each camera sent images.
    """

    ledger: Ledger
    node: NodeChild
    environment: Mapping[str, str]
    seed: int
    total_s: float
    began_s: float = field(default_factory=time.monotonic)
    is_over: threading.Event = field(default_factory=threading.Event)
    counts: dict[str, int] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    camera_up: dict[str, list[Span]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str, number: int = 1) -> None:
        """Add to a count."""
        with self._lock:
            self.counts[what] = self.counts.get(what, 0) + number

    @property
    def is_greedy(self) -> bool:
        """Return whether clients now ask again at once: in the last third of each minute."""
        cycle_s = min(60.0, self.total_s / 2)
        return (time.monotonic() - self.began_s) % cycle_s > cycle_s * 2 / 3


class Asker:
    """A client that asks all kinds of commands, and at greedy times again and again.

    Args:
        soak: the run.
        name: begins the ids of its commands.
        transport: of the client.
    """

    def __init__(self, soak: Soak, name: str, transport: DdsTransport) -> None:
        self._soak, self._name = soak, name
        self._random = random.Random(f"{soak.seed} {name}")
        self._maker = CommandMaker(transport.types, f"{soak.seed} {name} commands")
        self._make = transport.types.make
        self._client = PerceptionClient(transport)
        self._commands = transport.advertise("/vl2/vision_command", COMMAND, Qos(depth=100))
        self._texts = transport.advertise("/vl2/command", "std_msgs/msg/String", Qos(depth=100))
        self._number = 0
        self._client.require_node(_PATIENCE_S)
        _wait_for_subscribers(self._commands, self._texts)

    def run(self) -> None:
        """Ask until the run is over."""
        while not self._soak.is_over.is_set():
            if self._soak.is_greedy:
                self._ask_and_wait()
                continue
            kinds = (self._ask, self._ask, self._ask, self._ask_and_cancel, self._ask_twice)
            self._random.choice((*kinds, self._ask_anonymously, self._stop_wrongly))()
            self._soak.is_over.wait(self._random.uniform(0.2, 1.0))
            # Results of other clients are of no use here, but must not pile up.
            while self._client.receive(0.0) is not None:
                pass

    def _make_id(self) -> str:
        self._number += 1
        return f"{self._name}-{self._number}"

    def _ask(self) -> str:
        message = self._maker.make(self._make_id())
        self._soak.ledger.expect(message.id)
        self._commands.publish(message)
        return str(message.id)

    def _ask_and_wait(self) -> None:
        command_id = self._make_id()
        self._soak.ledger.expect(command_id)
        self._client.send(self._maker.make_sentence(), command_id=command_id)
        try:
            for _ in self._client.follow(command_id, _PATIENCE_S):
                self._soak.count("greedy_answers")
        except TransportError:
            self._soak.count("greedy_without_answer")

    def _ask_and_cancel(self) -> None:
        """Stop a command that waits, runs or has been answered meanwhile."""
        command_id = self._ask()
        self._soak.is_over.wait(self._random.choice((0.0, 0.02, 0.1, 0.5)))
        self._stop(command_id)

    def _ask_twice(self) -> None:
        """Give two commands one id; the second is refused, unless the first is answered."""
        command_id = self._make_id()
        for _ in range(2):
            self._soak.ledger.expect(command_id)
            text = self._maker.make_sentence()
            self._commands.publish(self._make(COMMAND, id=command_id, text=text))

    def _ask_anonymously(self) -> None:
        # Begins with what no other sentence has, by which its result is known.
        text = f"{self._make_id()}: {self._maker.make_sentence()}"
        self._soak.ledger.expect("", text)
        if self._random.random() < 0.5:
            self._commands.publish(self._make(COMMAND, text=text))
        else:
            self._texts.publish(self._make("std_msgs/msg/String", data=text))

    def _stop_wrongly(self) -> None:
        self._stop(f"unknown-{self._make_id()}")

    def _stop(self, command_id: str) -> None:
        self._soak.count("stops")
        self._client.stop(command_id)


class Watcher:
    """A client that keeps three watches going, and now and then stops and starts them again."""

    def __init__(self, soak: Soak, transport: DdsTransport) -> None:
        self._soak = soak
        self._random = random.Random(f"{soak.seed} watches")
        self._client = PerceptionClient(transport)
        self._client.require_node(_PATIENCE_S)
        self._ids: dict[str, str] = {}
        self._number = 0

    def run(self) -> None:
        """Keep the watches until the run is over, then stop each."""
        stop_period_s = max(5.0, min(120.0, self._soak.total_s / 3))
        stop_due_s = time.monotonic() + stop_period_s
        while not self._soak.is_over.is_set():
            self._start_missing()
            if time.monotonic() > stop_due_s:
                stop_due_s += stop_period_s
                self._stop_one_or_all()
            self._drain(0.2)
        for command_id in self._ids.values():
            if not self._soak.ledger.is_answered(command_id):
                self._client.stop(command_id)

    def _start_missing(self) -> None:
        """Start each watch that has ended or was refused."""
        for name, camera, rate_hz in WATCHES:
            if name in self._ids and not self._soak.ledger.is_answered(self._ids[name]):
                continue
            self._number += 1
            self._ids[name] = f"watch-{self._number}"
            period_s = 1.0 / rate_hz if rate_hz else 0.0
            record = WatchRecord(name, camera, period_s, time.monotonic())
            self._soak.ledger.expect_watch(self._ids[name], record)
            self._client.send(
                "find every mug",
                command_id=self._ids[name],
                mode=Mode.WATCH,
                camera=camera,
                rate_hz=rate_hz,
            )

    def _stop_one_or_all(self) -> None:
        self._soak.count("stops")
        # An empty id ends the commands of all clients.
        self._client.stop(self._random.choice(("", *self._ids.values())))

    def _drain(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self._client.receive(left_s)


class Cameras:
    """A steady camera, and one that dies, and comes back with another size and form."""

    def __init__(self, soak: Soak) -> None:
        self._soak = soak
        self._processes: dict[str, Child] = {}
        self._images: dict[str, int] = {}
        self._start("side", *_SIDE_CAMERA)
        self._start("image", *CAMERA_LIVES[0], 30.0)

    def run(self) -> None:
        """Let the camera live and die until the run is over; it is left alive."""
        # All lives together last as long as memory is looked at, a tenth, where there is time.
        life_s = max(6.0, self._soak.total_s / 10 / len(CAMERA_LIVES) - DEAD_S)
        life = 0
        while not self._soak.is_over.wait(life_s):
            life += 1
            self._die(is_sudden=bool(life % 2))
            self._soak.count("camera_deaths")
            self._soak.is_over.wait(DEAD_S)
            self._start("image", *CAMERA_LIVES[life % len(CAMERA_LIVES)], 30.0)

    def close(self) -> None:
        """End both."""
        for process in self._processes.values():
            process.close()

    def _start(self, camera: str, width: int, height: int, form: str, rate_hz: float) -> None:
        arguments = ["--camera", camera, "--form", form, "--rate", str(rate_hz)]
        arguments += ["--size", str(width), str(height)]
        self._images[camera] = 0
        self._processes[camera] = Child(
            ["-m", "soaking.camera", *arguments],
            self._soak.environment,
            partial(self._receive, camera),
        )

    def _receive(self, camera: str, line: dict[str, Any]) -> None:
        spans = self._soak.camera_up.setdefault(camera, [])
        if "first" in line:
            spans.append((line["first"], float("inf")))
        else:
            self._soak.count("images", line["count"] - self._images[camera])
            self._images[camera] = line["count"]

    def _die(self, *, is_sudden: bool) -> None:
        process = self._processes["image"]
        spans = self._soak.camera_up.get("image", [])
        died_s = time.monotonic()
        if is_sudden:
            process.kill()
        process.close()
        if spans and spans[-1][1] == float("inf"):
            spans[-1] = (spans[-1][0], died_s)


def change_parameters(soak: Soak) -> None:
    """Change a live parameter every other second, at times one that cannot change."""
    chooser = random.Random(f"{soak.seed} parameters")
    while not soak.is_over.wait(2.0):
        reply = soak.node.request(set=chooser.choice(_CHANGES))
        soak.count("parameters_changed" if "changed" in reply else "parameters_refused")


def let_clients_vanish(soak: Soak) -> None:
    """Let a client ask, and kill it while its commands wait; their results are still due."""
    number = 0
    while not soak.is_over.wait(max(4.0, min(20.0, soak.total_s / 4))):
        number += 1
        ids = [f"vanished-{number}-{index}" for index in range(4)]
        # Noted before they are sent, as results may arrive before the client reports sending them.
        for command_id in ids:
            soak.ledger.expect(command_id)
        has_sent = threading.Event()
        command = ["-m", "soaking.vanishing", *ids]
        client = Child(command, soak.environment, lambda line, sent=has_sent: sent.set())
        if has_sent.wait(_PATIENCE_S):
            # Time for the commands to reach the node; too short for their answers.
            time.sleep(0.1)
            client.kill()
            soak.count("clients_vanished")
        else:
            soak.troubles.append(f"a client found no node: {client.tail()}")
        client.close()


def _wait_for_subscribers(*publishers: Any) -> None:
    end_s = time.monotonic() + _PATIENCE_S
    while not all(one.count_subscribers() for one in publishers):
        if time.monotonic() > end_s:
            raise TransportError("the node does not subscribe to its command topics")
        time.sleep(0.01)

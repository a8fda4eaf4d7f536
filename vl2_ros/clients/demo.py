"""The demo: a recorded camera, a node and a client, three processes over DDS on one machine.

The camera process repeats each recorded image until its sentence is answered, so that every
sentence is asked about its image however fast the node is.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

from vl2_ros.clients.child_process import ChildProcess
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.clients.received_images import ReceivedImages
from vl2_ros.clients.received_result import ReceivedResult
from vl2_ros.errors import TransportError
from vl2_ros.node.request import Status
from vl2_ros.recordings.bag import raise_stamps, read_images
from vl2_ros.structures import Frame

CAMERA = "/demo/camera"
#: Rate at which the camera sends its image, so that a command never waits long for one.
_CAMERA_RATE_HZ = 10.0
#: Loading a model, and answering with one that is not made for this machine, takes long.
_START_S = 300.0
_ANSWER_S = 300.0
_LOOK_PERIOD_S = 0.1
_MOST_ATTEMPTS = 5
#: DDS's port rules: each domain has 250 ports; participants of a host take two each from here on.
_FIRST_PORT, _PORTS_OF_DOMAIN, _UNICAST_PORT = 7400, 250, 10
#: ROS 2 recommends the domains up to here; the ports of higher ones belong to other programs.
_LAST_DOMAIN = 101


@dataclass(frozen=True, slots=True, eq=False)
class DemoAnswer:
    """One sentence, asked and answered.

    Attributes:
        sentence: what was asked.
        frame: the image that the node looked at; None unless it was answered.
        received: what it answered.
        seconds: from sending the command to having the result.
    """

    sentence: str
    frame: Frame | None
    received: ReceivedResult
    seconds: float


def ask_images(
    client: PerceptionClient,
    images: ReceivedImages,
    questions: Sequence[tuple[str, int]],
    *,
    step: Callable[[], None],
    check: Callable[[], None],
) -> Iterator[DemoAnswer]:
    """Ask each sentence about its image, as soon as the camera shows it.

    Args:
        client: asks.
        images: what the camera shows.
        questions: each sentence with the stamp of its image in nanoseconds.
        step: makes the camera show the next image.
        check: raises when a process of the demo has ended.

    Raises:
        TransportError: if node or camera do not come, an answer does not, or the node keeps looking
            at another image.
    """
    _wait(partial(client.wait_for_node, _LOOK_PERIOD_S), "the node did not come", check)
    for index, (sentence, stamp_ns) in enumerate(questions):
        if index:
            step()
        shows_image = partial(images.wait_for, stamp_ns, _LOOK_PERIOD_S)
        _wait(shows_image, f"image {index} of the camera did not come", check)
        received, seconds = _ask_until_seen(client, f"demo-{index}", sentence, stamp_ns, check)
        # Without an answer the stamp is zero, which may also be the stamp of an image.
        is_answered = received.status is Status.OK
        image = images.find(received.result.stamp_ns) if is_answered else None
        yield DemoAnswer(sentence, image.decode() if image else None, received, seconds)


def repeat_questions(
    client: PerceptionClient,
    sentences: Sequence[str],
    children: DemoProcesses,
    *,
    may_ask: Callable[[], bool],
    image_s: float = 5.0,
) -> None:
    """Show one image after the other, and ask the sentence of each; never ends by itself.

    Args:
        client: asks.
        sentences: of the images in turn.
        children: camera and node; the camera repeats its recording.
        may_ask: False keeps the images coming without a question.
        image_s: how long each image stays, in seconds.

    Raises:
        TransportError: if the node does not come, or a process has ended.
    """
    _wait(partial(client.wait_for_node, _LOOK_PERIOD_S), "the node did not come", children.check)
    for sentence in cycle(sentences):
        # The image comes to the node first.
        time.sleep(2 / _CAMERA_RATE_HZ)
        if may_ask():
            client.send(sentence)
        due = time.monotonic() + image_s
        while time.monotonic() < due:
            children.check()
            time.sleep(_LOOK_PERIOD_S)
        children.show_next()


class DemoProcesses:
    """The processes of the camera and the node; both end with this object.

    Args:
        bag: the recording that the camera shows.
        topic: image topic of it; None takes the only camera.
        serve_options: further options of `vl2 serve`.
        loop: after the last image comes the first.
    """

    def __init__(
        self,
        bag: Path,
        *,
        topic: str | None = None,
        serve_options: Sequence[str] = (),
        loop: bool = False,
    ) -> None:
        play = ["camera", str(bag), "--onto", CAMERA, "--step", "--rate", str(_CAMERA_RATE_HZ)]
        play += [] if topic is None else ["--topic", topic]
        play += ["--loop"] if loop else []
        serve = ["serve", "--transport", "dds", "--camera", CAMERA, "--end-with-input"]
        with contextlib.ExitStack() as stack:
            self._node = stack.enter_context(
                contextlib.closing(ChildProcess("node", [*serve, *serve_options]))
            )
            self._camera = stack.enter_context(contextlib.closing(ChildProcess("camera", play)))
            self._stack = stack.pop_all()

    def show_next(self) -> None:
        """Let the camera show the next image."""
        self._camera.send_line()

    def check(self) -> None:
        """Do nothing while both run.

        Raises:
            TransportError: with the last words of the one that has ended.
        """
        self._node.check()
        self._camera.check()

    def close(self) -> None:
        """End both, by force when one does not end by itself."""
        # Both are asked first, so that they end side by side.
        self._node.ask_to_end()
        self._stack.close()


def list_questions(
    bag: Path, sentences: Sequence[str], *, topic: str | None
) -> list[tuple[str, int]]:
    """Give each sentence the stamp of its image; sentences beyond the recording are skipped.

    Stamps rise, as those of the demo's camera do, also where the recorded ones repeat.

    Raises:
        TransportError: if the recording cannot be read.
    """
    images = read_images(bag, topic=topic)
    with contextlib.closing(images):
        # A recording with more images than sentences is not read to its end.
        return [
            (sentence, recorded.image.stamp_ns)
            for sentence, recorded in zip(sentences, raise_stamps(images), strict=False)
        ]


def find_free_domain(first: int | None = None) -> int:
    """Return a ROS domain that no process on this machine uses, judged by its ports.

    Args:
        first: the domain that is tried first; None begins at one that differs between processes.

    Raises:
        TransportError: if every domain is in use.
    """
    start = os.getpid() if first is None else first - 1
    for offset in range(_LAST_DOMAIN):
        domain = 1 + (start + offset) % _LAST_DOMAIN
        port = _FIRST_PORT + _PORTS_OF_DOMAIN * domain + _UNICAST_PORT
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
        ):
            probe.bind(("", port))
            return domain
    raise TransportError(
        f"every ROS domain from 1 to {_LAST_DOMAIN} is in use on this machine; end some DDS or ROS "
        "processes first"
    )


def _ask_until_seen(
    client: PerceptionClient,
    name: str,
    sentence: str,
    stamp_ns: int,
    check: Callable[[], None],
) -> tuple[ReceivedResult, float]:
    """Ask until the node has looked at the image of a stamp; returns the result and its seconds.

    An image may be here before it is at the node, which then looks at the one before.
    """
    for attempt in range(_MOST_ATTEMPTS):
        if attempt:
            # A fast node would be asked five times before the camera has sent its image again.
            time.sleep(1 / _CAMERA_RATE_HZ)
        began = time.perf_counter()
        client.send(sentence, command_id=f"{name}-{attempt}", deadline_s=_ANSWER_S)
        received = _receive(client, f"{name}-{attempt}", check)
        seconds = time.perf_counter() - began
        if received.status is not Status.OK or received.result.stamp_ns == stamp_ns:
            return received, seconds
    raise TransportError(
        f"the node looked at another image than the one of {name} in {_MOST_ATTEMPTS} attempts; "
        f"is another process publishing on {CAMERA}?"
    )


def _receive(
    client: PerceptionClient, command_id: str, check: Callable[[], None]
) -> ReceivedResult:
    received: list[ReceivedResult] = []

    def has_come() -> bool:
        one = client.receive(_LOOK_PERIOD_S)
        if one is not None and one.command_id == command_id:
            received.append(one)
        return bool(received)

    _wait(has_come, f"command {command_id} was not answered", check)
    return received[0]


def _wait(is_there: Callable[[], bool], otherwise: str, check: Callable[[], None]) -> None:
    """Wait for a condition that other processes fulfil, as long as they run.

    Args:
        is_there: checks it, and takes about `_LOOK_PERIOD_S` when it is not fulfilled yet.
        otherwise: the message when it is not fulfilled in time.
        check: raises when a process has ended.
    """
    end = time.monotonic() + _START_S
    while not is_there():
        check()
        if time.monotonic() > end:
            raise TransportError(f"{otherwise} within {_START_S:g} s; is DDS blocked on loopback?")

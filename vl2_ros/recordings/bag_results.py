"""Answer commands about a recorded camera and record the results on the node's topics.

Every image is answered, however long that takes; results get the time of their image, so that
viewers show them beside the recording.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vl2_ros.errors import EngineError, InputError, TransportError, VL2Error
from vl2_ros.node.annotated_output import ANNOTATED, ANNOTATED_COMPRESSED
from vl2_ros.node.hearing.heard_messages import HEARD_QOS, HEARD_TOPIC, HEARD_TYPE, make_heard
from vl2_ros.node.names import resolve_topic
from vl2_ros.node.perceiver import Perceiver
from vl2_ros.node.request import Answer, Status
from vl2_ros.node.result_output import ResultOutput
from vl2_ros.node.transport import MessageTypes, Publisher, PublisherInfo, Qos, Subscription
from vl2_ros.recordings.bag import RecordedImage, read_images
from vl2_ros.recordings.bag_speech import BagSpeech, SpokenSession, Standing
from vl2_ros.recordings.mcap_writer import RecordingWriter, require_free, write_recording
from vl2_ros.speech.dialogue import Action
from vl2_ros.structures import Command, Frame, Result, ResultEvent
from vl2_ros.transports.message_types import StoreMessageTypes


@dataclass(frozen=True, slots=True)
class BagQuestion:
    """The commands, and the images that they are about.

    Attributes:
        commands: each is asked about every image; results are distinguished by their ids.
        topic: image topic of the recording; None takes the only camera.
        rate_hz: use at most this many images of each recorded second; 0: all.
        node_name: the results' topics are `/<node_name>/result` and so on.
        annotated: also write the images with the results drawn in, as JPEG.
        speech: what was said in the recording, which is asked as well; None: it is not heard.
    """

    commands: Sequence[Command]
    topic: str | None = None
    rate_hz: float = 0.0
    node_name: str = "vl2"
    annotated: bool = True
    speech: BagSpeech | None = None

    def __post_init__(self) -> None:
        """Check what the command line does not check."""
        if not self.commands and self.speech is None:
            raise InputError('there is no command; expected one such as "find the red mug"')
        if not 0.0 <= self.rate_hz < float("inf"):
            raise InputError(f"rate_hz must be zero or a positive number, got {self.rate_hz}")


def answer_bag(
    perceiver: Perceiver,
    source: Path,
    out: Path,
    question: BagQuestion,
    *,
    overwrite: bool = False,
    on_answer: Callable[[Answer], None] = lambda answer: None,
) -> int:
    """Answer commands about a recorded camera and record the results.

    An image that cannot be used gives a result that says so; the others are answered.

    Args:
        perceiver: answers one command about one frame.
        source: rosbag2 folder, .mcap or .db3 file.
        out: the .mcap file to write; it appears when everything is in it.
        question: commands, topic and rate, and what was said.
        overwrite: replace an existing file.
        on_answer: called after each answer, for progress.

    Returns:
        The number of answers.

    Raises:
        TransportError: if the recording cannot be read or the results cannot be written.
    """
    check_output(source, out, overwrite=overwrite)
    types = StoreMessageTypes()
    with write_recording(out, types.typestore, overwrite=overwrite) as recording:
        run = _Run(perceiver, _RecordingTransport(recording, types, question), on_answer)
        images = read_images(source, topic=question.topic)
        if question.speech is None:
            for recorded in choose_images(images, question.rate_hz):
                run.answer(recorded, run.standing)
        else:
            run.hear(images, question.speech, question.rate_hz)
    return run.count


def check_output(source: Path, out: Path, *, overwrite: bool) -> None:
    """Check the output file, before a model is loaded.

    Raises:
        TransportError: if it is no MCAP, the recording itself, or a file that is there already.
    """
    if out.suffix != ".mcap":
        raise TransportError(
            f"results are written as MCAP; expected a name such as {out.stem}.mcap, got {out}"
        )
    if out.resolve() in (source.resolve(), *(path.resolve() for path in source.glob("*"))):
        raise TransportError(f"{out} is the recording itself; name another file for the results")
    require_free(out, overwrite=overwrite)


class _DueTimes:
    """Chooses images, so that at most `rate_hz` of each recorded second remain; 0 keeps all."""

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = round(1e9 / rate_hz) if rate_hz else 0
        self._due_ns: int | None = None

    def take(self, time_ns: int) -> bool:
        """Return whether the image of a time is used; called for each in order."""
        if self._due_ns is not None and time_ns < self._due_ns:
            return False
        if self._period_ns:
            # Due times lie a period apart, so that the images' own distances do not add up.
            planned = time_ns if self._due_ns is None else self._due_ns
            self._due_ns = max(planned + self._period_ns, time_ns + self._period_ns // 2)
        return True


def choose_images(images: Iterable[RecordedImage], rate_hz: float) -> Iterator[RecordedImage]:
    """Skip images, so that at most `rate_hz` of each recorded second remain; 0 keeps all."""
    due = _DueTimes(rate_hz)
    return (recorded for recorded in images if due.take(recorded.time_ns))


def _answer_image(
    perceiver: Perceiver, recorded: RecordedImage, standing: Sequence[Standing]
) -> Iterator[Answer]:
    try:
        frame = recorded.image.decode()
    except VL2Error as error:
        for one in standing:
            command = one.command
            yield Answer(
                command.id,
                command.text,
                recorded.topic,
                Status.INVALID,
                str(error),
                image=recorded.image,
            )
        return
    for one in standing:
        command = one.command
        answer = Answer(command.id, command.text, recorded.topic, Status.OK, frame=frame)
        try:
            result = _find_result(perceiver, frame, one)
        except InputError as error:
            yield replace(answer, status=Status.INVALID, message=str(error))
        except VL2Error as error:
            message = f"{type(error).__name__}: {error}"
            yield replace(answer, status=Status.FAILED, message=message)
        else:
            yield replace(answer, result=result, stage_ms=result.stage_ms)


def _find_result(perceiver: Perceiver, frame: Frame, standing: Standing) -> Result:
    for event in perceiver.run(frame, standing.command, standing.memory):
        if isinstance(event, ResultEvent):
            standing.memory = event.memory
            return event.result
    raise EngineError("the perceiver ended without a result")


class _Run:
    """Answers images one after the other and records the answers.

    Attributes:
        standing: the commands that are asked about every image.
        count: answers so far.
    """

    def __init__(
        self,
        perceiver: Perceiver,
        transport: _RecordingTransport,
        on_answer: Callable[[Answer], None],
    ) -> None:
        self._perceiver, self._transport, self._on_answer = perceiver, transport, on_answer
        self._output = ResultOutput(transport, lambda: perceiver.info)
        self.standing = [Standing(command) for command in transport.question.commands]
        self.count = 0

    def answer(
        self, recorded: RecordedImage, standing: Sequence[Standing], time_ns: int = 0
    ) -> str:
        """Ask commands about an image; answers lie at its time, unless another one is given.

        Returns:
            The text of the last answer; empty where there is none.
        """
        self._transport.time_ns = time_ns or recorded.time_ns
        text = ""
        for answer in _answer_image(self._perceiver, recorded, standing):
            self._publish(answer)
            text = answer.result.text if answer.result is not None else text
        return text

    def hear(self, images: Iterable[RecordedImage], speech: BagSpeech, rate_hz: float) -> None:
        """Ask about images, and what was said about the one that was the newest at its end."""
        session = SpokenSession(speech)
        heard = self._transport.advertise(HEARD_TOPIC, HEARD_TYPE, HEARD_QOS)
        chosen = _DueTimes(rate_hz)
        for recorded, next_ns in _with_next(images):
            if chosen.take(recorded.time_ns):
                self.answer(recorded, [*self.standing, *session.watches])
            for utterance, command_id in session.take_before(next_ns * 1e-9):
                # What was said before the first image is about that one.
                end_ns = max(recorded.time_ns, round(utterance.end_s * 1e9))
                self._transport.time_ns = end_ns
                heard.publish(make_heard(self._transport.types, utterance, command_id))
                if utterance.accepted and utterance.action is not None:
                    self._do(session, recorded, utterance.action, command_id, end_ns)

    def _do(
        self,
        session: SpokenSession,
        recorded: RecordedImage,
        action: Action,
        command_id: str,
        time_ns: int,
    ) -> None:
        asked, ended = session.do(action, command_id)
        session.answered_text = self.answer(recorded, asked, time_ns) or session.answered_text
        for one in ended:
            command = one.command
            message = "stopped by speech"
            self._publish(Answer(command.id, command.text, recorded.topic, Status.ENDED, message))
        if session.is_said_again(action):
            self._output.say(session.answered_text)

    def _publish(self, answer: Answer) -> None:
        self._output.publish(answer)
        self._on_answer(answer)
        self.count += 1


def _with_next(images: Iterable[RecordedImage]) -> Iterator[tuple[RecordedImage, float]]:
    """Yield each image with the time of the next one; infinite for the last."""
    before = None
    for recorded in images:
        if before is not None:
            yield before, recorded.time_ns
        before = recorded
    if before is not None:
        yield before, math.inf


@dataclass(slots=True, eq=False)
class _RecordingTransport:
    """Records what the node publishes; never receives anything."""

    recording: RecordingWriter
    types: MessageTypes
    question: BagQuestion
    time_ns: int = 0
    failure: str = ""
    loss_advice: str = ""

    def resolve(self, topic: str) -> str:
        return resolve_topic(topic, self.question.node_name)

    def advertise(self, topic: str, type_name: str, qos: Qos) -> Publisher:
        return _RecordingPublisher(self, self.resolve(topic), type_name, qos)

    def subscribe(
        self, topic: str, type_name: str, qos: Qos, callback: Callable[[Any], None]
    ) -> Subscription:
        raise TransportError(f"{topic}: nothing can be received from results that are written")

    def count_publishers(self, topic: str) -> int:
        return 0

    def find_publishers(self, topic: str) -> tuple[PublisherInfo, ...]:
        return ()

    def now_ns(self) -> int:
        return self.time_ns

    def find_simulated_ns(self) -> int | None:
        return None

    def close(self) -> None:
        """Do nothing: the recording is closed by the code that opened it."""


@dataclass(frozen=True, slots=True, eq=False)
class _RecordingPublisher:
    transport: _RecordingTransport
    topic: str
    type_name: str
    qos: Qos

    def publish(self, message: Any) -> None:
        now_ns = self.transport.now_ns()
        self.transport.recording.add(self.topic, self.type_name, message, now_ns, self.qos)

    def count_subscribers(self) -> int:
        unwanted = {self.transport.resolve(ANNOTATED.name)}
        if not self.transport.question.annotated:
            unwanted.add(self.transport.resolve(ANNOTATED_COMPRESSED.name))
        return int(self.topic not in unwanted)

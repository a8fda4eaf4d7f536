"""Hear an audio topic of a recording, and ask what was said about its images."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vl2_ros.errors import TransportError, VL2Error
from vl2_ros.node.hearing.audio_messages import AUDIO_TYPES, AudioTimes, read_audio
from vl2_ros.recordings.recording import CDR, RecordedTopic, Recording, open_recording
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
from vl2_ros.speech.listener import Listener, Utterance
from vl2_ros.structures import Command

_log = logging.getLogger(__name__)


def hear_recording(path: Path, topic: str, listener: Listener) -> Iterator[Utterance]:
    """Hear an audio topic from its begin to its end.

    A message that cannot be used is logged and skipped.

    Args:
        path: rosbag2 folder, .mcap or .db3 file.
        topic: of the audio.
        listener: hears it.

    Yields:
        What was said, with its times in seconds since the epoch.

    Raises:
        TransportError: if the recording cannot be read, or has no such audio.
    """
    with open_recording(path) as recording:
        times = AudioTimes()
        for time_ns, message in recording.read(_choose_topic(recording, path, topic)):
            try:
                chunk = read_audio(message)
                start_s = times.find_start_s(chunk, time_ns * 1e-9)
                yield from listener.push(replace(chunk, stamp_s=start_s))
            except VL2Error as error:
                _log.warning("%s: audio of %s is skipped: %s", path, topic, error)
        yield from listener.flush()


def _choose_topic(recording: Recording, path: Path, topic: str) -> RecordedTopic:
    candidates = [
        one
        for one in recording.topics
        if one.message_type in AUDIO_TYPES and one.encoding == CDR and one.message_count
    ]
    for one in candidates:
        if one.name == topic:
            return one
    there = ", ".join(one.name for one in candidates) or "none"
    raise TransportError(
        f"{path} has no audio on {topic!r}, expected {' or '.join(AUDIO_TYPES)}; its audio topics "
        f"are: {there}"
    )


@dataclass(frozen=True, slots=True)
class BagSpeech:
    """What was said in a recording.

    Attributes:
        heard: in the order of time.
        template: options of the spoken commands; their texts and ids are those of the speech.
    """

    heard: Sequence[Utterance]
    template: Command


@dataclass(slots=True, eq=False)
class Standing:
    """A command about every image, and what the perceiver keeps from the one before."""

    command: Command
    memory: object = None


class SpokenSession:
    """What was said, done as the node does it: asked, watched, stopped, repeated.

    Args:
        speech: what was said.

    Attributes:
        watches: those that run now.
        answered_text: the last answer; the caller keeps it.
    """

    def __init__(self, speech: BagSpeech) -> None:
        self._waiting = list(speech.heard)
        self._template = speech.template
        self._asked_text = ""
        self._count = 0
        self.watches: list[Standing] = []
        self.answered_text = ""

    def take_before(self, time_s: float) -> Iterator[tuple[Utterance, str]]:
        """Yield what was said until a time, each with the id of its command."""
        while self._waiting and self._waiting[0].end_s < time_s:
            self._count += 1
            yield self._waiting.pop(0), f"heard-{self._count}"

    def do(self, action: Action, command_id: str) -> tuple[list[Standing], list[Standing]]:
        """Do what was said.

        Returns:
            The commands to ask about the image now, and the watches that have ended.
        """
        if isinstance(action, Ask | Repeat | StartWatch):
            text = "" if isinstance(action, Repeat) else action.text
            return self._ask(text, command_id, is_watch=isinstance(action, StartWatch)), []
        ended: list[Standing] = []
        if isinstance(action, StopAll):
            ended = self.watches
        elif isinstance(action, StopWatch):
            ended = [one for one in self.watches if action.is_about(one.command.text)]
        self.watches = [one for one in self.watches if one not in ended]
        return [], ended

    def is_said_again(self, action: Action) -> bool:
        """Return whether the last answer is to be said again, and there is one."""
        return isinstance(action, SayAgain) and bool(self.answered_text)

    def _ask(self, text: str, command_id: str, *, is_watch: bool) -> list[Standing]:
        text = text or self._asked_text
        is_watched = any(asks_same(one.command.text, text) for one in self.watches)
        if not text or (is_watch and is_watched):
            return []
        asked = Standing(replace(self._template, text=text, id=command_id))
        if is_watch:
            self.watches.append(asked)
        else:
            self._asked_text = text
        return [asked]

"""`vl2 listen`: what is said in files, a stream or at a microphone, and what it would do.

Everything heavy is imported inside the command, so that `vl2 --help` answers at once.
"""

from __future__ import annotations

import re
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console import display, terminal
from vl2_ros.console.groups import Panel, group_options
from vl2_ros.console.options import AsJson
from vl2_ros.console.speech.meter import LevelMeter
from vl2_ros.console.speech.options import SpeechOptions, make_listener
from vl2_ros.console.speech.source import STREAM, open_source

if TYPE_CHECKING:
    from vl2_ros.speech.dialogue import Action
    from vl2_ros.speech.listener import Listener, Utterance

#: Seconds of speech between two looks at the words so far.
_PREVIEW_S = 1.0


@group_options
def listen(
    speech: Annotated[SpeechOptions, Panel("Speech")],
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="WAV or FLAC file, or - for a WAV stream on standard input; default: the "
            "microphone.",
            show_default=False,
        ),
    ] = "",
    microphone: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Number or a part of the name of the microphone; default: that of the system.",
            rich_help_panel="Input",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Print what is said in a file, a stream or at the microphone, and whether it is a command.

    vl2 listen question.wav

    arecord -f S16_LE -r 16000 -t wav | vl2 listen -

    vl2 listen --json --wake-phrase "hey robot"
    """
    channels = 1 if speech.channel is None else speech.channel + 1
    meter = LevelMeter()

    def report(fault: str) -> None:
        meter.clear()
        display.show_note(fault)

    with terminal.end_quietly(), closing(open_source(source, microphone, channels)) as chunks:
        # Read now, so that a wrong source is refused before the weights are loaded.
        first = next(chunks)
        listener = make_listener(speech, report)
        # A file is heard faster than it is spoken.
        preview = _Preview(listener, is_on=meter.is_shown and source in ("", STREAM))
        count = 0
        try:
            for chunk in chain([first], chunks):
                count += _show_all(listener.push(chunk), meter, as_json)
                words = preview.update(chunk.stamp_s)
                meter.show(listener.level_db, is_speech=listener.is_speech, words=words)
            count += _show_all(listener.flush(), meter, as_json)
        finally:
            meter.clear()
        if not count:
            display.show_note("no speech was found; check the level, and that it is speech")


class _Preview:
    """The words of a sentence before its end, recognised anew once a second."""

    def __init__(self, listener: Listener, *, is_on: bool) -> None:
        self._listener, self._is_on = listener, is_on
        self._words = ""
        self._due_s = 0.0

    def update(self, now_s: float) -> str:
        """Return the words so far, by the time of the stream."""
        if not self._is_on or not self._listener.is_speech:
            self._words, self._due_s = "", now_s + _PREVIEW_S
        elif now_s >= self._due_s:
            self._words, self._due_s = self._listener.preview(), now_s + _PREVIEW_S
        return self._words


def _show_all(utterances: list[Utterance], meter: LevelMeter, as_json: bool) -> int:
    """Print what was heard, and return how many sentences that were."""
    for utterance in utterances:
        meter.clear()
        if as_json:
            display.print_json(describe_utterance(utterance))
        else:
            display.print_text(format_utterance(utterance))
    return len(utterances)


def describe_utterance(utterance: Utterance) -> dict[str, object]:
    """Make the JSON document of what was heard; `action` is null for words that ask nothing."""
    action = utterance.action
    return {
        "text": utterance.text,
        "score": round(utterance.score, 4),
        "start_s": round(utterance.start_s, 3),
        "end_s": round(utterance.end_s, 3),
        "accepted": utterance.accepted,
        "reason": utterance.reason,
        "action": None if action is None else name_action(action),
        "command": getattr(action, "text", ""),
    }


def format_utterance(utterance: Utterance) -> str:
    """Write what was heard in one line: time, words, score, and what is done or why nothing."""
    outcome = f"not accepted: {utterance.reason}"
    if utterance.accepted and utterance.action is not None:
        command = getattr(utterance.action, "text", "")
        outcome = f"{name_action(utterance.action)}{': ' if command else ''}{command}"
    return (
        f"{utterance.start_s:7.2f} s  {utterance.text or '(no words)'}  ({utterance.score:.2f})  "
        f"-> {outcome}"
    )


def name_action(action: Action) -> str:
    """Return the name of an action in messages: ask, start_watch, stop_all, say_again, ..."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(action).__name__).lower()

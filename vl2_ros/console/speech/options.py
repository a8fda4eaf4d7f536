"""Options of the commands that hear, and the listener that they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2_ros.console import display
from vl2_ros.errors import InputError

if TYPE_CHECKING:
    from vl2_ros.speech.listener import Listener, Utterance


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How speech is recognised, and what is accepted."""

    speech_weights: Annotated[
        str,
        typer.Option(
            metavar="WEIGHTS",
            help="Folder of a Whisper model in the form of CTranslate2, or hub:NAME to download "
            "one; default: the installed package of weights.",
        ),
    ] = ""
    speech_threads: Annotated[int, typer.Option(min=1, help="Threads that recognise speech.")] = 2
    min_score: Annotated[
        float, typer.Option(help="A sentence that is less certain is not accepted, 0..1.")
    ] = 0.5
    wake_phrase: Annotated[
        str,
        typer.Option(
            metavar="WORDS", help='Only sentences that begin with it count, such as "hey robot".'
        ),
    ] = ""
    channel: Annotated[
        int | None,
        typer.Option(min=0, help="Channel that is heard, from 0 on; default: the mean of all."),
    ] = None
    names: Annotated[
        tuple[str, ...],
        typer.Option("--name", help="Name of a thing that is likely to be said; repeatable."),
    ] = ()


@dataclass(frozen=True, slots=True)
class AudioQuestion(SpeechOptions):
    """A spoken question in place of a sentence."""

    audio: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="WAV or FLAC file of the sentence, in place of it."),
    ] = None


def make_listener(options: SpeechOptions, report: Callable[[str], None]) -> Listener:
    """Load what hears.

    Args:
        options: how.
        report: called with each fault of the audio.

    Raises:
        ConfigError: if a value is out of its range.
        SpeechError: if the weights cannot be used.
    """
    from vl2_ros.speech.listener import Listener, ListenerConfig
    from vl2_ros.speech.segmenter import Segmenter
    from vl2_ros.speech.vocabulary import Vocabulary
    from vl2_ros.speech.whisper import load_recogniser, load_voice_detector

    config = ListenerConfig(options.min_score, options.wake_phrase, options.channel)
    with display.show_progress("loading"):
        recogniser = load_recogniser(options.speech_weights, threads=options.speech_threads)
        segmenter = Segmenter(load_voice_detector())
    listener = Listener(recogniser, segmenter, config, report)
    listener.set_vocabulary(Vocabulary(names=options.names))
    return listener


def hear_question(options: AudioQuestion, audio: Path) -> str:
    """Return the sentence that is asked in a file.

    Raises:
        InputError: if nothing is asked in it.
        SpeechError: if the file or the weights cannot be used.
    """
    from vl2_ros.speech.audio import read_audio

    # Before the weights are loaded, so that a wrong file is refused at once.
    sound = read_audio(audio)
    listener = make_listener(options, display.show_note)
    heard = listener.push(sound) + listener.flush()
    for utterance in heard:
        sentence = find_sentence(utterance)
        if sentence:
            display.show_note(f"heard: {utterance.text} (score {utterance.score:.2f})")
            return sentence
    if not heard:
        raise InputError(f"no speech was found in {audio}; check its level, and that it is speech")
    listed = "; ".join(
        f"{one.text!r}: {one.reason or 'it asks nothing about an image'}" for one in heard
    )
    raise InputError(
        f"no question was understood in {audio}: {listed}; say a command such as "
        '"find the red mug", or lower --min-score'
    )


def find_sentence(utterance: Utterance) -> str:
    """Return what is asked about an image; "" for what was not accepted or is no question."""
    from vl2_ros.speech.dialogue import Ask, StartWatch

    action = utterance.action
    return action.text if utterance.accepted and isinstance(action, Ask | StartWatch) else ""

"""The spoken questions of the demo: asked by ear where hearing is installed, else in writing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vl2_ros.errors import SpeechError
from vl2_ros.speech.audio import read_audio
from vl2_ros.speech.dialogue import Ask
from vl2_ros.speech.listener import Listener, Utterance
from vl2_ros.speech.segmenter import Segmenter
from vl2_ros.speech.vocabulary import Vocabulary
from vl2_ros.speech.whisper import load_recogniser, load_voice_detector


@dataclass(frozen=True, slots=True)
class HeardQuestions:
    """The questions of the demo after its spoken ones were heard.

    Attributes:
        sentences: to ask, in the order of the written ones.
        notes: what was heard, or why nothing was, one sentence each.
    """

    sentences: tuple[str, ...]
    notes: tuple[str, ...]


def hear_questions(sentences: Sequence[str], folder: Path) -> HeardQuestions:
    """Hear the questions that are spoken in a folder, and ask those in the words that were heard.

    Args:
        sentences: the written ones.
        folder: has `where-is-the-mug.flac` for "where is the mug?".
    """
    clips = {one: clip for one in sentences if (clip := folder / _name_clip(one)).is_file()}
    if not clips:
        return HeardQuestions(tuple(sentences), ())
    try:
        recogniser, detector = load_recogniser(), load_voice_detector()
        listener = Listener(recogniser, Segmenter(detector))
        listener.set_vocabulary(Vocabulary())
        heard = {one: _hear(listener, clip) for one, clip in clips.items()}
    except (ModuleNotFoundError, SpeechError) as error:
        note = (
            f"{len(clips)} of the questions would be asked by ear with vl2_ros[speech] and its "
            f"weights; docs/speech.md says how to install them ({error})"
        )
        return HeardQuestions(tuple(sentences), (note,))
    asked = (heard[one][0] or one if one in heard else one for one in sentences)
    return HeardQuestions(tuple(asked), tuple(note for _, note in heard.values()))


def _hear(listener: Listener, clip: Path) -> tuple[str, str]:
    """Return the command in a clip, "" for none, and what was heard, in a sentence."""
    utterances = listener.push(read_audio(clip)) + listener.flush()
    commands = [
        one.action.text for one in utterances if one.accepted and isinstance(one.action, Ask)
    ]
    note = "; ".join(map(_describe, utterances)) or "nothing was heard"
    return commands[0] if commands else "", f"by ear, {clip.name}: {note}"


def _describe(utterance: Utterance) -> str:
    refused = "" if utterance.accepted else f", not asked: {utterance.reason}"
    return f'"{utterance.text}" (score {utterance.score:.2f}{refused})'


def _name_clip(sentence: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", sentence.lower()).strip("-") + ".flac"

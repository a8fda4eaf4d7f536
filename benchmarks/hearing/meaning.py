"""What a sentence asks the robot to do, in a form in which two of the same meaning are equal."""

from __future__ import annotations

import re

from vl2_ros.errors import InputError
from vl2_ros.processing.language.parse import Task, understand
from vl2_ros.speech.dialogue import Action, Ask, StartWatch, StopWatch, read_sentence
from vl2_ros.speech.vocabulary import Vocabulary


def plain(sentence: str) -> str:
    """Return the words of a sentence, without case and marks."""
    return " ".join(re.findall(r"[a-z0-9']+", sentence.lower()))


def mean(action: Action | None) -> object:
    """Return what an action asks for; None: nothing."""
    if isinstance(action, Ask):
        return _parse(action.text)
    if isinstance(action, StartWatch):
        return "watch", _parse(action.text)
    if isinstance(action, StopWatch):
        return "stop", plain(action.text)
    return action


def mean_written(sentence: str, vocabulary: Vocabulary) -> object:
    """Return what a written sentence asks for; None: nothing."""
    return mean(read_sentence(sentence, vocabulary).action)


def _parse(text: str) -> object:
    try:
        asked = understand(text)
    except InputError:
        return plain(text)
    if asked.task in (Task.TALK, Task.REASON):
        return asked.task, plain(text)
    names = tuple(name.lower() for name in asked.names)
    return asked.task, names, asked.keypoints, asked.image_prompt.lower()

"""What a heard sentence asks of the robot: a question, a watch, an end, a repetition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from vl2_ros.speech.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Ask:
    """A sentence for the model: "find the red mug"."""

    text: str


@dataclass(frozen=True, slots=True)
class StartWatch:
    """A sentence to ask of every image: "keep watching the mugs".

    Attributes:
        text: the sentence in the words of an ask, "find the mugs"; "": the last one that was asked.
    """

    text: str


@dataclass(frozen=True, slots=True)
class StopAll:
    """End everything that waits, runs or watches: "stop"."""


@dataclass(frozen=True, slots=True)
class StopWatch:
    """End watches: "stop watching the mugs".

    Attributes:
        text: what is watched, "mugs"; "": all watches. `is_about` finds the watches that it means.
    """

    text: str

    def is_about(self, watch: str) -> bool:
        """Return whether the watch with this sentence is meant."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Repeat:
    """Ask the last sentence again: "again"."""


@dataclass(frozen=True, slots=True)
class SayAgain:
    """Say the last answer again: "what did you say"."""


Action: TypeAlias = Ask | StartWatch | StopAll | StopWatch | Repeat | SayAgain


@dataclass(frozen=True, slots=True)
class Reading:
    """What a sentence was taken for.

    Attributes:
        action: None: nothing that the robot can do.
        reason: why there is no action; "" with one.
        certainty: how much the words look like a command, in 0..1.
    """

    action: Action | None
    reason: str
    certainty: float


def read_sentence(text: str, vocabulary: Vocabulary, wake_phrase: str = "") -> Reading:
    """Parse a heard sentence; asks go through the command parser of the project.

    Args:
        text: as it was heard.
        vocabulary: names that make a question one about the image.
        wake_phrase: "hey robot": only sentences that begin with it are for the robot; "": all are.
    """
    raise NotImplementedError

"""The words that are likely now: names of classes, commands, cameras and running watches."""

from __future__ import annotations

from dataclasses import dataclass

#: Verbs that begin a command, the most frequent first.
VERBS = ("find", "segment", "where is", "count", "how many", "point at", "watch", "stop")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What is likely to be said.

    Attributes:
        names: classes that the model knows, the likeliest first.
        verbs: of commands.
        cameras: names of the cameras.
        watches: sentences of the running watches.
    """

    names: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    cameras: tuple[str, ...] = ()
    watches: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """Return sentences of the kind that is expected, short enough for Whisper."""
        raise NotImplementedError

    @property
    def hot_words(self) -> tuple[str, ...]:
        """Return the names that are likely, the likeliest first, each once."""
        raise NotImplementedError

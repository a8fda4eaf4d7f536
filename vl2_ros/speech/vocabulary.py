"""The words that are likely now: names of classes, commands, cameras and running watches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

from vl2_ros.processing.language.words import plural, singular

#: Verbs that begin a command, the most frequent first.
VERBS = (
    "find",
    "segment",
    "where is",
    "how many",
    "locate",
    "point at",
    "count",
    "outline",
    "show me",
    "detect",
    "keep watching",
    "look for",
    "stop watching",
    "where are",
    "mask",
    "is there",
)
#: Said in the prompt where no names are known.
EVERYDAY_NAMES = ("mug", "person", "chair", "box", "door", "bottle", "car", "book")
#: Whisper reads some 200 tokens of four characters, hot words included.
MAX_PROMPT_CHARACTERS = 480
MAX_HOT_WORDS = 24
#: Verbs before which the things are several, and how a sentence with another order goes on.
_OF_SEVERAL = frozenset({"how many", "where are", "count"})
_FORMS = {"how many": "{verb} {name} are there", "is there": "{verb} a {name} on the table"}
_QUESTION = re.compile(r"(?:where|how|is|are|what|which|who)\b", re.IGNORECASE)
_LAST = "Stop. Again. What did you say?"


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
        sentences, length = [], len(_LAST)
        for sentence in self._list_sentences():
            length += len(sentence) + 1
            if length > MAX_PROMPT_CHARACTERS:
                break
            sentences.append(sentence)
        return " ".join([*sentences, _LAST])

    @property
    def hot_words(self) -> tuple[str, ...]:
        """Return the names that are likely, those of cameras first, each once."""
        return tuple(dict.fromkeys((*self.cameras, *self.names)))[:MAX_HOT_WORDS]

    def knows(self, sentence: str) -> bool:
        """Return whether a sentence has one of the names, or a word of a running watch."""
        said = list_words(sentence)
        names = (*self.names, *self.cameras)
        return any(list_words(name) <= said for name in names if name) or any(
            len(said & list_words(watch)) > 1 for watch in self.watches
        )

    def _list_sentences(self) -> Iterator[str]:
        for watch in self.watches:
            yield _write(watch)
        if self.cameras:
            yield _write(f"find it with the {' or the '.join(self.cameras)} camera")
        names = cycle(self.names or EVERYDAY_NAMES)
        for verb in self.verbs:
            name = plural(next(names)) if verb in _OF_SEVERAL else next(names)
            yield _write(_FORMS.get(verb, "{verb} the {name}").format(verb=verb, name=name))


def list_words(text: str) -> frozenset[str]:
    """Return the words of a text in lower case and in the singular."""
    return frozenset(singular(word) for word in re.findall(r"[\w'-]+", text.lower()))


def _write(sentence: str) -> str:
    """Write a sentence with a capital and its mark at the end."""
    words = sentence.strip().rstrip(".?!")
    return f"{words[:1].upper()}{words[1:]}{'?' if _QUESTION.match(words) else '.'}"

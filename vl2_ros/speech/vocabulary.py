"""The words that are likely now: names of classes, commands, cameras and running watches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

from vl2_ros.errors import InputError
from vl2_ros.processing.language.parse import understand
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
    "highlight",
    "search for",
)
#: Said in the prompt where no names are known.
EVERYDAY_NAMES = ("mug", "person", "chair", "box", "door", "bottle", "car", "book")
#: Whisper reads some 200 tokens of four characters, hot words included.
MAX_PROMPT_CHARACTERS = 560
MAX_HOT_WORDS = 24
#: Verbs before which the things are several, and how a sentence with another order goes on.
_OF_SEVERAL = frozenset({"how many", "where are", "count"})
_FORMS = {"how many": "{verb} {name} are there", "is there": "{verb} a {name} on the table"}
#: Verbs before which two things are joined; where no "and" was read before, it is heard as "in".
_OF_TWO = frozenset({"find", "segment", "outline", "keep watching"})
_QUESTION = re.compile(r"(?:where|how|is|are|what|which|who)\b", re.IGNORECASE)
#: Of watches, and of cameras: the verbs must have room as well.
_MOST_SENTENCES = 3
_LONGEST_WATCH = 80
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
            # A long one takes no room from those after it.
            if length + len(sentence) < MAX_PROMPT_CHARACTERS:
                length += len(sentence) + 1
                sentences.append(sentence)
        return " ".join([*sentences, _LAST])

    @property
    def hot_words(self) -> tuple[str, ...]:
        """Return the names that are likely, those of cameras first, each once."""
        return tuple(dict.fromkeys((*self.cameras, *self.names)))[:MAX_HOT_WORDS]

    def knows(self, sentence: str) -> bool:
        """Return whether a sentence has one of the names, or one of a running watch."""
        said = list_words(sentence)
        watched = (name for watch in self.watches for name in list_things(watch))
        return any(list_words(name) <= said for name in (*self.names, *watched) if name)

    def _list_sentences(self) -> Iterator[str]:
        names = cycle(self.names or EVERYDAY_NAMES)
        watches = [watch for watch in self.watches if len(watch) <= _LONGEST_WATCH]
        for watch in watches[:_MOST_SENTENCES]:
            yield _write(watch)
        for camera in self.cameras[:_MOST_SENTENCES]:
            yield _write(f"find the {next(names)} in the {camera} camera")
        for verb in self.verbs:
            name = plural(next(names)) if verb in _OF_SEVERAL else next(names)
            if verb in _OF_TWO and (other := next(names)) != name:
                name = f"{name} and the {other}"
            yield _write(_FORMS.get(verb, "{verb} the {name}").format(verb=verb, name=name))


def list_words(text: str) -> frozenset[str]:
    """Return the words of a text in lower case and in the singular."""
    # "glasses" alone are worn; here each word may stand behind others.
    words = re.findall(r"[\w'-]+", text.lower())
    return frozenset(singular(f"a {word}").removeprefix("a ") for word in words)


def list_things(sentence: str) -> tuple[str, ...]:
    """Return the names in a command, in the singular; none where it does not parse."""
    try:
        return understand(sentence).names
    except InputError:
        return ()


def _write(sentence: str) -> str:
    """Write a sentence with a capital and its mark at the end."""
    words = sentence.strip().rstrip(".?!")
    return f"{words[:1].upper()}{words[1:]}{'?' if _QUESTION.match(words) else '.'}"

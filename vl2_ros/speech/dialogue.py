"""What a heard sentence asks of the robot: a question, a watch, an end, a repetition.

Asks are what the project's command parser knows, and questions about what the camera sees.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from vl2_ros.errors import InputError
from vl2_ros.processing.language.parse import Task, names_nothing, plain_words, understand
from vl2_ros.processing.language.words import split_names
from vl2_ros.speech.vocabulary import Vocabulary, list_things, list_words


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
        text: what is watched, "the mugs"; "": all watches.
    """

    text: str

    def is_about(self, watch: str) -> bool:
        """Return whether the watch with this sentence is meant: it names one of the things."""
        watched = [list_words(thing) for thing in list_things(watch) or (watch,)]
        named = [list_words(name) for name in split_names(self.text)]
        return not named or any(words <= thing for words in named for thing in watched)


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
        certainty: how much the words look like a command, in 0..1; 0 without an action.
    """

    action: Action | None
    reason: str
    certainty: float


#: Certainty of commands, and of questions, which people ask each other as well; with and without
#: a name that the model knows.
_COMMAND, _COMMAND_OF_UNKNOWN = 1.0, 0.9
_QUESTION, _QUESTION_OF_UNKNOWN = 0.9, 0.75
#: Of other sentences about a known name.
_FREE_WORDS = 0.75

_WATCHING = r"(?:watching|tracking|following|monitoring|observing)"
_STOP_ALL = re.compile(
    r"(?:stop|halt|cancel|abort|never ?mind|forget it)"
    r"(?: (?:it|that|this|everything|all|all of (?:it|that)|the (?:task|search)|there))?"
    r"|stop,? stop",
    re.IGNORECASE,
)
_STOP_WATCH = re.compile(
    rf"(?:stop|quit|end|finish|cease)(?: (?:{_WATCHING}|looking (?:out )?(?:for|at)|the watch"
    r"|watch))(?: (?:of|for|on|over))?(?: (?P<what>.+))?",
    re.IGNORECASE,
)
_REPEAT = re.compile(
    r"again|once (?:more|again)|one more time|another time|same again"
    r"|(?:do|try|ask|run|check|look)(?: (?:it|that))? (?:again|once more|one more time)"
    r"|repeat(?: (?:it|that|the (?:last )?(?:command|question|search)))?",
    re.IGNORECASE,
)
#: Courtesy is stripped before the rest is read, and this is nothing but courtesy.
_GREETING = re.compile(r"\W*(?:hi|hey|hello)(?: there)?,? again\W*", re.IGNORECASE)
_SAY_AGAIN = re.compile(
    r"what did you (?:just )?say|what was that|say (?:it|that)(?: again| once more)|come again"
    r"|(?:i beg your )?pardon(?: me)?|repeat (?:the|your) (?:last )?answer"
    r"|repeat what you(?: just)? said|what was (?:the|your) (?:last )?answer"
    r"|i (?:did not|didn't|could not|couldn't) (?:hear|catch|get|understand) (?:it|that|you)",
    re.IGNORECASE,
)
_START_WATCH = re.compile(
    rf"(?:keep|start|continue|go on|begin)(?: on)? (?:{_WATCHING}|looking (?:out )?(?:for|at))"
    r"(?: (?P<kept>.+))?"
    r"|(?:keep (?:an eye|watch) (?:on|over|for)|watch(?: out for| for| over)?|track(?! down)"
    r"|follow|monitor|observe) (?P<what>.+)",
    re.IGNORECASE,
)
#: "keep segmenting the cups", "stop counting people": the verb of the ask is in it.
_KEEP_ASKING = r"(?:keep|start|continue|go on)(?: on)?"
_STOP_ASKING = r"(?:stop|quit|end|finish|cease)"
#: Tasks that are asked of image after image.
_WATCHED = (Task.DETECT, Task.OUTLINE, Task.LABEL, Task.GROUND, Task.COUNT, Task.POSE)
_FOR = re.compile(r"^(?:for|of|over|on|at) ", re.IGNORECASE)
#: Recognisers write "okay robot" as "OK, robot".
_OKAY = r"(?:okay|ok|o\W?k\b)"
#: What people ask each other, whatever the words look like.
_NO_THING = re.compile(
    r"\b(?:times?|days?|weeks?|months?|years?|hours?|minutes|seconds|ways?|reasons?|ideas?|jobs?"
    r"|movies?|news|weather|meetings?|fun|luck|sense|trouble|tonight|tomorrow|yesterday|today)\b",
    re.IGNORECASE,
)
#: Begin what is asked of people: "get out of here".
_NO_NAMES = frozenset(("out", "away", "off", "lost", "here", "going"))
#: Questions about what the camera sees.
_SIGHT = re.compile(
    r"(?:describe (?:the |this |what )?.+"
    r"|what (?:do|can|else do|else can) (?:you|we) see\b.*"
    r"|what(?:'s| is| are) (?:this|that|these|those|it|there|here)"
    r"|what(?:'s| is| are) (?:on|in|in front of|under|behind|next to|beside|near|inside|left of"
    r"|right of|above|below|between|to the (?:left|right) of) .+"
    r"|(?:what|which) (?:colou?r|shape|kind|size|type|brand|material)s? .+"
    r"|(?:is|are) (?:there|the|this|that|these|those|any|anything|anybody|anyone|someone|somebody"
    r"|a|an) .+"
    r"|(?:do|can) you see .+"
    r"|who(?:'s| is) (?:on|in|at|there|behind|next to|near|that|this)\b.*"
    r"|(?:which|whose) .+)",
    re.IGNORECASE,
)
#: Begin a question, which must then be about a known name.
_ASKING = re.compile(
    r"(?:what|where|which|who|whose|how|is|are|was|were|do|does|did|have|has|haven't|isn't|aren't"
    r"|tell me|let me (?:know|see)|i(?:'d| would)? (?:want|need|like) to know|describe|name|list"
    r"|say)\b",
    re.IGNORECASE,
)


def asks_same(one: str, other: str) -> bool:
    """Return whether two sentences have the same words, courtesy apart."""
    return plain_words(one).lower() == plain_words(other).lower()


def is_call(text: str, wake_phrase: str) -> bool:
    """Return whether a sentence is the wake phrase alone."""
    return bool(wake_phrase) and _strip_wake_phrase(text, wake_phrase) == ""


def read_sentence(
    text: str, vocabulary: Vocabulary, wake_phrase: str = "", *, is_called: bool = False
) -> Reading:
    """Parse a heard sentence; asks go through the command parser of the project.

    Args:
        text: as it was heard.
        vocabulary: names that make a question one about the image.
        wake_phrase: "hey robot": only sentences that begin with it are for the robot; "": all are.
        is_called: the wake phrase was said before, alone.

    Returns:
        what it was taken for; a question in free words only where it names a known thing.

    Example:
        >>> read_sentence("Please keep watching the mugs.", Vocabulary()).action
        StartWatch(text='find the mugs')
        >>> read_sentence("The meeting was moved.", Vocabulary()).action is None
        True
    """
    if not text.strip():
        return _refuse("no words were heard")
    sentence = _strip_wake_phrase(text, wake_phrase)
    if sentence is None and is_called:
        sentence = text.strip()
    if sentence is None:
        return _refuse(f"it does not begin with {wake_phrase!r}")
    words = plain_words(sentence)
    if not words or _GREETING.fullmatch(sentence):
        return _refuse("it asks for nothing")
    action = _read_dialogue(words)
    if action is not None:
        return Reading(action, "", _COMMAND)
    asked = _read_watch(words)
    if asked is not None:
        reading = _read_ask(asked, vocabulary, False) if asked else Reading(Ask(""), "", _COMMAND)
        return reading if reading.action is None else _watch(reading)
    return _read_ask(sentence, vocabulary, is_addressed=bool(wake_phrase))


def _watch(reading: Reading) -> Reading:
    assert isinstance(reading.action, Ask)
    return Reading(StartWatch(reading.action.text), "", reading.certainty)


def _refuse(reason: str) -> Reading:
    return Reading(None, reason, 0.0)


def _strip_wake_phrase(text: str, wake_phrase: str) -> str | None:
    """Return the sentence after the wake phrase; None where it does not begin with it."""
    words = re.findall(r"[\w']+", wake_phrase)
    if not words:
        return text.strip()
    phrase = r"\W+".join(
        _OKAY if re.fullmatch(_OKAY, one, re.I) else re.escape(one) for one in words
    )
    found = re.match(rf"\W*{phrase}\b\W*", text, re.IGNORECASE)
    return None if found is None else text[found.end() :].strip()


def _read_dialogue(words: str) -> Action | None:
    if _STOP_ALL.fullmatch(words):
        return StopAll()
    if _REPEAT.fullmatch(words):
        return Repeat()
    if _SAY_AGAIN.fullmatch(words):
        return SayAgain()
    found = _STOP_WATCH.fullmatch(words)
    if found is not None:
        what = found["what"] or ""
        return StopWatch("" if names_nothing(what) else what)
    asked = _read_verb(_STOP_ASKING, words)
    return None if asked is None else StopWatch(asked[1])


def _read_watch(words: str) -> str | None:
    """Return the sentence that is asked of every image, "" for the last one; None: no watch."""
    found = _START_WATCH.fullmatch(words)
    if found is not None:
        what = _FOR.sub("", found["what"] or found["kept"] or "")
        return "" if names_nothing(what) else f"find {what}"
    asked = _read_verb(_KEEP_ASKING, words)
    return None if asked is None else " ".join(asked)


def _read_verb(before: str, words: str) -> tuple[str, str] | None:
    """Return verb and things of "... segmenting the cups"; None where that is no task."""
    found = re.fullmatch(rf"{before} (?P<verb>[a-z]+)ing (?P<what>.+)", words, re.IGNORECASE)
    if found is None:
        return None
    # "segmenting", "locating", "spotting": the first that the parser knows.
    stem, what = found["verb"], found["what"]
    verbs = (stem, f"{stem}e", stem[:-1])
    return next(((one, what) for one in verbs if _parse(f"{one} {what}") in _WATCHED), None)


def _read_ask(sentence: str, vocabulary: Vocabulary, is_addressed: bool) -> Reading:
    """Read a command or a question; one who says the wake phrase may ask in any words."""
    try:
        asked = understand(sentence)
    except InputError as error:
        return _refuse(str(error))
    is_known = vocabulary.knows(sentence)
    begins = {name.lower().partition(" ")[0] for name in asked.names}
    if not is_known and (_NO_THING.search(sentence) or begins & _NO_NAMES):
        return _refuse("it names nothing that can be seen")
    if asked.task is not Task.TALK:
        return Reading(Ask(sentence), "", _COMMAND if is_known else _COMMAND_OF_UNKNOWN)
    words = plain_words(sentence)
    if _SIGHT.fullmatch(words):
        return Reading(Ask(sentence), "", _QUESTION if is_known else _QUESTION_OF_UNKNOWN)
    if is_known and (is_addressed or _ASKING.match(words)):
        return Reading(Ask(sentence), "", _FREE_WORDS)
    return _refuse("it is no command and no question about what is seen")


def _parse(sentence: str) -> Task | None:
    try:
        return understand(sentence).task
    except InputError:
        return None

"""Parse a user's sentence: the kind of task and the names in it.

Patterns of English, tried in the order of one table. A sentence that none matches is TALK, which
goes to the language model as it is. The parsed task only selects the prompt template, never the
decoder: that is the emitted routing token's part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from vl2_ros.errors import InputError
from vl2_ros.processing.language.generation_sentence import (
    read_draw_request,
    read_edit,
    read_generation,
)
from vl2_ros.processing.language.keypoint_names import (
    expand_keypoints,
    keypoints_of,
    match_keypoints,
)
from vl2_ros.processing.language.words import is_plural, split_names, strip_determiner


class Task(Enum):
    """Kinds of tasks; the value describes the expected answer."""

    DETECT = "boxes of named things"
    OUTLINE = "masks of named things"
    LABEL = "the class of every pixel"
    GROUND = "one thing that is described"
    REASON = "one thing that has to be thought of"
    COUNT = "how many things there are"
    POSE = "keypoints of named things"
    GENERATE = "a new image"
    EDIT = "the image with a change"
    TALK = "words"


@dataclass(frozen=True, slots=True)
class Asked:
    """The parsed task of a sentence.

    Attributes:
        task: the kind.
        names: the things, in the order of the sentence; one expression for GROUND.
        keypoints: names of keypoints in the words of training, for POSE.
        image_prompt: caption or instruction, for GENERATE and EDIT.
    """

    task: Task
    names: tuple[str, ...] = ()
    keypoints: tuple[str, ...] = ()
    image_prompt: str = ""


_POLITE = re.compile(
    r"^(?:please|kindly|hey|hello|hi|ok|okay|robot|now|(?:can|could|would|will) (?:you|we|i)"
    r"|i(?: want|'d like| would like| need)(?: you)? to|help me(?: to)?|try to|go and|let us|let's)"
    r"(?:[\s,!:]+|$)",
    re.IGNORECASE,
)
#: Stripped apart from the words at the end: as part of the pattern they would cost its square.
_MARKS = " .?!,;:"
#: Fill words inside of a request.
_FILL = re.compile(
    r"\b(?:please|pls|plz|thx|exactly|only|just|kindly|for (?:me|us)|(?:all )?instances of)\b"
    r"[,!]?\s+|(?<=\bfind )(?:me|us)\s+|(?<=\bsegment )(?:me|us)\s+",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"(?:^|[\s,])(?:please|pls|plz|thanks|thx|thank you|for (?:me|us)|(?:right )?now"
    # only when it is spoken to: "a robot" may be what is wanted
    r"|(?:(?<=,)|(?<=, )|(?<=please )|(?<=thanks )|(?<=you )|(?<=now ))robot"
    r"|(?:that )?you can (?:see|find)|(?:that )?(?:are|is) (?:visible|there|here)"
    r"|(?:in|on|from|of) (?:the|this) (?:picture|image|photo|scene|view|frame)"
    r"|at once|located|visible|if you can)$",
    re.IGNORECASE,
)
_SEARCH = (
    r"(?:find|detect|locate|spot|(?:look|search|hunt|scan|check) for|identify|track down"
    r"|show(?: me)?|give me|get|mark|box|(?:draw|put) (?:a )?(?:bounding )?box(?:es)? (?:around|on)"
    r"|(?:give|get|show)(?: me)?(?: the)? (?:bounding )?box(?:es)? (?:of|for|around))"
)
_MASK = (
    r"(?:segment(?: out)?|mask(?: out)?|outline|cut out|highlight|delineate|trace"
    r"|(?:make|create|draw|give me|get|show(?: me)?|compute|generate)(?: an?| the)?"
    r" (?:masks?|outlines?|silhouettes?|contours?|segmentations?|pixels) (?:of|for|over|around))"
)
_JOINTS = r"(?:keypoints?|key points?|joints?|landmarks?|body parts?)"
_WHOLE = rf"(?:body )?(?P<kind>poses?|skeletons?|{_JOINTS})"
_ASKING = (
    r"(?:(?:find|detect|locate|estimate|predict|show(?: me)?|give me|get|draw|track|mark|tell me"
    r"|point (?:out|at|to)|segment|where (?:are|is)|what (?:are|is)) )?"
)
_FIRST = r"(?:all |the |every |each |both |all of )*"
#: What turns a name into a description of one thing.
_RELATION = re.compile(
    r"\b(?:left|right|next|behind|under|below|above|beside|between|near|front|closest|nearest"
    r"|farthest|biggest|largest|smallest|tallest|first|second|third|last|middle|that|which|who"
    r"|whose|with|wearing|holding|standing|sitting|lying|on|in|at|from)\b",
    re.IGNORECASE,
)
_THOUGHT = re.compile(
    r"\b(?:thing|something|object|item|part|area|place|what|which \w+|one)\b.*"
    r"\b(?:can|could|would|should|might|used|use|helps?|allows?|needs?|makes?|keeps?)\b",
    re.IGNORECASE,
)
#: Words that are in no name: a list of names with one of them was no list of names.
_NO_NAME = re.compile(
    r"\b(?:i|me|my|we|us|you|it|them|that|which|who|where|what|whatever|everything|anything|is|are|was"
    r"|were|be|do|does|did|then|first|if|but|not|else|find|detect|locate|segment|mask|outline|show"
    r"|point|count|tell|give|look|please|description|caption|summary|name|names|picture|image|photo)\b",
    re.IGNORECASE,
)
_MOST_WORDS = 6
_KEPT_SENTENCES = 64
#: What follows a description and belongs to another sentence.
_SECOND_REQUEST = re.compile(
    r"[,;.!?].*\b(?:find|detect|locate|segment|mask|outline|show|point|count|tell|you|i)\b",
    re.IGNORECASE,
)
#: Words that name nothing by themselves.
_POINTING = re.compile(
    r"^(?:it|them|this|that|these|those|here|there"
    r"|(?:(?:this|that|these|those|the|all|every|each|same|selected|marked|given) )*"
    r"(?:things?|objects?|regions?|areas?|ones?|instances?|everything|what|same)"
    r"(?: (?:that )?(?:i|we) (?:point(?:ed)? at|marked|selected|drew))?)$",
    re.IGNORECASE,
)


@lru_cache(maxsize=_KEPT_SENTENCES)
def understand(sentence: str) -> Asked:
    """Parse the task of a sentence; that of a watch, which comes with every frame, is kept.

    Args:
        sentence: the user's, in English.

    Raises:
        InputError: if it asks for keypoints that the thing does not have.

    Example:
        >>> understand("Where are the person's wrists?").keypoints
        ('left wrist', 'right wrist')
        >>> understand("please draw me a red mug").image_prompt
        'a red mug'
    """
    words = plain_words(sentence)
    wanted = _read_image(words)
    if wanted is not None:
        return wanted
    for reader in (_read_pose, _read_count, _read_labels, _read_thought, _read_masks, _read_boxes):
        asked = reader(words)
        if asked is not None:
            return asked if _are_names(asked) else Asked(Task.TALK)
    # Last: "draw" may also ask for boxes, masks and poses.
    caption = read_draw_request(words)
    return Asked(Task.TALK) if caption is None else Asked(Task.GENERATE, image_prompt=caption)


def needs_image(sentence: str) -> bool:
    """Return whether a sentence needs an image to be answered; image generation does not."""
    try:
        return understand(sentence).task is not Task.GENERATE
    except InputError:
        return True


def _read_image(words: str) -> Asked | None:
    edit = read_edit(words)
    if edit is not None:
        return Asked(Task.EDIT, image_prompt=edit)
    caption = read_generation(words)
    return None if caption is None else Asked(Task.GENERATE, image_prompt=caption)


def _are_names(asked: Asked) -> bool:
    """Return whether the names can be names; the description of one thing is freer."""
    if asked.task is Task.GROUND:
        return not any(_SECOND_REQUEST.search(name) for name in asked.names)
    return not any(_NO_NAME.search(name) or len(name.split()) > _MOST_WORDS for name in asked.names)


def plain_words(sentence: str) -> str:
    """Remove courtesy at both ends of a sentence and repeated spaces."""
    words = re.sub(r"^where'?s\b", "where is", " ".join(sentence.split()), flags=re.IGNORECASE)
    for pattern in (_POLITE, _TAIL):
        while (shorter := pattern.sub("", words.rstrip(_MARKS), count=1)) != words:
            words = shorter
    return _FILL.sub("", words)


def asks_for_mask(sentence: str) -> bool:
    """Return whether a command with visual prompts asks for masks, not for words."""
    words = plain_words(sentence)
    if re.match(rf"{_MASK}\b", words, re.IGNORECASE):
        return True
    found = re.fullmatch(rf"(?:{_SEARCH}|select|where (?:is|are))(?: (?P<what>.*))?", words, re.I)
    return bool(found and names_nothing(found["what"] or ""))


def names_nothing(words: str) -> bool:
    """Return whether words only point: "this", "the same thing", "them"."""
    return not words.strip() or _POINTING.match(words.strip()) is not None


def _match(pattern: str, words: str) -> re.Match[str] | None:
    return re.fullmatch(pattern, words, re.IGNORECASE)


def _read_pose(words: str) -> Asked | None:
    whole = _match(rf"{_ASKING}{_FIRST}{_WHOLE} of (?P<what>.+)", words)
    whole = whole or _match(rf"{_ASKING}(?P<what>.+?)(?:'s|s'|') {_WHOLE}", words)
    if whole:
        return _ask_whole(whole["what"], whole["kind"].lower())
    listed = _match(rf"{_ASKING}{_FIRST}{_JOINTS}:? (?P<parts>.+) (?:of|on) (?P<what>.+)", words)
    if listed:
        names = split_names(listed["what"])
        return Asked(Task.POSE, names, _expand(listed["parts"], names[0])) if names else None
    for pattern in (
        rf"{_ASKING}{_FIRST}(?P<parts>.+) of (?P<what>.+)",
        rf"{_ASKING}(?P<what>.+?)(?:'s|s'|') (?P<parts>.+)",
    ):
        parts = _match(pattern, words)
        asked = _ask_parts(parts["what"], parts["parts"]) if parts else None
        if asked:
            return asked
    return None


def _ask_whole(what: str, kind: str) -> Asked | None:
    names = split_names(what)
    lists = {keypoints_of(name) for name in names}
    if not names or (() in lists and not kind.startswith(("pose", "key"))):
        # "the joints of the pipe" are things like others.
        return None
    if () in lists:
        unknown = next(name for name in names if not keypoints_of(name))
        raise InputError(
            f"no keypoints are known for {unknown!r}; name them, such as "
            f'"find the keypoints lid and handle of the {unknown}"'
        )
    if len(lists) > 1:
        raise InputError(
            f"{' and '.join(names)} have different keypoints; ask for one after the other"
        )
    return Asked(Task.POSE, names, lists.pop())


def _ask_parts(what: str, parts: str) -> Asked | None:
    """Read keypoints that are not called so: only when each of them is one."""
    names = split_names(what)
    listed = _split_parts(parts)
    if not names or not listed or not all(match_keypoints(part, names[0]) for part in listed):
        return None
    return Asked(Task.POSE, names, expand_keypoints(listed, names[0]))


def _expand(parts: str, name: str) -> tuple[str, ...]:
    return expand_keypoints(_split_parts(parts), name)


def _split_parts(parts: str) -> tuple[str, ...]:
    listed = re.split(r"\s*(?:,\s*(?:and\s+)?|\sand\s)\s*", parts.strip())
    return tuple(strip_determiner(part) for part in listed if strip_determiner(part))


def _read_count(words: str) -> Asked | None:
    found = _match(
        r"(?:how many (?P<a>.+?)(?: (?:are|is|do|does|can)\b.*)?"
        r"|count(?: up)? (?P<b>.+)"
        r"|(?:tell me |what is |give me )?the (?:number|count) of (?P<c>.+?)(?: (?:are|is)\b.*)?)",
        words,
    )
    if not found:
        return None
    names = split_names(next(group for group in found.groups() if group))
    return Asked(Task.COUNT, names) if names and not names_nothing(names[0]) else None


def _read_labels(words: str) -> Asked | None:
    found = _match(
        r"(?:(?:label|classify|colou?r|assign|name) (?:every|each|all)(?: of)?(?: the)? pixels?"
        r"(?: to| as| by| into| with)?:?(?: one of)?(?: the classes)?:? (?P<a>.+)"
        r"|(?:(?:do|make|give me|run|perform) )?(?:a |the )?semantic(?:ally)? "
        r"(?:segment(?:ation)?|labels?|map)(?: of| into| for| as)?:? (?P<b>.+)"
        r"|segment (?:the |this |whole )*(?:scene|image|picture|photo|view|everything)"
        r" (?:into|in|as|by):? (?P<c>.+))",
        words,
    )
    if not found:
        return None
    names = split_names(next(group for group in found.groups() if group))
    return Asked(Task.LABEL, names) if names else None


def _read_thought(words: str) -> Asked | None:
    request = _match(
        rf"(?:{_MASK}|{_SEARCH}|point (?:at|to|out)|where is) (?P<what>.+)|(?P<ask>which .+)", words
    )
    if request and _THOUGHT.search(request["what"] or request["ask"]):
        return Asked(Task.REASON)
    return None


def _read_masks(words: str) -> Asked | None:
    found = _match(rf"{_MASK} (?P<what>.+)", words)
    if not found or names_nothing(found["what"]):
        return None
    return _ask_things(Task.OUTLINE, found["what"])


def _read_boxes(words: str) -> Asked | None:
    found = _match(
        r"(?:where (?:is|are)|which one is|tell me where|show me where) (?P<what>.+)", words
    )
    if found:
        what = re.sub(r" (?:is|are)$", "", found["what"], flags=re.IGNORECASE)
        several = re.match(r"(?:where|which one|tell me where|show me where) are\b", words, re.I)
        if names_nothing(what):
            return None
        if several or is_plural(what):
            return Asked(Task.DETECT, split_names(what))
        return Asked(Task.GROUND, (strip_determiner(what),))
    found = _match(r"(?:point (?:at|to|out)|indicate) (?P<what>.+)", words)
    if found and not names_nothing(found["what"]):
        return Asked(Task.GROUND, (strip_determiner(found["what"]),))
    found = _match(rf"{_SEARCH} (?P<what>.+)", words)
    if not found or names_nothing(found["what"]):
        return None
    return _ask_things(Task.DETECT, found["what"])


def _ask_things(task: Task, what: str) -> Asked | None:
    """Read names, or the description of one thing: "the mug left of the bowl"."""
    is_one = re.match(r"(?:the|a|an|my|your|his|her) ", what, re.IGNORECASE)
    if is_one and _RELATION.search(what):
        return Asked(Task.GROUND, (strip_determiner(what),))
    names = split_names(what)
    return Asked(task, names) if names else None

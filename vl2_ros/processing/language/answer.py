"""Parse generated ids into clean words and the phrase of each routing token.

A routing token belongs to the words right before it: back to the previous routing token, a
separator (comma, colon, semicolon, full stop, line break, " and ") or the `<det>` that opens the
phrase. Knows no decoder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vl2_ros.model.language.tokens import ADDED_TOKENS, ROUTING_TABLES
from vl2_ros.processing.language.tokenizer import BASE_SPECIAL_TOKENS, Tokenizer
from vl2_ros.structures import Route

#: Label of a group without a phrase.
NAMELESS = "object"

#: Routing token -> what it opens.
ROUTES = {route.value: route for route in Route if route.value}
_MARKS = re.compile("|".join(re.escape(t) for t in (*BASE_SPECIAL_TOKENS, *ADDED_TOKENS)))
_ROUTING = re.compile("(" + "|".join(re.escape(token) for token in ROUTING_TABLES) + ")")
_SEPARATOR = re.compile(r"[,:;!?\n]|\.(?=\s|$)|\band\b", re.IGNORECASE)
_END = r"(?=[\s,.?!]|$)"
#: Words that open a phrase and are no part of a name.
_OPENING = re.compile(
    r"^(?:sure|yes|okay|ok|well|here|there|it|it's|this|that|they|these|those|is|are|was|were"
    r"|i can see|we can see|i|we|you|found|see|have|has|segmented|located|detected|masked|in|at|on"
    r"|under|behind|near|beside|with|next to|of|the|a|an|some|every|all|each|your|my)"
    + _END
    + r"[\s,]*",
    re.IGNORECASE,
)
#: Words of asking; "can" alone is a thing.
_REQUEST = re.compile(
    r"^(?:please|kindly|(?:can|could|would|will|do) (?:you|i|we)|hey|hello|robot|try to|help me"
    r"|find|locate|detect|segment|ground|show|tell|point(?: out)?|give|look|search|identify|mark"
    r"|highlight|outline|get|me|us|to|at|for|i|want|need|would like|where|where's|which|what"
    r"|what's|one is|is|are|see|there|the|a|an)" + _END + r"[\s,]*",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"(?:(?:^|\s)(?:please|thanks|thank you|for me|located|is|are|here|there"
    r"|(?:in|on|from) (?:the|this) (?:picture|image|photo|scene|view|frame))|[\s.?!,;]+)$",
    re.IGNORECASE,
)
#: Words of an answer that only announces: without its phrases it says nothing else.
_ANNOUNCING = (
    "sure yes okay ok well of course certainly here there it it's its this that they these those "
    "is are was were be been i i've we we've you can could see seen look looking find found have "
    "has detect detected locate located segment segmented spot spotted identify identified mark "
    "marked mask masked outline outlined show shown give the a an some all every each and or as "
    "in on at for to with your my their following requested asked below object objects thing "
    "things item items result results detection detections segmentation masks box boxes bounding "
    "region regions class classes keypoint keypoints key point points instance instances image "
    "picture photo scene view location locations position positions respectively"
)
#: Letters of scripts that no sentence of ours is written in.
_OTHER_SCRIPT = re.compile(r"[^\x00-\u024f\u2000-\u206f]")
_SPACES = re.compile(r"[ \t]+")
_SPACE_BEFORE_MARK = re.compile(r" +(?=[.,;:!?](?:\s|$))")
_WORD = re.compile(r"[^\W_]+(?:['’]\w+)?")


@dataclass(frozen=True, slots=True)
class SlotGroup:
    """One routing token of the answer, in answer order.

    Attributes:
        route: where its slots go.
        phrase: the words that it stands for; "object" when there are none.
    """

    route: Route
    phrase: str


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """A parsed answer.

    Attributes:
        text: the words, without routing, slot and bracket tokens.
        groups: one per routing token, in answer order.
        only_names: the answer says nothing beside what its routing tokens stand for, as
            "I found: mug[DET]." does; "A dog[DET] runs." says more. False without groups.
    """

    text: str
    groups: tuple[SlotGroup, ...]
    only_names: bool = False


def parse_answer(ids: Sequence[int], tokenizer: Tokenizer, command_text: str = "") -> ParsedAnswer:
    """Parse generated ids.

    The ids decide what a routing token is, so an answer that merely spells "[DET]" opens nothing.

    Args:
        ids: generated ids; slot ids may be there or not.
        tokenizer: tokenizer of the model.
        command_text: the user's sentence; names a [GRD] that the answer gives no words for.
    """
    pieces: list[str | Route] = []
    run: list[int] = []
    slots = set(tokenizer.tokens.slots)
    for index in (int(value) for value in ids):
        if index in slots:
            continue
        token = tokenizer.tokens.routing.get(index)
        if token is None:
            run.append(index)
            continue
        pieces += [tokenizer.decode(run, keep_special=True), ROUTES[token]]
        run = []
    pieces.append(tokenizer.decode(run, keep_special=True))
    return _parse_pieces(pieces, command_text)


def parse_answer_text(text: str, command_text: str = "") -> ParsedAnswer:
    """Parse a trusted answer with routing tokens in the text, such as a training example."""
    pieces = [ROUTES.get(piece, piece) for piece in _ROUTING.split(text)]
    return _parse_pieces(pieces, command_text)


def _parse_pieces(pieces: Sequence[str | Route], command_text: str) -> ParsedAnswer:
    groups: list[SlotGroup] = []
    words, only_names = "", True
    for piece in pieces:
        if isinstance(piece, str):
            words += piece
            continue
        groups.append(SlotGroup(piece, _name_group(words, piece, groups, command_text)))
        only_names = only_names and _only_announces(words, extract_phrase(words))
        words = ""
    only_names = only_names and bool(groups) and _only_announces(words, "")
    return ParsedAnswer(_clean_text(pieces), tuple(groups), only_names)


def _only_announces(words: str, phrase: str) -> bool:
    """Return whether words say nothing beside a phrase at their end."""
    said = " ".join(_MARKS.sub(" ", words).split())
    if _OTHER_SCRIPT.search(said) or phrase.lower().startswith("no "):
        return False
    if phrase:
        before, _, after = said.rpartition(phrase)
        said = f"{before} {after}"
    words_said = _WORD.findall(said.lower().replace("’", "'"))
    return set(words_said) <= set(_ANNOUNCING.split())


def _clean_text(pieces: Sequence[str | Route]) -> str:
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text = join_words(text, piece)
    return tidy_words(text).strip()


def join_words(text: str, words: str) -> str:
    """Append the words between two routing tokens to those before them, without marks."""
    for part in _MARKS.split(words):
        # Llama's special tokens swallow the spaces around them.
        gap = " " if text[-1:].isalnum() and part[:1].isalnum() else ""
        text += gap + part
    return text


def tidy_words(text: str) -> str:
    """Leave one space where there are several, and none before a punctuation mark."""
    return _SPACE_BEFORE_MARK.sub("", _SPACES.sub(" ", text))


def _name_group(words: str, route: Route, groups: Sequence[SlotGroup], command_text: str) -> str:
    phrase = extract_phrase(words)
    if phrase:
        return phrase
    # Tokens in a row speak of the same words.
    if groups and not _MARKS.sub("", words).strip():
        return groups[-1].phrase
    if route is Route.GROUND:
        return extract_expression(command_text) or NAMELESS
    return NAMELESS


def extract_phrase(words: str) -> str:
    """Return the phrase at the end of the words before a routing token, or ""."""
    closed = words.rstrip().removesuffix("</det>")
    opened = closed.rfind("<det>")
    if opened >= 0:
        # Inside the bracket nothing separates: "<det>black and white cat</det>".
        return _strip_words(_MARKS.sub(" ", closed[opened:]), _OPENING)
    ended = _MARKS.sub(" ", closed).rstrip(" \t\n,.:;!?")
    return _strip_words(_SEPARATOR.split(ended)[-1], _OPENING)


def extract_expression(command_text: str) -> str:
    """Return what a command refers to, without the words of asking: "find the mug" -> "mug"."""
    words = " ".join(_MARKS.sub(" ", command_text).split())
    while (shorter := _TAIL.sub("", words)) != words:
        words = shorter
    return _strip_words(words, _REQUEST)


def _strip_words(phrase: str, opening: re.Pattern[str]) -> str:
    phrase = " ".join(phrase.split())
    while (shorter := opening.sub("", phrase)) != phrase:
        phrase = shorter
    return phrase.strip(" .,:;!?\"'")

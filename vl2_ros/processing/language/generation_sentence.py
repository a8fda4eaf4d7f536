"""Parse requests for image generation and editing out of a user's sentence.

Patterns of English, as in `parse`, which calls these. Sentences that could as well ask for
detections ("draw a box around the mug", "make a mask of it") do not match. Knows no model.
"""

from __future__ import annotations

import re

_IMAGE = r"(?:images?|pictures?|drawings?)"
#: Kinds of images whose name is part of the prompt.
_STYLED = (
    r"(?:photos?|photographs?|paintings?|sketch(?:es)?|illustrations?|cartoons?|portraits?|posters?"
    r"|logos?|icons?|collages?|comics?|renderings?|renders?|wallpapers?|scenes?|still li(?:f|v)es?"
    r"|water ?colou?rs?|artworks?)"
)
_ONE = r"(?:an?|another|some|one|the)"
_CREATE = r"(?:draw|paint|sketch|generate|create|make|produce|render|design|compose|synthesi[sz]e)"
_DRAW = r"(?:draw|sketch|paint)"
_FOR = r"(?: (?:me|us))?"
_OF = r"(?: (?:of|with|showing|that shows|depicting)|:)"
#: Annotations and detections: no thing to be generated or changed.
_ANNOTATION = re.compile(
    r"\b(?:box(?:es)?|bounding|rectangles?|frames?|outlines?|contours?|silhouettes?|borders?"
    r"|edges?|lines?|circles?|ellipses?|ovals?|cross(?:es)?|dots?|points?|arrows?|polygons?"
    r"|squares?|marks?|markers?|labels?|tags?|masks?|segments?|segmentations?|keypoints?"
    r"|key points?|joints?|poses?|skeletons?|landmarks?|heat ?maps?|pixels?|regions?|detections?"
    r"|instances?|shapes?|boundar(?:y|ies)|perimeters?|overlays?|cut-?outs?|attention|eyes?|gaze"
    r"|head|detectors?)\b"
    r"(?=.*\b(?:around|round|on|onto|over|of|for|at|to|through|along|between|under|near|where"
    r"|about|each|every|all)\b|$)",
    re.IGNORECASE,
)
#: What follows only goes along with the thing: "a table with boxes on it".
_BESIDE = re.compile(r"\b(?:with|wearing|holding|carrying|full of|made of)\b", re.IGNORECASE)
#: Idioms that ask for no image.
_IDIOM = re.compile(
    r"^(?:(?:an?|the|some|any|your|my) )?(?:conclusions?|attention|curtains?|blinds?|breath|lots?"
    r"|comparisons?|distinctions?|near|back|up|out|on|over|from|closer|around)\b"
    r"|.*\bin (?:words|(?:an?|one|some) colou?r)\b",
    re.IGNORECASE,
)
_THING = (
    r"(?:it|this|that|everything(?: .+?)?|(?:the|this|that|these|those|all|every|each|both|my|your"
    r"|his|her|its|our|their|one of)\b.+?)"
)
#: What is made of words, moves by itself, or is cut out: nothing that is changed in an image.
_NO_EDIT = re.compile(
    r"\b(?:(?:my|your) (?:eyes?|attention|head)|stand out|look for|(?:into|to) an? mask|pixels?"
    r"|backgrounds? (?:of|around|behind)|everything (?:but|except)|all but|beds?|way|lists?"
    r"|sentences?|answers?|descriptions?|captions?|summar(?:y|ies)|texts?|words?|reports?|json"
    r"|tables? of|sure|certain|robots?|arms?|grippers?|camera|watch(?:es)?|commands?|decisions?"
    r"|plans?|coffee|tea|threshold|parameters?|count|number|detectors?|overlays?)\b",
    re.IGNORECASE,
)
_COLOR = (
    r"(?:(?:light|dark|bright|pale|deep|neon)[ -]?)?(?:black|white|red|green|blue|yellow|orange"
    r"|purple|pink|brown|gr[ae]y|silver|gold(?:en)?|beige|turquoise|violet|cyan|magenta"
    r"|transparent)"
)
#: "what it looks like" alone wants nothing changed.
_LOOK = r"looks?(?: like)? (?!like$)\S.*"
_EDITS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # "make the mug red", "make it look old"; a second word is the change
        r"make (?:it|this|that|everything) \S.*",
        rf"make {_THING} (?:(?:look|appear|seem|out of|into|from) )?\S+",
        rf"(?:turn|change|convert|transform|morph) {_THING} (?:in)?to \S.*",
        r"change the (?:background|colou?rs?|weather|season|style|lighting|light|sky)\b.*",
        rf"(?:remove|erase|delete|take away|get rid of|wipe out) {_THING}",
        rf"take {_THING} (?:away|out)",
        rf"(?:replace|swap|exchange|substitute) {_THING} (?:with|by|for) \S.*",
        r"add (?:an?|some|more|another|two|three|four|five) \S.*",
        r"put (?:an?|some|another) .+? on(?:to)? \S.*",
        rf"(?:paint|colou?r|dye|tint|spray) {_THING} (?:in )?{_COLOR}",
        rf"(?:brighten|darken|blur|sharpen|colou?ri[sz]e|styli[sz]e|retouch) {_THING}",
        r"(?:let it|make it) (?:snow|rain|be night|be day|be winter|be summer)",
        rf"(?:show me|tell me|draw|imagine|see|show) (?:what|how) .+ {_LOOK}",
        rf"(?:what|how) (?:would|might|could) .+ {_LOOK}",
    )
)
#: With these, boxes and masks are more likely wanted than spoken of.
_ADDING = re.compile(r"(?:make|add|put|paint|colou?r)\b", re.IGNORECASE)
#: References that mean nothing without an image.
_UNNAMED = re.compile(
    r"(?:it|this|that|them|these|those|me|us|him|her|here|there|what|whatever|everything|anything)"
    r"(?: .*)?",
    re.IGNORECASE,
)
_EDIT_IMAGE = re.compile(
    r"(?:edit|modify|alter|retouch|change) (?:the|this) (?:image|picture|photo|scene|view)"
    r"(?: so that|:|,| by| and|$) ?(?P<what>.*)",
    re.IGNORECASE,
)
_SHOWN = re.compile(
    rf"(?:show|give|get){_FOR} (?P<whole>(?:an?|another|some) (?P<how>(?:[\w-]+ ){{0,3}}?)"
    rf"(?P<kind>{_IMAGE}|{_STYLED}){_OF} "
    r"(?P<what>(?!(?:the|this|that|these|those|my|your|what|where|it)\b).+))",
    re.IGNORECASE,
)
_CREATED = re.compile(
    rf"{_CREATE}{_FOR} (?P<whole>(?:{_ONE} )?(?P<how>(?:[\w-]+ ){{0,3}}?)"
    rf"(?P<kind>{_IMAGE}|{_STYLED}){_OF} (?P<what>.+))",
    re.IGNORECASE,
)
_DRAWN = re.compile(rf"(?P<verb>{_DRAW}){_FOR} (?P<what>.+)", re.IGNORECASE)
#: What follows belongs to another request, which only the model can read.
_SECOND_REQUEST = re.compile(
    r"\b(?:then|after that|afterwards|finally|next(?! to))\b"
    r"|(?:[,;.!?]|\band\b).*\b(?:find|detect|locate|identify|spot|segment|mask|outline|highlight"
    r"|show|point|cut|count|get|give|check|look|tell|list|describe|say|where|how many|which one|you"
    r"|i)\b",
    re.IGNORECASE,
)


def read_generation(words: str) -> str | None:
    """Return the caption of an image that a sentence asks for by the word "image" or its like.

    Args:
        words: a sentence without courtesy.

    Example:
        >>> read_generation("generate an image of a red mug")
        'a red mug'
        >>> read_generation("draw a mask of the red mug")
    """
    found = _CREATED.fullmatch(words) or _SHOWN.fullmatch(words)
    if found is None or _ANNOTATION.search(found["how"].strip()) or not _is_drawable(found["what"]):
        return None
    plain = re.fullmatch(_IMAGE, found["kind"], re.IGNORECASE) and not found["how"].strip()
    return (found["what"] if plain else found["whole"]).strip()


def read_draw_request(words: str) -> str | None:
    """Return the caption of a request that only says "draw"; tried last, when nothing else fits.

    Example:
        >>> read_draw_request("draw me a red mug on a table")
        'a red mug on a table'
        >>> read_draw_request("draw a box around the mug")
    """
    found = _DRAWN.fullmatch(words)
    if found is None or not _is_drawable(found["what"]):
        return None
    what = found["what"].strip()
    if _ANNOTATION.search(_BESIDE.split(what)[0]) or _IDIOM.match(what):
        return None
    # "paint the wall" is work to be done.
    if found["verb"].lower() == "paint" and re.match(r"(?:the|this|that|it|my)\b", what, re.I):
        return None
    return what


def read_edit(words: str) -> str | None:
    """Return the instruction of a request to change the image.

    Args:
        words: a sentence without courtesy.

    Example:
        >>> read_edit("make the mug red")
        'make the mug red'
        >>> read_edit("make a list of the mugs")
    """
    whole = _EDIT_IMAGE.fullmatch(words)
    if whole:
        words = whole["what"].strip() or words
        return words if _is_one_request(words) else None
    if not any(pattern.fullmatch(words) for pattern in _EDITS) or not _is_one_request(words):
        return None
    is_note = _ADDING.match(words) and _ANNOTATION.search(words)
    return None if _NO_EDIT.search(words) or is_note else words


def _is_drawable(what: str) -> bool:
    is_named = re.search(r"\w", what) and not _UNNAMED.fullmatch(what.strip())
    return bool(is_named) and _is_one_request(what)


def _is_one_request(words: str) -> bool:
    return _SECOND_REQUEST.search(words) is None

"""Turn English words into names for the networks: lists, articles, plurals.

Knows no task and no model. Uncertain words stay unchanged.
"""

from __future__ import annotations

import re

#: Words before a name that are no part of it.
_DETERMINER = re.compile(
    r"^(?:(?:all|both|each|every|any|some|several|many)(?: of)?(?: the| my| your| these| those)?"
    r"|the|a|an|my|your|our|his|her|their|its|these|those|one|two|three|four|five|six|seven|eight"
    r"|nine|ten|\d+)\s+",
    re.IGNORECASE,
)
_MARKS = " .,:;!?\"'"
_COLORS = "black white red green blue yellow orange purple pink brown grey gray silver gold beige"
_LIST = re.compile(r"\s*(?:,\s*(?:and|or)\s+|,|;|\s(?:and|or|&)\s)\s*", re.IGNORECASE)
_IRREGULAR = {
    "people": "person",
    "persons": "person",
    "men": "man",
    "women": "woman",
    "children": "child",
    "feet": "foot",
    "teeth": "tooth",
    "mice": "mouse",
    "geese": "goose",
    "leaves": "leaf",
    "knives": "knife",
    "shelves": "shelf",
    "loaves": "loaf",
    "wolves": "wolf",
    "calves": "calf",
    "halves": "half",
    "scarves": "scarf",
    "shoes": "shoe",
    "toes": "toe",
    "canoes": "canoe",
    "oboes": "oboe",
    "horses": "horse",
    "houses": "house",
    "noses": "nose",
    "vases": "vase",
    "cases": "case",
    "suitcases": "suitcase",
    "bookcases": "bookcase",
    "roses": "rose",
    "hoses": "hose",
    "purses": "purse",
    "nurses": "nurse",
    "axes": "axe",
    "movies": "movie",
    "cookies": "cookie",
    "ties": "tie",
    "pies": "pie",
    "zombies": "zombie",
}
#: End in s and are one thing, or have no singular.
_SINGULAR_IN_S = (
    "bus gas lens iris cactus octopus walrus canvas atlas compass scissors glasses sunglasses "
    "pants trousers jeans shorts pliers tongs binoculars headphones stairs clothes goggles "
    "tweezers series species news tennis"
)


def split_names(text: str) -> tuple[str, ...]:
    """Split a list of things into bare names in the singular, none twice.

    Example:
        >>> split_names("the red mugs, a bowl and all black and white cats")
        ('red mug', 'bowl', 'black and white cat')
    """
    parts: list[str] = []
    for part in _LIST.split(text.strip(_MARKS)):
        name = strip_determiner(part)
        # A colour alone is no thing: it belongs to what follows.
        if parts and parts[-1].lower() in _COLORS.split():
            name = f"{parts.pop()} and {name}"
        parts.append(name)
    return tuple(dict.fromkeys(singular(name) for name in parts if name))


def strip_determiner(name: str) -> str:
    """Drop articles, quantifiers and numbers before a name, and spaces around it."""
    name = " ".join(name.split()).strip(_MARKS)
    while (shorter := _DETERMINER.sub("", name, count=1)) != name:
        name = shorter
    return name


def singular(name: str) -> str:
    """Make the last word of a name singular; one that is singular already stays.

    Example:
        >>> singular("red mugs"), singular("wine glasses"), singular("bus"), singular("people")
        ('red mug', 'wine glass', 'bus', 'person')
    """
    head, space, last = name.rpartition(" ")
    return head + space + _singular_word(last, is_alone=not head)


def _singular_word(word: str, *, is_alone: bool) -> str:
    lower = word.lower()
    if lower in _IRREGULAR:
        return _IRREGULAR[lower]
    # "glasses" alone are worn; "wine glasses" are several.
    if lower in _SINGULAR_IN_S.split() and (is_alone or lower != "glasses"):
        return word
    if len(lower) < 4 or not lower.endswith("s") or lower.endswith(("ss", "us", "is")):
        return word
    if lower.endswith("ies"):
        return word[:-3] + "y"
    if lower.endswith(("ches", "shes", "sses", "xes", "zes", "oes")):
        return word[:-2]
    if lower.endswith("buses"):
        return word[:-2]
    return word[:-1]


def is_plural(name: str) -> bool:
    """Return whether a name means several things."""
    return singular(name) != name

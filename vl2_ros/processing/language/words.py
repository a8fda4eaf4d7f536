"""Turn English words into names for the networks: lists, articles, plurals.

Knows no task and no model. Uncertain words stay unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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
#: End in s and have no other form.
_ALWAYS_IN_S = (
    "scissors glasses sunglasses pants trousers jeans shorts pliers tongs binoculars headphones "
    "stairs clothes goggles tweezers series species news tennis"
)
#: End in s and are one thing, or have no singular.
_SINGULAR_IN_S = frozenset(
    f"bus gas lens iris cactus octopus walrus canvas atlas compass {_ALWAYS_IN_S}".split()
)
_PLURALS = {one: several for several, one in reversed(_IRREGULAR.items())}
_UNCHANGED = "sheep deer fish moose aircraft dice"
_PLURAL_IN_OES = "potato tomato hero echo volcano torpedo domino"
#: A name whose first noun is counted: "cup with a handle".
_DESCRIBED = re.compile(
    r"(?P<noun>.+?)(?P<rest> (?:of|in|on|at|with|without|from|by|under|behind|near|beside|for|that"
    r"|which|who|left|right|next) .+)",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"\b(?:a|an|the)\b", re.IGNORECASE)
#: Begin with the sound of "you" or "one", or with a silent h.
_CONSONANT_START = re.compile(r"(?:uni(?!n|m)|ute|usb|eu|one\b)", re.IGNORECASE)
_VOWEL_START = re.compile(r"(?:[aeiou]|hour|honest|heir)", re.IGNORECASE)


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
    if lower in _SINGULAR_IN_S and (is_alone or lower != "glasses"):
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


def plural(name: str) -> str:
    """Make the counted word of a name plural; the name is singular.

    A name whose counted word is not certain, as in another script, stays unchanged.

    Example:
        >>> plural("red mug"), plural("person"), plural("cup with a handle"), plural("scissors")
        ('red mugs', 'people', 'cups with a handle', 'scissors')
    """
    noun, rest = _split_description(name)
    # "man riding a horse": which word is counted takes more than patterns.
    if _ARTICLE.search(noun):
        return name
    head, space, last = noun.rpartition(" ")
    return head + space + _plural_word(last) + rest


def _split_description(name: str) -> tuple[str, str]:
    """Split "cup with a handle" behind the noun that is counted."""
    described = _DESCRIBED.fullmatch(name)
    return (described["noun"], described["rest"]) if described else (name, "")


def _plural_word(word: str) -> str:
    lower = word.lower()
    if lower in _PLURALS:
        return _PLURALS[lower]
    if lower in (*_ALWAYS_IN_S.split(), *_UNCHANGED.split()) or not re.search("[a-z]$", lower):
        return word
    if lower.endswith("man") and lower != "human":
        return f"{word[:-2]}en"
    if lower.endswith(("s", "x", "z", "ch", "sh")) or lower in _PLURAL_IN_OES.split():
        return f"{word}es"
    if lower.endswith("y") and lower[-2:-1] not in tuple("aeiou"):
        return f"{word[:-1]}ies"
    return f"{word}s"


def with_article(name: str) -> str:
    """Put "a" or "an" before a singular name, nothing before one that has no singular.

    Example:
        >>> with_article("mug"), with_article("orange can"), with_article("pair of scissors")
        ('a mug', 'an orange can', 'a pair of scissors')
    """
    noun, _ = _split_description(name)
    if noun.lower().rpartition(" ")[2] in _ALWAYS_IN_S.split():
        return name
    is_vowel = _VOWEL_START.match(name) and not _CONSONANT_START.match(name)
    return f"{'an' if is_vowel else 'a'} {name}"


def join_names(names: Sequence[str]) -> str:
    """Join as in speech: "a", "a and b", "a, b and c"."""
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last


def is_plural(name: str) -> bool:
    """Return whether a name means several things."""
    return singular(name) != name

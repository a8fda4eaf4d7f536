"""Words for things: the simulator's kinds with synonyms and plurals, and other household nouns.

Tables and spelling rules only; knows no sentence and no route.
"""

from __future__ import annotations

from vl2_ros.datasets.sentence_files import SENTENCES_FOLDER, read_sentences
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS

#: Singular words that mean a kind; the first is the kind's own name and the one used in answers.
KIND_WORDS: dict[str, tuple[str, ...]] = {
    "mug": ("mug", "cup", "coffee mug", "coffee cup", "teacup"),
    "bowl": ("bowl", "soup bowl", "cereal bowl"),
    "bottle": ("bottle", "flask", "water bottle"),
    "can": ("can", "tin", "soda can", "tin can"),
    "box": ("box", "carton", "package", "parcel"),
    "ball": ("ball", "sphere"),
    "plate": ("plate", "dish", "dinner plate"),
    "book": ("book", "novel", "textbook"),
    "banana": ("banana",),
    "cube": ("cube", "block", "toy block"),
    "cylinder": ("cylinder", "tube"),
    "figure": ("figure", "person", "doll", "figurine", "toy figure", "humanoid"),
}

#: Words for whatever kind of thing.
OBJECT_WORDS = ("object", "thing", "item")

COLOR_WORDS: dict[str, tuple[str, ...]] = {
    color: {"purple": ("purple", "violet")}.get(color, (color,)) for color in COLORS
}

_nouns = read_sentences(
    SENTENCES_FOLDER / "nouns.txt",
    {"other": ("",), "adjectives": ("",), "irregular plurals": ("", "")},
)
#: Things the simulator never shows; the answer copies the word and no instance is found.
OTHER_NOUNS = _nouns["other"].lines
#: Words in front of a noun that change nothing in the answer.
IGNORED_ADJECTIVES = _nouns["adjectives"].lines

_IRREGULAR = dict(_nouns["irregular plurals"].pairs)


def pluralize(noun: str) -> str:
    """Return the plural of a noun; only its last word changes.

    Example:
        >>> pluralize("soup dish"), pluralize("cherry"), pluralize("person")
        ('soup dishes', 'cherries', 'people')
    """
    head, _, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith(("s", "x", "ch", "sh")):
        last += "es"
    elif last.endswith("y") and last[-2] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{head} {last}" if head else last


def with_article(phrase: str) -> str:
    """Put "a" or "an" in front of a phrase."""
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def phrase_of(color: str | None, noun: str) -> str:
    """Join a colour and a noun as answers write them: "red mug", or "mug" without colour."""
    return f"{color} {noun}" if color else noun


#: All "red mug"-like phrases, kinds in the outer loop.
COLOR_KIND_PHRASES: tuple[str, ...] = tuple(
    phrase_of(color, kind) for kind in KINDS for color in COLORS
)

"""Make a spoken-style sentence with noise from things and a verb, with the phrasing tables.

Knows words, not images: which things are asked for is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from vl2_ros.datasets.nouns import (
    COLOR_WORDS,
    IGNORED_ADJECTIVES,
    KIND_WORDS,
    OBJECT_WORDS,
    OTHER_NOUNS,
    phrase_of,
    pluralize,
    with_article,
)
from vl2_ros.datasets.phrasings import (
    ADDRESSES,
    ADVERBS,
    CLOSERS,
    FILLERS,
    OPENERS,
    PLACES,
    REMARKS,
)

T = TypeVar("T")


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Draw one of the options, all equally likely."""
    return options[int(rng.random() * len(options))]


def chance(rng: np.random.Generator, probability: float) -> bool:
    """Draw True with the given probability."""
    return bool(rng.random() < probability)


@dataclass(frozen=True, slots=True)
class Thing:
    """Something asked for: a colour or None, and a kind or another noun in the singular."""

    color: str | None
    noun: str

    @property
    def phrase(self) -> str:
        """Return the words that stand for it in an answer."""
        return phrase_of(self.color, self.noun)

    @property
    def is_known(self) -> bool:
        """Return whether every word belongs to the simulator's vocabulary."""
        return self.noun in KIND_WORDS

    @property
    def names(self) -> tuple[str, ...]:
        """Return the words that people say for it, without the colour; the first is its own."""
        if self.noun == "object":
            return OBJECT_WORDS
        return KIND_WORDS.get(self.noun, (self.noun,))


def spoken_words(rng: np.random.Generator, thing: Thing, *, plural: bool = False) -> str:
    """Say a thing with a synonym, sometimes an adjective that means nothing, sometimes a typo."""
    words = thing.names
    noun = words[0] if chance(rng, 0.75) else pick(rng, words)
    noun = pluralize(noun) if plural else noun
    if thing.is_known and chance(rng, 0.015):
        noun = misspell(rng, noun)
    if thing.color is not None:
        noun = f"{pick(rng, COLOR_WORDS[thing.color])} {noun}"
    if chance(rng, 0.03):
        noun = f"{pick(rng, IGNORED_ADJECTIVES)} {noun}"
    return noun


def misspell(rng: np.random.Generator, word: str) -> str:
    """Drop, double or swap one inner letter of a word of four letters or more."""
    if len(word) < 4:
        return word
    at = 1 + int(rng.random() * (len(word) - 2))
    kind = int(rng.random() * 3)
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[: at + 1] + word[at:]
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


_ONSETS = (
    *"bcdfghjklmnprstvw",
    *("br", "cl", "dr", "fl", "gr", "pl", "sh", "st", "tr", "th"),
)
_RIMES = (
    *("a", "e", "i", "o", "u", "ar", "en", "il", "on", "um", "ack", "ell", "ing", "ost", "and"),
    *("ame", "ore", "ine", "ound", "oot", "ash", "ern"),
)


def other_noun(rng: np.random.Generator) -> str:
    """Draw a thing outside the simulator; one in three is invented, which teaches copying."""
    if not chance(rng, 0.35):
        return pick(rng, OTHER_NOUNS)
    syllables = pick(rng, (2, 2, 2, 3))
    return "".join(pick(rng, _ONSETS) + pick(rng, _RIMES) for _ in range(syllables)) + pick(
        rng, ("", "", "er", "et", "on", "le")
    )


def join_words(rng: np.random.Generator, words: Sequence[str]) -> str:
    """Join words as people do: commas, "and", "as well as", slashes."""
    if len(words) == 1:
        return words[0]
    style = rng.random()
    if style < 0.12:
        return ", ".join(words)
    if style < 0.2:
        return ", ".join(words[:-1]) + ", and " + words[-1]
    if style < 0.27:
        return " and ".join(words)
    if style < 0.3:
        return " & ".join(words)
    last = pick(
        rng, (" and ", " and ", " and ", " and ", " and ", " as well as ", " or ", " plus ")
    )
    return ", ".join(words[:-1]) + last + words[-1]


def say_things(rng: np.random.Generator, things: Sequence[Thing], form: str) -> str:
    """Put things into words for one position in a sentence.

    Args:
        rng: source of randomness.
        things: at least one.
        form: "one" (definite singular), "several" (definite plural, or a list of singulars), "all"
            (every, all), "bare" (no article) or "any" (whichever).
    """
    everything = [thing.noun for thing in things] == ["object"]
    if everything and form in ("any", "all") and chance(rng, 0.4):
        return _say_everything(rng, things[0])
    if form == "any":
        form = pick(rng, ("the", "the", "the", "a", "all", "all", "bare", "plural"))
    if form == "a one":
        return with_article(spoken_words(rng, things[0]))
    if form == "one":
        determiner = pick(rng, ("the", "the", "the", "the", "the", "my", "that", "this", "our"))
        return f"{determiner} {spoken_words(rng, things[0])}"
    if form == "several":
        form = "definite plural" if len(things) == 1 or chance(rng, 0.4) else "the"
    if form == "bare":
        return join_words(rng, [spoken_words(rng, thing) for thing in things])
    if form == "plural":
        return join_words(rng, [spoken_words(rng, thing, plural=True) for thing in things])
    if form == "definite plural":
        return join_words(rng, ["the " + spoken_words(rng, t, plural=True) for t in things])
    if form == "all":
        return _say_all(rng, things)
    if form == "a":
        return join_words(rng, [with_article(spoken_words(rng, thing)) for thing in things])
    determiner = pick(rng, ("the", "the", "the", "the", "the", "the", "my", "that", "this"))
    if chance(rng, 0.75):
        return join_words(rng, [f"{determiner} {spoken_words(rng, t)}" for t in things])
    return f"{determiner} " + join_words(rng, [spoken_words(rng, thing) for thing in things])


_ALL_DETERMINERS = (
    *(2 * ("every", "all", "all", "all the", "each")),
    *("any", "every single", "all of the", "each of the", "both", "the two", "two", "three"),
    *("some", "any kind of", "these", "those", "every visible", "all visible", "whichever"),
)
_PLURAL_DETERMINERS = (
    "all",
    "each of",
    "both",
    "the two",
    "two",
    "three",
    "some",
    "these",
    "those",
)


def _say_all(rng: np.random.Generator, things: Sequence[Thing]) -> str:
    determiner = pick(rng, _ALL_DETERMINERS)
    plural = determiner.startswith(_PLURAL_DETERMINERS)
    words = [spoken_words(rng, thing, plural=plural) for thing in things]
    if len(words) > 1 and chance(rng, 0.5):
        words[1:] = [f"{determiner} {word}" for word in words[1:]]
    return f"{determiner} " + join_words(rng, words)


_COLORED_EVERYTHING = (
    *("everything {c}", "everything that is {c}", "everything that's {c}", "anything {c}"),
    *("all that is {c}", "anything that is {c}", "whatever is {c}", "all {c} stuff"),
)


def _say_everything(rng: np.random.Generator, thing: Thing) -> str:
    if thing.color is None:
        return pick(rng, ("everything", "everything", "everything you see", "everything there is"))
    color = pick(rng, COLOR_WORDS[thing.color])
    return pick(rng, _COLORED_EVERYTHING).replace("{c}", color)


def insert_things(verb: str, words: str) -> str:
    """Put the words at `{x}`, or behind the verb when it has no `{x}`."""
    return verb.replace("{x}", words) if "{x}" in verb else f"{verb} {words}"


def open_sentence(rng: np.random.Generator, base: str, gerund: str) -> str:
    """Wrap a finished verb phrase, given in its base and -ing form, into an opener."""
    if chance(rng, 0.06):
        adverb = pick(rng, ADVERBS)
        base, gerund = f"{adverb} {base}", f"{adverb} {gerund}"
    return pick(rng, OPENERS).replace("{v}", base).replace("{g}", gerund)


def roughen(rng: np.random.Generator, sentence: str, *, place: bool, upper: bool = True) -> str:
    """Add what people add: fillers, an address, a place, thanks; vary case and final mark.

    Args:
        rng: source of randomness.
        sentence: without address; a final "?" or "." only when it belongs there.
        place: whether "on the table" and the like may follow.
        upper: whether all-capitals may be used (not around words that must be copied).
    """
    body, mark = (sentence[:-1], sentence[-1]) if sentence[-1] in "?." else (sentence, "")
    if place and chance(rng, 0.16):
        body = f"{body} {pick(rng, PLACES)}"
    if chance(rng, 0.1):
        body += pick(rng, (", ", " ", " ")) + pick(rng, CLOSERS)
    if chance(rng, 0.08):
        body = pick(rng, ADDRESSES) + pick(rng, (", ", ", ", " ")) + body
    elif chance(rng, 0.03):
        body = f"{body}, {pick(rng, ADDRESSES)}"
    if chance(rng, 0.05):
        body = pick(rng, REMARKS) + pick(rng, (", ", ": ", ". ", " ")) + body
    if chance(rng, 0.04):
        body = pick(rng, FILLERS) + pick(rng, (", ", " ", "... ")) + body
    return _set_case(rng, body, upper) + _final_mark(rng, mark)


def _set_case(rng: np.random.Generator, body: str, upper: bool) -> str:
    style = rng.random()
    if style < 0.45:
        sentences = [part[:1].upper() + part[1:] for part in body.split(". ")]
        return ". ".join(sentences)
    if style < 0.85:
        return body
    if style < 0.955 or not upper:
        return body.lower()
    return body.upper() if style < 0.985 else body.title()


def _final_mark(rng: np.random.Generator, mark: str) -> str:
    style = rng.random()
    if mark == "?":
        return "?" if style < 0.7 else "" if style < 0.95 else " ?"
    if style < 0.45:
        return "."
    if style < 0.88:
        return ""
    return pick(rng, ("!", "!", "...", " .", "!!", "?"))

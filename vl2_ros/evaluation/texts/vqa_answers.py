"""VQA accuracy: a short answer against those of ten people, as VQAv2 defines it.

An answer that three of nine others gave is right. Both sides are brought into one form before:
punctuation, numbers in words, articles and contractions (https://visualqa.org/evaluation.html).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product

from vl2_ros.errors import InputError

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_DIGIT_COMMA = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_ARTICLES = ("a", "an", "the")
_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
_STEMS = {
    "n't": "ai are could did does do had has have is might must need ought should was were would",
    "n't've": "could had might should would",
    "'d": "it he how there they where who you someone something",
    "'d've": "he I it she somebody someone something there they we who you",
    "'ll": "how it somebody someone something they what who why you y'all",
    "'s": "he how somebody someone that there what when where who why let",
    "'ve": "could I might must not should they we what where who would you",
    "'re": "there they what why you",
    "'m": "I",
}
_OTHERS = ("can't", "won't", "shan't", "ma'am", "o'clock", "'twas", "y'all")


def _list_contractions() -> dict[str, str]:
    """Return every spelling that lacks some of its apostrophes -> the full one."""
    full = [f"{stem}{end}" for end, stems in _STEMS.items() for stem in stems.split()]
    spellings = {}
    for word in (*full, *_OTHERS):
        parts = word.split("'")
        for marks in product(("", "'"), repeat=len(parts) - 1):
            written = parts[0] + "".join(m + part for m, part in zip(marks, parts[1:], strict=True))
            spellings[written.lower()] = word.lower()
    # Without its apostrophe it is a word of its own.
    return {short: word for short, word in spellings.items() if short not in ("lets",)}


_CONTRACTIONS = _list_contractions()


def normalise_answer(text: str) -> str:
    """Bring an answer into the form that answers are compared in.

    Example:
        >>> normalise_answer("The two dogs, dont!")
        "2 dogs don't"
    """
    return _normalise_words(_strip_marks(" ".join(text.split())))


def _strip_marks(text: str) -> str:
    """Drop marks beside a space and, where the text has a number like 1,000, all of them."""
    has_comma = _DIGIT_COMMA.search(text) is not None
    stripped = text
    for mark in _MARKS:
        is_dropped = f"{mark} " in text or f" {mark}" in text or has_comma
        stripped = stripped.replace(mark, "" if is_dropped else " ")
    return _PERIOD.sub("", stripped)


def _normalise_words(text: str) -> str:
    words = (_NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def score_answer(answer: str, truth: Sequence[str]) -> float:
    """Return the accuracy of an answer, 0..1: the mean over leaving out each person in turn.

    Args:
        answer: of the model.
        truth: answers of people, commonly ten.

    Raises:
        InputError: if there is none.
    """
    if not truth:
        raise InputError("expected the answers of people to a question, got none")
    # As defined: answers on which all agree are taken as they are.
    given = [normalise_answer(one) for one in truth] if len(set(truth)) > 1 else list(truth)
    matching = [one == normalise_answer(answer) for one in given]
    total = sum(matching)
    return sum(min(1.0, (total - own) / 3) for own in matching) / len(given)

"""Multiple choice: options in letters, the letter of an answer, options in another order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

LETTERS = "ABCDEFGHIJKLMNOP"
_REQUEST = "Reply with the letter of the right option and nothing else."


def write_choices(question: str, options: Sequence[str]) -> str:
    """Write a question with its options, a line each, and the request for a letter."""
    listed = [f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False)]
    return "\n".join([question, *listed, _REQUEST])


def read_choice(answer: str, options: Sequence[str]) -> int | None:
    """Return the index of the chosen option; None where the answer chooses none.

    A letter at the beginning counts ("B", "(B)", "B. a dog"), then a letter that is named as the
    answer ("the answer is B"), then the text of an option, if the answer contains only one of them.

    Args:
        answer: of the model.
        options: as they were asked, at most 16.
    """
    letters = LETTERS[: len(options)]
    text = answer.strip()
    first = re.match(rf"\(?([{letters}])(?:$|[).:,\s])", text)
    # "A dog" begins with an article.
    if first and not (first[1] == "A" and re.match(r"A [a-z]", text)):
        return letters.index(first[1])
    named = re.search(
        rf"(?:answer|option|choice)(?: is|:)? \(?([{letters}])\b", text, re.IGNORECASE
    )
    if named and named[1] in letters:
        return letters.index(named[1])
    said = _plain(text)
    within = [index for index, one in enumerate(options) if _plain(one) and _plain(one) in said]
    return within[0] if len(within) == 1 else None


def _plain(text: str) -> str:
    return f" {' '.join(re.findall(r'[a-z0-9]+', text.lower()))} "


def rotate(options: Sequence[str], turns: int) -> tuple[str, ...]:
    """Return the options moved on by some places: with one turn the first becomes the last."""
    turns %= max(1, len(options))
    return (*options[turns:], *options[:turns])


def list_options(row: Mapping[str, str]) -> tuple[str, ...]:
    """Return the options A, B, ... of a row, up to the first that is missing."""
    options = []
    for letter in LETTERS:
        text = (row.get(letter) or "").strip()
        if not text or text == "nan":
            break
        options.append(text)
    return tuple(options)

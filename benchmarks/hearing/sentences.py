"""Files of sentences, one a line; `#` begins a comment."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent
#: What accuracy is measured on.
QUERIES = FOLDER / "queries.txt"
#: What the listener was tuned on.
DEVELOPMENT = FOLDER / "development.txt"
#: What people say to each other.
SMALL_TALK = FOLDER / "small_talk.txt"


def read_sentences(path: Path) -> tuple[str, ...]:
    """Return the sentences of a file in their order."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


def name_clip(sentence: str) -> str:
    """Return the name of the file with a spoken sentence.

    Example:
        >>> name_clip("Where are the person's hands?")
        'where-are-the-person-s-hands.flac'
    """
    return re.sub(r"[^a-z0-9]+", "-", sentence.lower()).strip("-") + ".flac"

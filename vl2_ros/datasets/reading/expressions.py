"""Read the expressions, captions and questions of a row of a COCO file, and write them as asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vl2_ros.processing.language.tokenizer import neutralise

EXPRESSION_FIELDS = ("expressions", "sentences", "captions", "caption", "question")
_MARKS = re.compile(r"""[.,'!?"()*#:;]""")


def list_raw_texts(row: Mapping[str, Any]) -> list[str]:
    """Return the texts of a row as they stand, blank ones included; [] without a field for them.

    Of several fields the first is taken, one with words before one without.
    """
    found: list[str] = []
    for name in EXPRESSION_FIELDS:
        value = row.get(name)
        texts = [_read_sentence(one) for one in (value if isinstance(value, list) else [value])]
        if any(one.strip() for one in texts):
            return texts
        found = found or (texts if value else [])
    return found


def list_texts(row: Mapping[str, Any]) -> list[str]:
    """Return the texts of a row on one line each, without special tokens; [] without one."""
    cleaned = [" ".join(neutralise(one).split()) for one in list_raw_texts(row)]
    return [one for one in cleaned if one]


def clean_expression(text: str) -> str:
    """Return an expression as evaluation asks for it: lower case, without punctuation.

    Example:
        >>> clean_expression("The man's left-most Mug.")
        'the mans left most mug'
    """
    bare = _MARKS.sub("", text.lower())
    return " ".join(re.sub(r"[-/]", " ", bare).split())


def _read_sentence(value: Any) -> str:
    """Return a text, or that of RefCOCO's sentences: {"raw": ..., "sent": ...}."""
    if isinstance(value, Mapping):
        value = value.get("sent", value.get("raw"))
    return value if isinstance(value, str) else ""

"""CIDEr-D: how much a caption has of the words on which its references agree.

Of Vedantam, Zitnick and Parikh, "CIDEr: Consensus-based Image Description Evaluation" (2015),
section 3 and the variant D: n-grams of 1 to 4 words, weighted by how few records have them, counts
clipped to those of the reference, and a penalty for another length.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from vl2_ros.errors import InputError

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_LONGEST = 4
#: Standard deviation of the penalty for another length, in words.
_SIGMA = 6.0
_SCALE = 10.0

Grams = Counter[tuple[str, ...]]


def split_words(text: str) -> list[str]:
    """Split a caption into lower-case words without punctuation."""
    return _WORD.findall(text.lower())


def score_cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return the mean over the records; 0 upwards, commonly given times 100.

    Args:
        captions: one for each record.
        references: at least one for each record; also the records that n-grams are weighted by.

    Raises:
        InputError: if there is no record, or one has no reference.
    """
    if not captions or len(captions) != len(references) or not all(references):
        raise InputError(
            f"expected captions with references, got {len(captions)} captions and references of "
            f"{len(references)} records"
        )
    true_grams = [[_count_grams(text) for text in texts] for texts in references]
    documents: Grams = Counter()
    for grams in true_grams:
        documents.update(set().union(*grams))
    log_count = math.log(len(references))
    scores = [
        np.mean([_compare(_count_grams(caption), one, documents, log_count) for one in grams])
        for caption, grams in zip(captions, true_grams, strict=True)
    ]
    return float(np.mean(scores))


def _count_grams(text: str) -> Grams:
    words = split_words(text)
    return Counter(
        tuple(words[start : start + length])
        for length in range(1, _LONGEST + 1)
        for start in range(len(words) - length + 1)
    )


def _compare(found: Grams, true: Grams, documents: Grams, log_count: float) -> float:
    """Return ten times the mean similarity over the lengths of n-grams."""

    def weigh(grams: Grams, length: int) -> dict[tuple[str, ...], float]:
        return {
            gram: count * (log_count - math.log(max(1, documents[gram])))
            for gram, count in grams.items()
            if len(gram) == length
        }

    penalty = math.exp(-((_count_words(found) - _count_words(true)) ** 2) / (2 * _SIGMA**2))
    similarities = []
    for length in range(1, _LONGEST + 1):
        ours, theirs = weigh(found, length), weigh(true, length)
        norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
        shared = sum(
            min(ours[gram], theirs[gram]) * theirs[gram] for gram in ours if gram in theirs
        )
        similarities.append(shared / norms * penalty if norms else 0.0)
    return _SCALE * float(np.mean(similarities))


def _count_words(grams: Grams) -> int:
    return sum(count for gram, count in grams.items() if len(gram) == 1)

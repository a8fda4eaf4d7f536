"""Score an answer "yes" or "no": the probability of the word against the other one.

Knows the tokenizer, because the two words may begin with the same token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.processing.language.tokenizer import Tokenizer

#: The two words as an answer may begin with them.
_FORMS = ((" Yes", " No"), ("Yes", "No"), (" yes", " no"), ("yes", "no"))
_IS_YES_NO = re.compile(r"\s*(?:yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Pair:
    """The ids of both words, and the index of the first that differs."""

    yes: tuple[int, ...]
    no: tuple[int, ...]
    decides: int


class YesNoScorer:
    """Finds the probability of "yes" or "no" in the logits of an answer.

    Args:
        tokenizer: tokenizer of the model.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._pairs = [_pair(tokenizer.encode(yes), tokenizer.encode(no)) for yes, no in _FORMS]

    @property
    def depth(self) -> int:
        """How many tokens at the begin of an answer decide it."""
        return 1 + max(pair.decides for pair in self._pairs)

    def score(
        self, text: str, token_ids: Sequence[int], logits: Sequence[np.ndarray]
    ) -> float | None:
        """Return the probability of the answer's first word among the two.

        Args:
            text: the answer.
            token_ids: its ids.
            logits: (V,) of each of its first `depth` tokens, fewer where it is shorter.

        Returns:
            above 0, up to 1; None for an answer that begins with neither.
        """
        if not _IS_YES_NO.match(text):
            return None
        for pair in self._pairs:
            for said, other in ((pair.yes, pair.no), (pair.no, pair.yes)):
                if tuple(token_ids[: len(said)]) == said and pair.decides < len(logits):
                    at = logits[pair.decides].astype(np.float64)
                    return float(1 / (1 + np.exp(at[other[pair.decides]] - at[said[pair.decides]])))
        return None


def _pair(yes: Sequence[int], no: Sequence[int]) -> _Pair:
    differs = (one != other for one, other in zip(yes, no, strict=False))
    return _Pair(tuple(yes), tuple(no), next(at for at, is_so in enumerate(differs) if is_so))
